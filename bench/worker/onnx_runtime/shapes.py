"""A model file in, the names of its nodes that handle nothing but shapes out.

Counts by op type cannot tell the Gather that picks a dimension from the one that is an embedding. The graph can: what
is made of shapes and constants alone holds no value of the model's data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.worker.onnx_runtime.onnx_protobuf import OWN_DOMAINS, Node, Tensor, read_graph

INDEX_TYPES = {"int32", "int64", "bool"}
READS_A_SHAPE = ("Shape", "Size")
MAKES_DATA = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


def shape_nodes(model: Path) -> dict[str, str]:
    """The op types of top-level nodes that handle nothing but shapes, by name; a name that is not unique is none."""
    graph = read_graph(model)
    # What is made of weights is data, wherever its other inputs come from.
    known = {tensor.name for tensor in graph.initializers if _is_index(tensor)}
    op_types = {}
    for node in graph.nodes:
        # ONNX lists nodes after those whose outputs they take.
        if _handles_only_shapes(node, known):
            known.update(node.outputs)
            op_types[node.name] = node.op_type
    counts = Counter(node.name for node in graph.nodes)
    return {name: op for name, op in op_types.items() if name and counts[name] == 1}


def _handles_only_shapes(node: Node, known: set[str]) -> bool:
    # A subgraph may take values that are none of the node's inputs.
    if node.domain not in OWN_DOMAINS or node.has_subgraph or node.op_type in MAKES_DATA:
        return False
    if node.op_type in READS_A_SHAPE:
        return True
    if node.op_type == "Constant":
        return all(_is_index(tensor) for tensor in node.tensors)
    inputs = [name for name in node.inputs if name]
    return bool(inputs) and all(name in known for name in inputs)


def _is_index(tensor: Tensor) -> bool:
    """Whole numbers of any rank, as exporters keep position ids; of other types, scales and such of one dimension."""
    return tensor.element in INDEX_TYPES or tensor.rank <= 1
