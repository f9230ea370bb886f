"""Protobuf's wire format: what is written is found again, and bytes that are none are refused."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.shared.protobuf import LENGTH, VARINT, content, field_spans, fields, message, number, number_at, read, text

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
