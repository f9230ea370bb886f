"""Reads from an ONNX file what its outputs are: the operator that fixes their range, class scores, odd types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.shared import onnx_elements
from bench.worker import short_floats
from bench.worker.onnx_runtime import onnx_protobuf
from bench.worker.onnx_runtime.onnx_protobuf import Node
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Tanh"})
"""Operators whose results are between -1 and 1 whatever their input is."""
NORMALIZED = frozenset({"Softmax", "LogSoftmax"})
MOVES_VALUES = frozenset(
    {"Reshape", "Transpose", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherND"}
    | {"GatherElements", "Split", "SplitToSequence", "SequenceAt", "Expand", "Tile", "DepthToSpace", "ZipMap"}
)
"""Operators whose results are values of their first input, moved, repeated or left out."""
JOINS = frozenset({"Concat", "Where", "Max", "Min"})
"""Operators whose results are values of any of their inputs."""
SCORE_WORDS = ("logit", "prob", "label")
"""Words in the name of an output of shape (batch, classes) that holds one score for each class."""
UNREADABLE = frozenset(name for name, _, _ in onnx_elements.OTHERS.values()) - short_floats.NAMES
"""Types that can neither be given nor read: of four or two bits, and those that are scales only."""


def facts(path: Path, axes: Mapping[str, int | None], samples: int) -> dict[str, OutputFacts]:
    """The facts of each output by name. `axes` has the position of the samples, of which a call has `samples`.

    An output is taken for class scores if Softmax or LogSoftmax computes it, or its name says `logits`, `prob` or
    `label`, and it has two dimensions; the comparison checks the number of classes.
    """
    graph = onnx_protobuf.read_graph(path)
    producers = {output: node for node in graph.nodes for output in node.outputs if output}
    known = {}
    for value in graph.outputs:
        last = _last(value.name, producers)
        bounded = sorted(last & BOUNDED)
        named = any(word in value.name.lower() for word in SCORE_WORDS)
        known[value.name] = OutputFacts(
            bounded_by=bounded[0] if bounded and last <= BOUNDED else "",
            partly_bounded_by=bounded[0] if bounded and not last <= BOUNDED else "",
            class_scores=((bool(last) and last <= NORMALIZED) or named) and len(value.dims) in (0, 2),
            sorted="TopK" in last,
            split=True,
            axis=axes.get(value.name),
            samples=samples,
        )
    return known


def refuse_unreadable(path: Path) -> None:
    """Raise Refusal for an input or output of a type that cannot be given or read, such as int4."""
    graph = onnx_protobuf.read_graph(path)
    weights = {tensor.name for tensor in graph.initializers}
    sides = [("input", value) for value in graph.inputs if value.name not in weights]
    for side, value in [*sides, *(("output", value) for value in graph.outputs)]:
        if value.element in UNREADABLE:
            message = f"{side} {value.name!r} of {path.name} is of type {value.element}, which cannot be given or read"
            remedy = f"add a Cast so that the {side} is float32 or float16; the type inside the graph may stay"
            raise Refusal("unsupported", message, remedy, "edge-type")


def _last(name: str, producers: Mapping[str, Node]) -> set[str]:
    """The operators that computed the values of a tensor; an empty name stands for weights and inputs of the graph."""
    last: set[str] = set()
    waiting, known = [name], {name}
    while waiting:
        node = producers.get(waiting.pop())
        sources = _sources(node) if node else ()
        if not sources:
            last.add(node.op if node else "")
        waiting += [source for source in sources if source not in known]
        known.update(sources)
    return last


def _sources(node: Node) -> tuple[str, ...]:
    """The inputs whose values are those of the result; empty for an operator that computes others."""
    if node.domain not in onnx_protobuf.OWN_DOMAINS and node.op_type != "ZipMap":
        return ()
    if node.op_type in MOVES_VALUES:
        return node.inputs[:1]
    # The first input of Where chooses, and is no value of the result.
    return node.inputs[node.op_type == "Where" :] if node.op_type in JOINS else ()
