"""Reads from a session which provider each node is assigned to, and from a model which nodes compute shapes only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from bench.records import Placement
from bench.worker.onnx_runtime import onnx_protobuf
from bench.worker.onnx_runtime.onnx_protobuf import OWN_DOMAINS, Node, Tensor

RECORD = "session.record_ep_graph_assignment_info"
"""The session option that makes onnxruntime record the assignment."""


def placement(session: ort.InferenceSession, model: Path | None = None) -> Placement | None:
    """The number of nodes by provider and op type; None if this version of onnxruntime does not report it.

    If `model` is given, nodes that compute shapes only are also counted separately.
    """
    # Wheels with an older onnxruntime do not have this function.
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    # Not `get_providers()`, which also lists providers without a node: QNN without its backend file, for example.
    # The assignment is that of partitioning, so later fusions and copies between devices are not in it.
    parts = [(part.ep_name, part.get_nodes()) for part in session.get_provider_graph_assignment_info()]
    is_shape_node = _shape_node_test(model, [node for _, nodes in parts for node in nodes])
    shapes = {ep: ops for ep, ops in _count_by_provider(parts, is_shape_node).items() if ops}
    return Placement(nodes=_count_by_provider(parts), source="assignment-info", shape_nodes=shapes)


def unassigned(model: Path) -> Placement:
    """The placement of a session that lists no nodes at all.

    onnxruntime 1.24 does not list FP16 nodes that the CPU runs with casts, so the model's operators count as on
    no provider. The placement of a model without nodes is empty.
    """
    ops = onnx_protobuf.operators(model)
    return Placement(nodes={"no provider": dict(sorted(ops.items()))} if ops else {}, source="assignment-info")


def _shape_node_test(model: Path | None, nodes: Iterable[Any]) -> Callable[[Any], bool]:
    """A function: whether a node computes shapes only. It is false for nodes without a unique name."""
    # Node names are optional in ONNX and need not be unique.
    names = shape_nodes(model) if model else {}
    counts = Counter(node.name for node in nodes)
    return lambda node: counts[node.name] == 1 and names.get(node.name) == _op_name(node)


def _count_by_provider(
    parts: Iterable[tuple[str, Iterable[Any]]], is_counted: Callable[[Any], bool] = lambda _: True
) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for ep, nodes in parts:
        counts.setdefault(ep, Counter()).update(_op_name(node) for node in nodes if is_counted(node))
    return {ep: dict(sorted(ops.items())) for ep, ops in counts.items()}


def _op_name(node: Any) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


# --- nodes that compute shapes ----------------------------------------------------------------------------------------

# A Gather may select a dimension or be an embedding: the op type does not show which. The graph does: values that are
# computed from shapes and constants only contain none of the model's data.
INDEX_TYPES = {"int32", "int64", "bool"}
READS_A_SHAPE = ("Shape", "Size")
MAKES_DATA = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


def shape_nodes(model: Path) -> dict[str, str]:
    """The op types of top-level nodes that compute shapes only, by unique node name."""
    graph = onnx_protobuf.read_graph(model)
    # A value that is computed from weights is data, whatever its other inputs are.
    known = {tensor.name for tensor in graph.initializers if _is_index(tensor)}
    op_types = {}
    for node in graph.nodes:
        # ONNX lists a node after the nodes that compute its inputs, so one pass is enough.
        if _handles_only_shapes(node, known):
            known.update(node.outputs)
            op_types[node.name] = node.op_type
    counts = Counter(node.name for node in graph.nodes)
    return {name: op for name, op in op_types.items() if name and counts[name] == 1}


def _handles_only_shapes(node: Node, known: set[str]) -> bool:
    # A subgraph may use values that are not inputs of the node.
    if node.domain not in OWN_DOMAINS or node.has_subgraph or node.op_type in MAKES_DATA:
        return False
    if node.op_type in READS_A_SHAPE:
        return True
    if node.op_type == "Constant":
        return all(_is_index(tensor) for tensor in node.tensors)
    inputs = [name for name in node.inputs if name]
    return bool(inputs) and all(name in known for name in inputs)


def _is_index(tensor: Tensor) -> bool:
    """Whether a constant can belong to a shape: integers of any rank, or other types of rank 0 or 1."""
    # Exporters keep position ids as integers of rank 2.
    return tensor.element in INDEX_TYPES or tensor.rank <= 1
