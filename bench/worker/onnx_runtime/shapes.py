"""Finds the nodes of a model that compute shapes only.

A Gather may select a dimension or be an embedding: the op type does not show which. The graph does: values that are
computed from shapes and constants only contain none of the model's data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.worker.onnx_runtime.onnx_protobuf import OWN_DOMAINS, Node, Tensor, read_graph

INDEX_TYPES = {"int32", "int64", "bool"}
READS_A_SHAPE = ("Shape", "Size")
MAKES_DATA = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


def shape_nodes(model: Path) -> dict[str, str]:
    """The op types of top-level nodes that compute shapes only, by unique node name."""
    graph = read_graph(model)
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
