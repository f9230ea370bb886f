"""Writes small ONNX models and reads graphs in runtimes without the `onnx` package.

Reading skips the content of weights: only their names, types and shapes are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.shared import onnx_elements
from bench.shared.protobuf import File, Span, content, field_spans, message, number, read, text

Array = npt.NDArray[np.float32] | npt.NDArray[np.float16]
IR_VERSION, OPSET = 9, 17
ELEMENT = {"float32": 1, "float16": 10}
MODEL_IR, MODEL_GRAPH, MODEL_OPSET = 1, 7, 8
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 1, 3, 5, 6, 11
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_DIM = 1, 2, 1, 1, 2, 1
DIM_VALUE, DIM_NAME = 1, 2
"""Field numbers of ONNX's Protobuf messages."""
# ONNX's own domain has two names.
OWN_DOMAINS = ("", "ai.onnx")


# --- writing ----------------------------------------------------------------------------------------------------------


def matrix_products(weights: Sequence[Array], inputs: tuple[int | str, int]) -> bytes:
    """An ONNX model of MatMuls in series, one for each weight: input `x`, output `y`, all of the weights' type."""
    kind = ELEMENT[weights[0].dtype.name]
    names = ["x", *(f"h{index}" for index in range(1, len(weights))), "y"]
    graph = b""
    for index, (before, after) in enumerate(pairwise(names)):
        tensor_names = text(NODE_INPUT, before) + text(NODE_INPUT, f"w{index}") + text(NODE_OUTPUT, after)
        graph += content(GRAPH_NODE, tensor_names + text(NODE_NAME, f"n{index}") + text(NODE_OP_TYPE, "MatMul"))
    graph += text(GRAPH_NAME, "probe")
    for index, weight in enumerate(weights):
        graph += content(GRAPH_INITIALIZER, _tensor_of(f"w{index}", weight, kind))
    graph += content(GRAPH_INPUT, _value_of("x", kind, inputs))
    graph += content(GRAPH_OUTPUT, _value_of("y", kind, (inputs[0], weights[-1].shape[1])))
    # The empty domain is ONNX's own.
    operators = text(1, "") + number(2, OPSET)
    return number(MODEL_IR, IR_VERSION) + content(MODEL_GRAPH, graph) + content(MODEL_OPSET, operators)


def _tensor_of(name: str, array: Array, kind: int) -> bytes:
    dims = b"".join(number(TENSOR_DIMS, size) for size in array.shape)
    # ONNX stores raw data in little-endian order on every machine.
    little_endian = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return dims + number(TENSOR_TYPE, kind) + text(TENSOR_NAME, name) + content(TENSOR_RAW, little_endian)


def _value_of(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    sizes = (text(DIM_NAME, size) if isinstance(size, str) else number(DIM_VALUE, size) for size in shape)
    dims = b"".join(content(SHAPE_DIM, size) for size in sizes)
    tensor = number(TENSOR_ELEMENT, kind) + content(TENSOR_SHAPE, dims)
    return text(VALUE_NAME, name) + content(VALUE_TYPE, content(TYPE_TENSOR, tensor))


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """The description of a tensor in the file."""

    name: str
    element: str
    """Its element type, `float16`."""
    rank: int
    """The number of dimensions; approximate for a packed list of sizes, which exporters do not write."""


@dataclass(frozen=True)
class Value:
    """A graph's input or output that is a tensor."""

    name: str
    element: str
    """Its element type; empty if the file does not give it."""
    dims: tuple[str | int, ...]
    """The size of each dimension, or the name of a symbolic one."""


@dataclass(frozen=True)
class Node:
    """One node of a graph."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int] = field(default_factory=dict)
    """The integer attributes by name."""
    tensors: tuple[Tensor, ...] = ()
    """The tensor attributes."""
    has_subgraph: bool = False

    @property
    def op(self) -> str:
        """The operator; its domain is a prefix unless it is ONNX's own."""
        return self.op_type if self.domain in OWN_DOMAINS else f"{self.domain}.{self.op_type}"


@dataclass(frozen=True)
class Graph:
    """The graph of a model as its file describes it."""

    nodes: tuple[Node, ...]
    initializers: tuple[Tensor, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def operators(self) -> Counter[str]:
        """The number of nodes of each operator."""
        return Counter(node.op for node in self.nodes)

    @property
    def values(self) -> dict[str, Value]:
        """The inputs and outputs by name."""
        return {value.name: value for value in (*self.inputs, *self.outputs)}


def read_graph(path: Path) -> Graph:
    """The graph of a model's file, without the content of its subgraphs."""
    with path.open("rb") as file:
        # Protobuf allows a message field in several parts, which are to be merged.
        parts = [message(file, span) for span in _graphs(file, path)]

        def spans(field_number: int) -> Iterator[Span]:
            return (span for part in parts for span in part.get(field_number, ()))

        return Graph(
            nodes=tuple(_node(file, span) for span in spans(GRAPH_NODE)),
            initializers=tuple(_tensor(file, span) for span in spans(GRAPH_INITIALIZER)),
            inputs=tuple(_value(file, span) for span in spans(GRAPH_INPUT)),
            outputs=tuple(_value(file, span) for span in spans(GRAPH_OUTPUT)),
        )


def input_dimensions(path: Path) -> dict[str, list[str | int]]:
    """The dimensions of each input: sizes, or names of symbolic ones. Reads nothing else of the file."""
    with path.open("rb") as file:
        spans = [span for graph in _graphs(file, path) for span in field_spans(file, graph, GRAPH_INPUT)]
        return {value.name: list(value.dims) for value in (_value(file, span) for span in spans)}


def operators(path: Path) -> Counter[str]:
    """The number of nodes of each op type in the model's graph. Reads nothing else of the file."""
    with path.open("rb") as file:
        nodes = [node for graph in _graphs(file, path) for node in field_spans(file, graph, GRAPH_NODE)]
        return Counter(read(file, name).decode() for node in nodes for name in field_spans(file, node, NODE_OP_TYPE))


def fixed_sizes(path: Path, feed: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, int]:
    """The size that each symbolic dimension of the model's inputs has in `feed`."""
    sizes: dict[str, int] = {}
    for name, dims in input_dimensions(path).items():
        for dim, size in zip(dims, feed[name].shape if name in feed else (), strict=False):
            if isinstance(dim, str) and dim:
                sizes.setdefault(dim, size)
    return sizes


def _graphs(file: File, path: Path) -> list[Span]:
    return field_spans(file, (0, path.stat().st_size), MODEL_GRAPH)


def _node(file: File, span: Span) -> Node:
    parts = message(file, span)
    attributes = [message(file, attribute) for attribute in parts.get(NODE_ATTRIBUTE, ())]
    return Node(
        name=_last(file, parts, NODE_NAME),
        op_type=_last(file, parts, NODE_OP_TYPE),
        domain=_last(file, parts, NODE_DOMAIN),
        inputs=_texts(file, parts, NODE_INPUT),
        outputs=_texts(file, parts, NODE_OUTPUT),
        attributes={
            # The span of a varint holds its value.
            _last(file, attribute, ATTRIBUTE_NAME): attribute[ATTRIBUTE_INT][0][0]
            for attribute in attributes
            if ATTRIBUTE_INT in attribute
        },
        tensors=tuple(
            _tensor(file, tensor) for attribute in attributes for tensor in attribute.get(ATTRIBUTE_TENSOR, ())
        ),
        has_subgraph=any(ATTRIBUTE_GRAPH in attribute or ATTRIBUTE_GRAPHS in attribute for attribute in attributes),
    )


def _tensor(file: File, span: Span) -> Tensor:
    parts = message(file, span)
    dims = parts.get(TENSOR_DIMS, [])
    # Sizes that are not packed are varints, whose span is their value twice.
    packed = any(start != end for start, end in dims)
    kind = parts.get(TENSOR_TYPE, [(0, 0)])[0][0]
    return Tensor(_last(file, parts, TENSOR_NAME), _element(kind), len(dims) + packed)


def _value(file: File, span: Span) -> Value:
    parts = message(file, span)
    types = [message(file, inner) for inner in parts.get(VALUE_TYPE, ())]
    tensors = [message(file, inner) for kind in types for inner in kind.get(TYPE_TENSOR, ())]
    kinds = [kind for tensor in tensors for kind, _ in tensor.get(TENSOR_ELEMENT, ())]
    shapes = [shape for tensor in tensors for shape in tensor.get(TENSOR_SHAPE, ())]
    dims = tuple(_dimension(file, inner) for shape in shapes for inner in field_spans(file, shape, SHAPE_DIM))
    return Value(_last(file, parts, VALUE_NAME), _element(kinds[0]) if kinds else "", dims)


def _element(kind: int) -> str:
    return onnx_elements.NAMES.get(kind, str(kind))


def _dimension(file: File, span: Span) -> str | int:
    """A dimension's size, or the name of a symbolic one; an empty name if the file gives neither."""
    parts = message(file, span)
    if DIM_VALUE in parts:
        return parts[DIM_VALUE][0][0]
    return _last(file, parts, DIM_NAME)


def _last(file: File, parts: dict[int, list[Span]], field_number: int) -> str:
    """A string field that is not repeated: Protobuf uses the last value; empty if there is none."""
    return "".join(_texts(file, parts, field_number)[-1:])


def _texts(file: File, parts: dict[int, list[Span]], field_number: int) -> tuple[str, ...]:
    return tuple(read(file, inner).decode() for inner in parts.get(field_number, ()))
