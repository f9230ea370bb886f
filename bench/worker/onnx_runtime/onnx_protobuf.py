"""The few fields of ONNX's protobuf that runtimes without the `onnx` package need: small models, and input shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Span = tuple[int, int]
"""Where the bytes of a field begin and end."""
IR_VERSION, OPSET = 9, 17
ELEMENT = {"float32": 1, "float16": 10}
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Protobuf's wire types."""


# --- writing ----------------------------------------------------------------------------------------------------------


def matrix_products(weights: Sequence[Array], inputs: tuple[int | str, int]) -> bytes:
    """A model of one MatMul for each weight, one after another: input `x`, output `y`, all of the weights' type."""
    kind = ELEMENT[weights[0].dtype.name]
    names = ["x", *(f"h{index}" for index in range(1, len(weights))), "y"]
    graph = b""
    for index, (before, after) in enumerate(pairwise(names)):
        node = _text(1, before) + _text(1, f"w{index}") + _text(2, after) + _text(3, f"n{index}") + _text(4, "MatMul")
        graph += _bytes(1, node)
    graph += _text(2, "probe")
    for index, weight in enumerate(weights):
        graph += _bytes(5, _tensor(f"w{index}", weight, kind))
    graph += _bytes(11, _value("x", kind, inputs))
    graph += _bytes(12, _value("y", kind, (inputs[0], weights[-1].shape[1])))
    operators = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, operators)


def _tensor(name: str, array: Array, kind: int) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    little_endian = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return dims + _number(2, kind) + _text(8, name) + _bytes(9, little_endian)


def _value(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(_bytes(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | LENGTH) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


# --- reading ----------------------------------------------------------------------------------------------------------


def input_dimensions(path: Path) -> dict[str, list[str | int]]:
    """Each input's dimensions: a number, or the name of a symbolic one; nothing else of the file is read."""
    with path.open("rb") as file:
        graph = inside(file, (0, path.stat().st_size), 7)
        return dict(_input(file, span) for part in graph for span in inside(file, part, 11))


def operators(path: Path) -> Counter[str]:
    """How many nodes of each op type the model's graph has."""
    with path.open("rb") as file:
        graph = inside(file, (0, path.stat().st_size), 7)
        nodes = [node for part in graph for node in inside(file, part, 1)]
        return Counter(read(file, name).decode() for node in nodes for name in inside(file, node, 4))


def _input(file: BinaryIO, span: Span) -> tuple[str, list[str | int]]:
    name = inside(file, span, 1)[0]
    dims: list[str | int] = []
    for kind in inside(file, span, 2):
        for tensor in inside(file, kind, 1):
            for shape in inside(file, tensor, 2):
                dims += [dimension(file, one) for one in inside(file, shape, 1)]
    return read(file, name).decode(), dims


def dimension(file: BinaryIO, span: Span) -> str | int:
    """A dimension of a shape: its size, or the name of a symbolic one."""
    file.seek(span[0])
    for field, (start, end) in list(fields(file, span[1])):
        if field == 1:
            return start
        if field == 2:
            return read(file, (start, end)).decode()
    return ""


def inside(file: BinaryIO, span: Span, wanted: int) -> list[Span]:
    """Where each of a message's fields of that number stands."""
    file.seek(span[0])
    return [inner for field, inner in fields(file, span[1]) if field == wanted]


def read(file: BinaryIO, span: Span) -> bytes:
    """The bytes of one field."""
    file.seek(span[0])
    return file.read(span[1] - span[0])


def fields(file: BinaryIO, end: int) -> Iterator[tuple[int, Span]]:
    """Each field's number, and where its bytes begin and end; a plain number is given as itself, twice."""
    while file.tell() < end:
        field, kind = divmod(_number_at(file), 8)
        if kind == VARINT:
            value = _number_at(file)
            yield field, (value, value)
            continue
        size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind) or _number_at(file)
        start = file.tell()
        yield field, (start, start + size)
        file.seek(start + size)


def _number_at(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise ValueError("the model file ends amid a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7


def fixed_sizes(path: Path, feed: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, int]:
    """The value that each symbolic dimension of the model's inputs has in `feed`."""
    sizes: dict[str, int] = {}
    for name, dims in input_dimensions(path).items():
        for dim, size in zip(dims, feed[name].shape if name in feed else (), strict=False):
            if isinstance(dim, str) and dim:
                sizes.setdefault(dim, size)
    return sizes
