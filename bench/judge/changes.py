"""An old and a new value in, words for the change out, cut to a length that a line of text can bear (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

MOST = 30
"""Sentences of one kind before the rest is only counted."""
LONGEST = 60
"""Characters of a value before it is cut."""
FEW = 6


def changed(name: str, old: object, new: object) -> str:
    """`per_channel true -> false`; `not said` where a side has none; empty where the two are equal."""
    if old == new and type(old) is type(new):
        return ""
    # "1" -> 1 is a change of type, which only quotes can show; else words read better without them.
    bare = all(isinstance(value, str | None) for value in (old, new))
    return f"{cut(name)} {said(old, bare)} -> {said(new, bare)}"


def said(value: object, bare: bool = False) -> str:
    """A value as a matrix would write it, on one line and not long; with `bare`, one word stands without its quotes."""
    if value is None:
        return "not said"
    if bare and isinstance(value, str) and len(value.split()) == 1:
        return cut(value)
    try:
        return cut(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # nested deeper than anyone writes
        return "…"


def quoted(value: str) -> str:
    """A name in quotes."""
    return f"'{cut(value)}'"


def cut(text: str) -> str:
    """No longer than a line can bear."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def listed(parts: Iterable[str], few: int = FEW) -> str:
    """`a, b, c and 4 more`."""
    every = [cut(part) if len(part) > 3 * LONGEST else part for part in parts]
    more = f" and {len(every) - few} more" if len(every) > few else ""
    return ", ".join(every[:few]) + more


def bounded(sentences: Iterable[str]) -> Iterator[str]:
    """The first `MOST` sentences, then how many more there are."""
    rest = iter(sentences)
    yield from islice(rest, MOST)
    more = sum(1 for _ in rest)
    if more:
        yield f"and {more} more differences of this kind"


def differ(before: Mapping[str, str], after: Mapping[str, str], name: str) -> bool:
    """Whether both know of something, and do not agree."""
    return name in before and name in after and before[name] != after[name]
