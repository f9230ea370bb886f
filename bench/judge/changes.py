"""Writes values that differ as the parameters of a note, each short enough for one line (pure).

The records of other machines are untrusted input, so every value and every list has a maximum length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from bench.records import Note, NoteValue, note

MOST = 30
"""Notes of one kind before the rest is only counted."""
LONGEST = 60
"""Characters of a value before it is cut."""
FEW = 6
"""Changes or names in one note before the rest is only counted."""
# One note holds all facts of a machine, so it shows more of them than a note of single changes.
MACHINE_FACTS = 12

Change = tuple[str, object, object]
"""What differs, its value before and its value after; None where a side has none."""


def differs(old: object, new: object) -> bool:
    """Whether two values differ, or have different types: `1` and `true` are equal in Python."""
    return old != new or type(old) is not type(new)


def values(old: object, new: object) -> dict[str, NoteValue]:
    """The parameters `before` and `after`, each as a matrix writes it; None where a side has no value."""
    # "1" -> 1 is a change of type, which only quotes can show. Other words read better without them.
    bare = all(isinstance(value, str | None) for value in (old, new))
    return {"before": written(old, bare), "after": written(new, bare)}


def written(value: object, bare: bool = False) -> str | None:
    """A value as JSON on one line, cut; with `bare`, a single word has no quotes. Never empty; None stays None."""
    if value is None:
        return None
    if bare and isinstance(value, str) and len(value.split()) == 1:
        return cut(value)
    try:
        return cut(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # nested too deeply to write; records of other machines are untrusted
        return "…"


def changes(candidates: Iterable[Change], few: int = FEW) -> dict[str, NoteValue] | None:
    """The parameters `names`, `before` and `after` of the candidates whose values differ, and `more`.

    `more` counts those after the first `few`. A side without a value is an empty text. None where nothing differs.
    """
    every = [(name, values(old, new)) for name, old, new in candidates if differs(old, new)]
    if not every:
        return None
    shown = every[:few]
    # An empty text in place of None, because a tuple in a note holds texts only.
    sides = {side: tuple(str(value[side] or "") for _, value in shown) for side in ("before", "after")}
    return {"names": tuple(cut(name) for name, _ in shown), **sides, "more": len(every) - len(shown)}


def first(names: Iterable[str], few: int = FEW) -> dict[str, NoteValue]:
    """The parameters `names`, the first of them, and `more`, how many others there are."""
    every = list(names)
    return {"names": tuple(map(cut, every[:few])), "more": max(0, len(every) - few)}


def cut(text: str) -> str:
    """The text, cut to at most `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def bounded(notes: Iterable[Note]) -> Iterator[Note]:
    """The first `MOST` notes, then how many more there are."""
    rest = iter(notes)
    yield from islice(rest, MOST)
    # Counted and not kept: a file from elsewhere may hold any number of them.
    more = sum(1 for _ in rest)
    if more:
        yield note("more-differences", count=more)


def both_differ(before: Mapping[str, str], after: Mapping[str, str], name: str) -> bool:
    """Whether both sides know a value, and the two are not equal."""
    # Older runs did not record every value, and a missing value is no difference.
    return name in before and name in after and before[name] != after[name]
