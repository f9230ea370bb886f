"""Orders number formats by how coarse they are, and finds the one that a model's own file holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

COARSENESS = ("fp64", "fp32", "tf32", "fp16", "bf16", "int16", "fp8", "int8", "fp4", "int4", "int2")
"""From the finest to the coarsest."""
FILE_FORMAT = "file-format"
"""The kind of the note on a file whose own number format is not FP32; its value `number_format` names it."""


class _Note(Protocol):
    """The part of `bench.records.Note` that is read here; this room imports no other."""

    @property
    def kind(self) -> str: ...

    @property
    def values(self) -> Mapping[str, Any]: ...


def coarsest(formats: Iterable[str], default: str = "fp32") -> str:
    """The coarsest of the formats; unknown ones are ignored, and `default` is given where none is left."""
    known = [name for name in formats if name in COARSENESS]
    return max(known, key=COARSENESS.index, default=default)


def of_file(notes: Iterable[_Note]) -> str | None:
    """The number format that the notes of an artifact give for the model's own file; None for FP32."""
    return next((str(note.values.get("number_format")) for note in notes if note.kind == FILE_FORMAT), None)
