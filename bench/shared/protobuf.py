"""Reads and writes Protobuf's wire format, field by field.

The orchestrator and some runtimes must read ONNX files and do not have the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

Span = tuple[int, int]
"""Start and end of a field's bytes in the file, as offsets; for a varint its value, twice."""
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""The wire types."""
MAX_BITS = 64
MOST_READS = 4_000_000
"""Reads of a bounded file: a graph of 300,000 nodes needs about a million, and a hostile one without end 5 s."""


class File(Protocol):
    """What is needed of a file."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes."""
        ...

    def seek(self, offset: int, /) -> object:
        """Set the position."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


class Bounded:
    """A file that can be read so often and no more: a small file may hold very many fields in one another."""

    def __init__(self, file: BinaryIO, most_reads: int = MOST_READS) -> None:
        self._left, self.seek, self.tell = most_reads, file.seek, file.tell
        self._read = file.read

    def read(self, size: int, /) -> bytes:
        """Read bytes. Raises ValueError once too many reads were made."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("it has more fields than any model")
        return self._read(size)


# --- writing ----------------------------------------------------------------------------------------------------------


def number(field: int, value: int) -> bytes:
    """An encoded field with an integer that is not negative."""
    return _varint(field << 3 | VARINT) + _varint(value)


def content(field: int, value: bytes) -> bytes:
    """An encoded field with bytes or a message."""
    return _varint(field << 3 | LENGTH) + _varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """An encoded field with a string, as UTF-8."""
    return content(field, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- reading ----------------------------------------------------------------------------------------------------------


def message(file: File, span: Span) -> dict[int, list[Span]]:
    """The spans of a message's fields, by field number. Raises ValueError if the bytes are not Protobuf."""
    spans: dict[int, list[Span]] = {}
    for field, _, inner in fields(file, span):
        spans.setdefault(field, []).append(inner)
    return spans


def field_spans(file: File, span: Span, number: int) -> list[Span]:
    """The spans of a message's fields with this number; a repeated field has several."""
    return [inner for field, _, inner in fields(file, span) if field == number]


def read(file: File, span: Span) -> bytes:
    """The bytes of one field; none for a number, whose span is its value."""
    if span[0] == span[1]:
        return b""
    file.seek(span[0])
    return file.read(span[1] - span[0])


def fields(file: File, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Yield the number, wire type and span of each field of a message, without reading its content.

    Raises ValueError if the bytes are not Protobuf, and after a field that ends beyond the message: such a span is the
    last, and may end beyond a truncated file, which callers can say better. The caller may read at other positions of
    the file between two fields.
    """
    offset, end = span
    while offset < end:
        # The caller may have moved the position since the last field.
        file.seek(offset)
        field, kind = divmod(number_at(file), 8)
        if kind == VARINT:
            value = number_at(file)
            field_span, offset = (value, value), file.tell()
        else:
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind)
            # The obsolete groups do not occur in ONNX, so every other wire type begins with its length.
            if size is None:
                size = number_at(file)
            field_span = (file.tell(), file.tell() + size)
            offset = field_span[1]
        yield field, kind, field_span
        # Else a length of 2**62 would be read from the file, or one part of it again and again.
        if offset > end:
            raise ValueError("a field is longer than what holds it")


def number_at(file: File) -> int:
    """Read a varint at the file's position: seven bits a byte, lowest first. Raises ValueError if it does not end."""
    value = 0
    # 64 bits need ten bytes of seven bits.
    for shift in range(0, MAX_BITS + 6, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends amid a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number has more than 64 bits")
