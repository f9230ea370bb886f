"""A model file in, the names of its nodes that handle nothing but shapes out.

Counts by op type cannot tell the Gather that picks a dimension from the one that is an embedding. The graph can: what
is made of shapes and constants alone holds no value of the model's data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.worker.onnx_runtime.onnx_protobuf import Span, inside, read

GRAPH, NODE, INITIALIZER = 7, 1, 5
INPUT, OUTPUT, NAME, OP_TYPE, ATTRIBUTE, DOMAIN = 1, 2, 3, 4, 5, 7
TENSOR, SUBGRAPH, SUBGRAPHS = 5, 6, 11
DIMENSION, DATA_TYPE, TENSOR_NAME = 1, 2, 8
"""Field numbers of ONNX's messages, in the order model and graph, node, attribute, tensor."""
INDEX_TYPES = {6, 7, 9}
"""int32, int64, bool."""
READS_A_SHAPE = ("Shape", "Size")
MAKES_DATA = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


class Node(NamedTuple):
    """What tells a node of shapes from others."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_plain: bool
    """Of ONNX's own operators, and without a subgraph, which may take values that are none of its inputs."""
    is_index: bool
    """A Constant that can be an index, a shape or a scalar."""


def shape_nodes(model: Path) -> dict[str, str]:
    """The op types of top-level nodes that handle nothing but shapes, by name; a name that is not unique is none."""
    with model.open("rb") as file:
        graphs = inside(file, (0, model.stat().st_size), GRAPH)
        known = {name for graph in graphs for name in _indices(file, graph)}
        nodes = [_node(file, span) for graph in graphs for span in inside(file, graph, NODE)]
    found = {}
    for node in nodes:
        # ONNX lists nodes after those whose outputs they take.
        if _is_of_shapes(node, known):
            known.update(node.outputs)
            found[node.name] = node.op_type
    times = Counter(node.name for node in nodes)
    return {name: op for name, op in found.items() if name and times[name] == 1}


def _is_of_shapes(node: Node, known: set[str]) -> bool:
    if not node.is_plain or node.op_type in MAKES_DATA:
        return False
    if node.op_type in READS_A_SHAPE:
        return True
    if node.op_type == "Constant":
        return node.is_index
    inputs = [name for name in node.inputs if name]
    return bool(inputs) and all(name in known for name in inputs)


def _indices(file: BinaryIO, graph: Span) -> list[str]:
    """The initializers that are no weights: what is made of weights is data, wherever its other inputs come from."""
    tensors = inside(file, graph, INITIALIZER)
    return [_text(file, tensor, TENSOR_NAME) for tensor in tensors if _is_index(file, tensor)]


def _is_index(file: BinaryIO, tensor: Span) -> bool:
    """Whole numbers of any rank, as exporters keep position ids; of other types, scales and such of one dimension."""
    dims = inside(file, tensor, DIMENSION)
    kinds = {value for value, _ in inside(file, tensor, DATA_TYPE)}
    packed = any(start != end for start, end in dims)
    return bool(kinds & INDEX_TYPES) or (len(dims) <= 1 and not packed)


def _node(file: BinaryIO, span: Span) -> Node:
    attributes = inside(file, span, ATTRIBUTE)
    op_type = _text(file, span, OP_TYPE)
    subgraphs = any(inside(file, one, SUBGRAPH) or inside(file, one, SUBGRAPHS) for one in attributes)
    tensors = [tensor for one in attributes for tensor in inside(file, one, TENSOR)] if op_type == "Constant" else []
    return Node(
        name=_text(file, span, NAME),
        op_type=op_type,
        inputs=_texts(file, span, INPUT),
        outputs=_texts(file, span, OUTPUT),
        is_plain=_text(file, span, DOMAIN) in ("", "ai.onnx") and not subgraphs,
        is_index=all(_is_index(file, tensor) for tensor in tensors),
    )


def _text(file: BinaryIO, span: Span, field: int) -> str:
    return "".join(_texts(file, span, field)[-1:])


def _texts(file: BinaryIO, span: Span, field: int) -> tuple[str, ...]:
    return tuple(read(file, one).decode() for one in inside(file, span, field))
