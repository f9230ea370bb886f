"""Reads from an ONNX file what its outputs are: the operator that fixes their range, class scores, odd types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.worker import element_types
from bench.worker.onnx_runtime import onnx_protobuf
from bench.worker.onnx_runtime.onnx_protobuf import Node
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Tanh"})
"""Operators whose results are of the size of 1 whatever their input is."""
NORMALIZED = frozenset({"Softmax", "LogSoftmax"})
MOVES_VALUES = frozenset(
    {"Reshape", "Transpose", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherND"}
    | {"GatherElements", "Split", "SplitToSequence", "SequenceAt", "Expand", "Tile", "DepthToSpace", "ZipMap"}
)
"""Operators whose results are values of their first input, moved, repeated or left out."""
JOINS = frozenset({"Concat", "Where", "Max", "Min"})
"""Operators whose results are values of any of their inputs."""
SCORE_WORDS = ("logit", "prob")
"""Words in the name of an output of shape (batch, classes) that holds one score for each class."""
UNREADABLE = frozenset(name for name, _, _ in element_types.OTHERS.values())
"""Types that NumPy does not have."""


def facts(path: Path) -> dict[str, OutputFacts]:
    """The facts of each output by name.

    An output is taken for class scores if Softmax or LogSoftmax computes it, or its name says `logits` or `prob`, and
    it has two dimensions; the comparison checks the number of classes.
    """
    graph = onnx_protobuf.read_graph(path)
    producers = {output: node for node in graph.nodes for output in node.outputs if output}
    known = {}
    for value in graph.outputs:
        last = _last(value.name, producers)
        named = any(word in value.name.lower() for word in SCORE_WORDS)
        scores = (last in NORMALIZED or named) and len(value.dims) in (0, 2)
        known[value.name] = OutputFacts(last if last in BOUNDED else "", scores, split=True)
    return known


def refuse_unreadable(path: Path) -> None:
    """Raise Refusal for an input or output of a type that NumPy does not have, such as bfloat16."""
    graph = onnx_protobuf.read_graph(path)
    weights = {tensor.name for tensor in graph.initializers}
    sides = [("input", value) for value in graph.inputs if value.name not in weights]
    for side, value in [*sides, *(("output", value) for value in graph.outputs)]:
        if value.element in UNREADABLE:
            message = f"{side} {value.name!r} of {path.name} is of type {value.element}, which cannot be given or read"
            remedy = f"add a Cast so that the {side} is float32 or float16; the type inside the graph may stay"
            raise Refusal("unsupported", message, remedy, "edge-type")


def _last(name: str, producers: Mapping[str, Node], depth: int = 0) -> str:
    """The operator that computed the values of a tensor; empty where there are several, or none."""
    node = producers.get(name)
    # A graph that is a loop is not valid, and a limit also ends it.
    if node is None or depth > len(producers):
        return ""
    if node.domain in onnx_protobuf.OWN_DOMAINS or node.op_type == "ZipMap":
        if node.op_type in MOVES_VALUES and node.inputs:
            return _last(node.inputs[0], producers, depth + 1)
        if node.op_type in JOINS:
            # The first input of Where chooses, and is no value of the result.
            joined = node.inputs[node.op_type == "Where" :]
            origins = {_last(entry, producers, depth + 1) for entry in joined}
            return origins.pop() if len(origins) == 1 else _any_bounded(origins)
    return node.op


def _any_bounded(origins: set[str]) -> str:
    """One of several operators if each of them fixes the range; else an empty text."""
    return min(origins) if origins <= BOUNDED else ""
