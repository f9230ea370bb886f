"""A note of a stranger's run may hold any values: it has words, or its parameters, and never ends a report."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from bench.gating import text as gate_text
from bench.gating.text import WORDS as OF_GATES
from bench.records import Note
from bench.report import text_differences, text_notes

VALUES = ({}, *(dict.fromkeys("x", value) for value in (-1, 0, "x", "", None, ("a",), (), 1e308, True)))
"""None at all, and one value for all parameters."""


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (text_notes.WORDS, text_notes.say),
        (text_differences.WORDS, text_differences.say),
        (OF_GATES, gate_text.say),
    ],
    ids=["report", "differences", "gate"],
)
def test_every_kind_with_values_of_other_types_says_something(words: Mapping[str, Any], say: Any) -> None:
    for kind, sentence in words.items():
        names = [
            name for name, each in inspect.signature(sentence).parameters.items() if each.kind is each.KEYWORD_ONLY
        ]
        names = names or list(inspect.signature(sentence).parameters)
        for chosen in VALUES:
            values = dict.fromkeys(names, chosen["x"]) if chosen else {}
            for parts in ((), (Note(kind, values),)):
                assert isinstance(say(Note(kind, values, parts)), str), (kind, values)
