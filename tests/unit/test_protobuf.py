"""Protobuf's wire format: what is written is found again, and bytes that are none are refused."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.shared.protobuf import (
    LENGTH,
    VARINT,
    Bounded,
    content,
    field_spans,
    fields,
    message,
    number,
    number_at,
    read,
    text,
)

FIELD = st.integers(1, 2**29 - 1)


@given(st.lists(st.tuples(FIELD, st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=40))))
def test_what_is_written_is_found_again(written):
    makers: dict[type, Any] = {int: number, bytes: content, str: text}
    whole = b"".join(makers[type(value)](field, value) for field, value in written)
    file = io.BytesIO(whole)
    found = list(fields(file, (0, len(whole))))
    assert [(field, kind) for field, kind, _ in found] == [
        (field, VARINT if isinstance(value, int) else LENGTH) for field, value in written
    ]
    for (_, value), (_, _, span) in zip(written, found, strict=True):
        if isinstance(value, int):
            assert span == (value, value)
        else:
            assert read(file, span) == (value.encode() if isinstance(value, str) else value)


def test_fields_of_a_message_are_told_by_number_also_while_others_are_read():
    inner = number(1, 7) + text(2, "x")
    whole = content(3, inner) + content(3, b"") + bytes([4 << 3 | 5]) + b"four" + bytes([5 << 3 | 1]) + b"eight888"
    file = io.BytesIO(whole)
    found = message(file, (0, len(whole)))
    assert {field: len(spans) for field, spans in found.items()} == {3: 2, 4: 1, 5: 1}
    assert [read(file, span) for span in (*found[4], *found[5])] == [b"four", b"eight888"]
    assert field_spans(file, found[3][0], 1) == [(7, 7)]


@pytest.mark.parametrize(
    ("content", "said"), [(b"\x80", "ends amid a field"), (b"\xff" * 11, "more than 64 bits"), (b"", "ends amid")]
)
def test_a_number_without_an_end_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        number_at(io.BytesIO(content))


@pytest.mark.parametrize("length", [2**20, 2**62, 2**64 - 1])
def test_a_field_that_is_longer_than_what_holds_it_is_refused_before_it_is_read(length):
    varint = bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    inner = bytes([1 << 3 | LENGTH, *varint, length])
    whole = content(3, inner) + b"x" * 2**10
    (span,) = field_spans(io.BytesIO(whole[: len(content(3, inner))]), (0, len(content(3, inner))), 3)
    with pytest.raises(ValueError, match="longer than what holds it"):
        field_spans(io.BytesIO(whole), span, 1)


def test_a_number_in_place_of_a_text_has_no_bytes():
    assert read(io.BytesIO(b"abc"), (2**64 - 1, 2**64 - 1)) == b""


def test_a_bounded_file_ends_after_so_many_fields():
    many = content(7, number(1, 1) * 1000)
    assert len(field_spans(Bounded(io.BytesIO(many), 3000), (3, len(many)), 1)) == 1000
    with pytest.raises(ValueError, match="more fields than any model"):
        field_spans(Bounded(io.BytesIO(many), 1000), (3, len(many)), 1)
