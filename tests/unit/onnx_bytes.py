"""Small ONNX files for tests, written field by field: the orchestrator's environment has no `onnx`."""

from __future__ import annotations

from bench.shared.protobuf import content, number, text

FLOAT, INT64 = 1, 7
Shape = tuple[int | str | None, ...] | None
"""Sizes and names of dimensions; None stands for one that has neither, and for an input without a shape."""


def an_input(name: str, shape: Shape, element: int = FLOAT) -> bytes:
    """An input of the graph."""
    tensor = number(1, element)
    if shape is not None:
        dims = (b"" if d is None else text(2, d) if isinstance(d, str) else number(1, d) for d in shape)
        tensor += content(2, b"".join(content(1, dim) for dim in dims))
    return text(1, name) + content(2, content(1, tensor))


def an_onnx_file(*inputs: bytes, weights: tuple[str, ...] = ()) -> bytes:
    """A model with these inputs, and weights of these names; it has no nodes."""
    graph = b"".join(content(5, text(8, name)) for name in weights)
    graph += b"".join(content(11, value) for value in inputs)
    return number(1, 9) + content(7, graph)
