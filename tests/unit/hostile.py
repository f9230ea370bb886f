"""Hostile texts, and what no output may hold."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

HIDDEN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
COMMANDS = ("::error::", "::add-mask::a", "\n::warning file=a::", "##[group]", "##vso[task.a]", "\n##[error]b")
PIECES = (
    *COMMANDS,
    *("\x1b[31m", "\x1b]0;t\x07", "\x9b2J", "\x1b]8;;http://e\x1b\\", "\x1bc", "\x1b", "\x00", "\x07", "\x7f", "\x85"),
    *("\u202e", "\u2066", "\u200f", "\u2028", "\r", "\n", "\t", ":", "::", "#", "##", "[", "[/]", "[red]", "\\", "|"),
    *("<b>", "&", "`", "=1+1", "@someone", "模型", "é", "name", " ", "  "),
)
EVERYTHING = "".join(PIECES)


def hostile_text() -> st.SearchStrategy[str]:
    """Pieces of commands, escapes and markup, in any order, with any other characters."""
    pieces = st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    return st.lists(pieces, max_size=12).map("".join)


def assert_harmless(output: str) -> None:
    """No control character but tabs and line ends, no bidirectional mark, no command of a CI runner."""
    # Only what is near: a page is long.
    assert [output[max(0, at.start() - 200) : at.end() + 20] for at in re.finditer(HIDDEN, output)][:1] == []
    for line in output.split("\n"):
        # As GitHub's runner reads a line.
        assert not re.match(r"\s*::[A-Za-z][\w-]*( .*?)?::", line), repr(line[:300])
        assert not re.search(r"##\w*\[", line), repr(line[:300])


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """The record with every text in it changed, keys and names too; words of a fixed set and kinds of notes stay.

    An observation still names its cell.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, msgspec.Struct):
        free = (name for name in value.__struct_fields__ if name not in _fixed(type(value)))
        fields = {name: changed(getattr(value, name), change) for name in free}
        if isinstance(fields.get("cell"), str):
            fields["cell"] = "/".join(map(change, value.cell.split("/")))  # type: ignore[attr-defined]
        return replace(value, **fields)
    if isinstance(value, dict):
        return {changed_key(key, change): changed(each, change) for key, each in value.items()}
    if isinstance(value, tuple) and value and not isinstance(value[0], (int, float)):
        return tuple(changed(each, change) for each in value)
    return value


def changed_key(key: str, change: Callable[[str], str]) -> str:
    """A key such as `model/precision`: each part is a name."""
    return "/".join(map(change, key.split("/")))


@functools.cache
def _fixed(kind: type) -> set[str]:
    """The fields that take a fixed set of words, and those that programs read."""
    hints = typing.get_type_hints(kind)
    literal = {name for name, hint in hints.items() if "Literal" in str(hint)}
    return literal | {"schema", "created", "started", "kind", "matrix_text"} & set(hints)
