"""Declares the base of all records, the types that several of them use, and a fact with its parameters (`Note`)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# A new field with a default needs no new number; any other change needs one, and a converter for older files.
SCHEMA = 2
"""The version of the files of a run; `bench.records` has its history."""

# Stored runs hold these words in their failures, so none of them may be renamed.
Status = Literal[
    "ok",
    "partial",
    "approximate",
    "unchecked",
    "inaccurate",
    "unsupported",
    "unavailable",
    "excluded",
    "failed",
    "crashed",
    "timeout",
    "out-of-memory",
    "not-measured",
]
NOT_TRIED: tuple[Status, ...] = ("not-measured", "unavailable", "excluded")
"""The statuses of cells for which no worker measured anything: they say nothing about the cell."""
Weights = Literal["pretrained", "random"]
DeviceType = Literal["cpu", "gpu", "npu"]
Option = bool | int | float | str
"""A provider's option, as a matrix writes it."""


# Defaults are written too, so that a missing value is `null` in a file, and never an absent field.
class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """The base of all records: frozen, and strict when it is read."""


# --- facts ------------------------------------------------------------------------------------------------------------

NoteValue = bool | int | float | str | tuple[str, ...] | None
"""The types of a note's parameters."""


# No code reads a sentence: a fact is recorded as a kind and values, and only the modules of text make words of it.
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
