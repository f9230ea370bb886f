"""Hostile texts, and what no output may hold."""

from __future__ import annotations

import re

from hypothesis import strategies as st

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
    assert not (found := re.findall(HIDDEN, output)), f"{found!r} in {output!r}"
    for line in output.split("\n"):
        # As GitHub's runner reads a line.
        assert not re.match(r"\s*::[A-Za-z][\w-]*( .*?)?::", line), repr(line)
        assert not re.search(r"##\w*\[", line), repr(line)
