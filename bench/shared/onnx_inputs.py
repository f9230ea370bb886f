"""Reads the inputs of an ONNX file, with the standard library alone: names, element types, and dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.shared.dimensions import expression, terms
from bench.shared.onnx_elements import NAMES
from bench.shared.protobuf import Bounded, File, Span, field_spans, message, read

MODEL_GRAPH, GRAPH_INITIALIZER, GRAPH_INPUT = 7, 5, 11
TENSOR_NAME, VALUE_NAME, VALUE_TYPE = 8, 1, 2
TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_DIM = 1, 1, 2, 1
DIM_VALUE, DIM_NAME = 1, 2
"""Field numbers of ONNX's Protobuf messages."""
MOST_INITIALIZERS = 100_000
SIGN = 2**63
"""Negative sizes are written as numbers above it."""


@dataclass(frozen=True)
class Dimension:
    """One dimension of an input."""

    name: str
    """Its own name, or that of the input and its position, `x[1]`."""
    size: int | None
    """None for a symbolic one."""
    is_named: bool = True


@dataclass(frozen=True)
class OnnxInput:
    """An input that a session must be fed."""

    name: str
    element: str
    """Its element type, `float32`; empty for one that is no tensor."""
    dimensions: tuple[Dimension, ...] | None
    """None where the file gives no shape."""


def read_inputs(path: Path) -> tuple[OnnxInput, ...]:
    """The inputs of a file without its weights. Raises OSError, and ValueError where the file is no ONNX model."""
    with path.open("rb") as opened:
        file, end = Bounded(opened), path.stat().st_size
        graphs = field_spans(file, (0, end), MODEL_GRAPH)
        if not graphs:
            raise ValueError("it holds no graph")
        spans = [span for graph in graphs for span in field_spans(file, graph, GRAPH_INPUT)]
        inputs = [_input(file, span) for span in spans]
        # Old files list their weights as inputs too; a session need not be fed with them.
        weights = [span for graph in graphs for span in field_spans(file, graph, GRAPH_INITIALIZER)] if inputs else []
        names = {_text(file, span, TENSOR_NAME) for span in weights[:MOST_INITIALIZERS]}
        return tuple(value for value in inputs if value.name not in names)


def symbolic_names(inputs: tuple[OnnxInput, ...]) -> tuple[str, ...]:
    """The names that a workload may give sizes to: symbolic dimensions, and the terms of sums among them."""
    names = [dimension.name for value in inputs for dimension in value.dimensions or () if dimension.size is None]
    trees = [expression(name, names) for name in names]
    return tuple(dict.fromkeys([*names, *(term for tree in trees if tree is not None for term in terms(tree))]))


def _input(file: File, span: Span) -> OnnxInput:
    name = _text(file, span, VALUE_NAME)
    tensors = [
        tensor for kind in field_spans(file, span, VALUE_TYPE) for tensor in field_spans(file, kind, TYPE_TENSOR)
    ]
    if not tensors:
        return OnnxInput(name, "", None)
    parts = message(file, tensors[-1])
    element = parts.get(TENSOR_ELEMENT, [(0, 0)])[-1][0]
    shapes = parts.get(TENSOR_SHAPE)
    dimensions = None
    if shapes:
        spans = field_spans(file, shapes[-1], SHAPE_DIM)
        dimensions = tuple(_dimension(file, each, f"{name}[{place}]") for place, each in enumerate(spans))
    return OnnxInput(name, NAMES.get(element, str(element)), dimensions)


def _dimension(file: File, span: Span, place: str) -> Dimension:
    parts = message(file, span)
    size = parts[DIM_VALUE][-1][0] if DIM_VALUE in parts else 0
    # Exporters write -1 and 0 where they mean a size that is not known, and `?` for several that differ.
    if 0 < size < SIGN:
        return Dimension(place, size, is_named=False)
    name = _text(file, span, DIM_NAME).strip()
    is_named = any(character.isalnum() for character in name)
    return Dimension(name if is_named else place, None, is_named)


def _text(file: File, span: Span, number: int) -> str:
    """A text field; Protobuf uses the last value. Raises ValueError where it is no text."""
    return "".join(read(file, inner).decode() for inner in field_spans(file, span, number)[-1:])
