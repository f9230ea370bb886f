"""Declares a fact with its parameters, as the worker, the files and the report exchange it.

No code reads a sentence: the code that finds something records a kind and values, and only the modules of text turn a
kind into words.
"""

from __future__ import annotations

from bench.records.base import Record

NoteValue = bool | int | float | str | tuple[str, ...] | None
"""The types of a note's parameters."""


class Note(Record, frozen=True):
    """One fact: its kind, in words joined by hyphens, and its parameters by name.

    The kind `text` has one parameter, `text`: a text from outside, such as the message of a library.
    """

    kind: str
    values: dict[str, NoteValue] = {}
    parts: tuple[Note, ...] = ()
    """The facts that this one consists of, such as each figure outside a tolerance."""

    def __hash__(self) -> int:
        """Equal notes have equal hashes, so that notes can be counted and grouped."""
        # A dictionary has no hash; its sorted items have one.
        return hash((self.kind, tuple(sorted(self.values.items(), key=lambda item: item[0])), self.parts))


def note(kind: str, /, *parts: Note, **values: NoteValue) -> Note:
    """Make a note: `note("casts-kept", operators=("Softmax",))`."""
    return Note(kind, values, parts)
