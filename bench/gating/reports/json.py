"""Write and read `gate.json`, the record of a gate."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench import reading
from bench.errors import RunFolderError
from bench.foreign_text import json_text
from bench.records import SCHEMA, GateRun
from bench.store import UNREADABLE

FILE = "gate.json"


class _Versioned(msgspec.Struct):
    schema: int | None = None


def render(run: GateRun) -> str:
    """Indented JSON with a final line feed."""
    return json_text(msgspec.json.format(msgspec.json.encode(run), indent=2).decode()) + "\n"


def read(path: Path) -> GateRun:
    """Read a gate from a `gate.json`.

    Raises `RunFolderError` if the file cannot be read, has another schema, or does not hold a complete gate.
    """
    try:
        content = reading.content(path, reading.RECORD_BYTES, RunFolderError)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", f"name the {FILE} of a gate") from None
    # The schema is read first: a record of another version would fail with a confusing message about its fields.
    try:
        schema = msgspec.json.decode(content, type=_Versioned).schema
    except UNREADABLE as error:
        raise RunFolderError(f"{path} is not JSON of a gate: {error}", "run the gate again") from None
    if schema != SCHEMA:
        hint = f"use the version of touchstone-bench that wrote it, or gate again with this one (schema {SCHEMA})"
        raise RunFolderError(f"{path} has schema {schema}, and this version reads schema {SCHEMA}", hint)
    try:
        return msgspec.json.decode(content, type=GateRun)
    except UNREADABLE as error:
        raise RunFolderError(f"{path} does not hold what schema {SCHEMA} says: {error}", "was it edited?") from None
