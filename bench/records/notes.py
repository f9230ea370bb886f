"""A fact with its parameters, as it travels between the worker, the files and the report.

No code reads a sentence: who sees something records its kind and its values, and `bench.report` is the one place that
turns a kind into words.
"""

from __future__ import annotations

from bench.records.base import Record

NoteValue = bool | int | float | str | tuple[str, ...] | None
"""What a parameter of a note may be."""


class Note(Record, frozen=True):
    """One fact: its kind, in words joined by hyphens, and its parameters by name.

    The kind `text` has one parameter, `text`: the words of somebody else, such as a library's own message.
    """

    kind: str
    values: dict[str, NoteValue] = {}
    parts: tuple[Note, ...] = ()
    """The facts that this one is made of, such as each figure that is outside a tolerance."""

    def __hash__(self) -> int:
        """Equal notes have one hash, so that notes can be counted and grouped by what they say."""
        return hash((self.kind, tuple(sorted(self.values.items(), key=lambda item: item[0])), self.parts))


def note(kind: str, /, *parts: Note, **values: NoteValue) -> Note:
    """Make a note: `note("casts-kept", operators=("Softmax",))`."""
    return Note(kind, values, parts)
