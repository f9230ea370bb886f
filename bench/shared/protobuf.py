"""Protobuf's wire format: messages are written from their fields, and the fields of messages in a file are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

Span = tuple[int, int]
"""Where the bytes of a field begin and end; a plain number is given as itself, twice."""
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""The wire types."""
MAX_BITS = 64


# --- writing ----------------------------------------------------------------------------------------------------------


def number(field: int, value: int) -> bytes:
    """A field that holds a whole number of 0 or more."""
    return _varint(field << 3 | VARINT) + _varint(value)


def content(field: int, value: bytes) -> bytes:
    """A field that holds bytes or a message."""
    return _varint(field << 3 | LENGTH) + _varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """A field that holds a string."""
    return content(field, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- reading ----------------------------------------------------------------------------------------------------------


def message(file: BinaryIO, span: Span) -> dict[int, list[Span]]:
    """Where each field of a message stands, by its number. ValueError where the bytes are no protobuf."""
    spans: dict[int, list[Span]] = {}
    for field, _, inner in fields(file, span):
        spans.setdefault(field, []).append(inner)
    return spans


def field_spans(file: BinaryIO, span: Span, number: int) -> list[Span]:
    """Where each of a message's fields of that number stands."""
    return [inner for field, _, inner in fields(file, span) if field == number]


def read(file: BinaryIO, span: Span) -> bytes:
    """The bytes of one field."""
    file.seek(span[0])
    return file.read(span[1] - span[0])


def fields(file: BinaryIO, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Each field of a message: its number, its wire type and its place; what is in it is passed over.

    A field may claim to end after the file. The file can be read elsewhere between two fields.
    """
    at, end = span
    while at < end:
        file.seek(at)
        field, kind = divmod(number_at(file), 8)
        if kind == VARINT:
            value = number_at(file)
            place, at = (value, value), file.tell()
        else:
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind)
            if size is None:
                size = number_at(file)
            place = (file.tell(), file.tell() + size)
            at = place[1]
        yield field, kind, place


def number_at(file: BinaryIO) -> int:
    """The number where the file stands: seven bits a byte, lowest first. ValueError where it has no end."""
    value = 0
    for shift in range(0, MAX_BITS + 6, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends amid a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number has more than 64 bits")
