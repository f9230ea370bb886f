"""A model file in; how its weights are stored, the types of its tensors and its nodes, read without `onnx`, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.worker import element_types
from bench.worker.onnx_runtime import onnx_protobuf

BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "uint8": 8}
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "uint8"}
BLOCKWISE, DYNAMIC = "com.microsoft.MatMulNBits", ("MatMulInteger", "com.microsoft.DynamicQuantizeMatMul")
PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True)
class Node:
    """One node: its operator with its domain, its inputs, and those of its attributes that are integers."""

    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """What can be told of a model without running it."""

    nodes: tuple[Node, ...]
    initializers: dict[str, str]
    """The element type of every initializer."""
    types: dict[str, str]
    """The element type of every input and output of the graph."""
    shapes: dict[str, tuple[str | int, ...]]
    """Their dimensions: a number, or the name of a symbolic one."""

    @property
    def operators(self) -> Counter[str]:
        """How many nodes there are of each operator."""
        return Counter(node.op for node in self.nodes)


def read(path: Path) -> Graph:
    """The graph of a model's file; its weights are passed over."""
    with path.open("rb") as file:
        parts = onnx_protobuf.inside(file, (0, path.stat().st_size), 7)
        nodes = tuple(_node(file, span) for part in parts for span in onnx_protobuf.inside(file, part, 1))
        held = dict(_tensor(file, span) for part in parts for span in onnx_protobuf.inside(file, part, 5))
        spans = [span for part in parts for number in (11, 12) for span in onnx_protobuf.inside(file, part, number)]
        values = [_value(file, span) for span in spans]
        types, shapes = {name: kind for name, kind, _ in values}, {name: dims for name, _, dims in values}
        return Graph(nodes, held, types, shapes)


def _node(file: BinaryIO, span: onnx_protobuf.Span) -> Node:
    def texts(number: int) -> list[str]:
        return [onnx_protobuf.read(file, one).decode() for one in onnx_protobuf.inside(file, span, number)]

    domain = "".join(texts(7))
    op = texts(4)[0]
    attributes = dict(_integers(file, onnx_protobuf.inside(file, span, 5)))
    return Node(op if domain in ("", "ai.onnx") else f"{domain}.{op}", tuple(texts(1)), attributes)


def _integers(file: BinaryIO, spans: Iterable[onnx_protobuf.Span]) -> Iterator[tuple[str, int]]:
    for span in spans:
        value = onnx_protobuf.inside(file, span, 3)
        if value:
            yield onnx_protobuf.read(file, onnx_protobuf.inside(file, span, 1)[0]).decode(), value[0][0]


def _tensor(file: BinaryIO, span: onnx_protobuf.Span) -> tuple[str, str]:
    kind, name = onnx_protobuf.inside(file, span, 2)[0][0], onnx_protobuf.inside(file, span, 8)[0]
    return onnx_protobuf.read(file, name).decode(), element_types.NAMES.get(kind, str(kind))


def _value(file: BinaryIO, span: onnx_protobuf.Span) -> tuple[str, str, tuple[str | int, ...]]:
    """The name, the element type and the dimensions of an input or output that is a tensor."""
    name = onnx_protobuf.read(file, onnx_protobuf.inside(file, span, 1)[0]).decode()
    tensors = [tensor for kind in onnx_protobuf.inside(file, span, 2) for tensor in onnx_protobuf.inside(file, kind, 1)]
    kinds = [number[0] for tensor in tensors for number in onnx_protobuf.inside(file, tensor, 1)]
    shapes = [shape for tensor in tensors for shape in onnx_protobuf.inside(file, tensor, 2)]
    dims = [onnx_protobuf.dimension(file, one) for shape in shapes for one in onnx_protobuf.inside(file, shape, 1)]
    return name, element_types.NAMES.get(kinds[0], str(kinds[0])) if kinds else "", tuple(dims)


# --- weights ----------------------------------------------------------------------------------------------------------


def weights(graph: Graph) -> tuple[str, float | None]:
    """How the weights of matrix products are stored, in ONNX's own words, and their bits with scales and zero points.

    An average over the products where they differ; None where there is nothing to count.
    """
    blocks = [node for node in graph.nodes if node.op == BLOCKWISE]
    if blocks:
        return _blockwise(graph, blocks)
    if any(node.op in DYNAMIC for node in graph.nodes):
        return "int8, activations quantized at run time", 8.0
    kinds = Counter(
        graph.initializers[node.inputs[1]]
        for node in graph.nodes
        if node.op in PRODUCTS and node.inputs[1] in graph.initializers
    )
    if not kinds:
        return "", None
    kind = kinds.most_common(1)[0][0]
    return SHORT.get(kind, kind), float(BITS[kind]) if kind in BITS else None


def _blockwise(graph: Graph, blocks: list[Node]) -> tuple[str, float]:
    """`MatMulNBits, 4 bits, blocks of 32`: a block has a scale, and may have a zero point of the weights' own bits."""
    sizes = [node.attributes["K"] * node.attributes["N"] for node in blocks]
    bits = [_bits(graph, node) for node in blocks]
    average = sum(size * one for size, one in zip(sizes, bits, strict=True)) / sum(sizes)
    widths, lengths = (sorted({node.attributes[name] for node in blocks}) for name in ("bits", "block_size"))
    said = f"MatMulNBits, {_and(widths)} bits, blocks of {_and(lengths)}"
    levels = sorted({node.attributes.get("accuracy_level", 0) for node in blocks})
    return f"{said}, accuracy level {_and(levels)}" if levels != [0] else said, average


def _bits(graph: Graph, node: Node) -> float:
    width = node.attributes["bits"]
    scale = BITS.get(graph.initializers.get(node.inputs[2], ""), 32)
    zero_point = width if len(node.inputs) > 3 and node.inputs[3] else 0
    return width + (scale + zero_point) / node.attributes["block_size"]


def _and(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers))
