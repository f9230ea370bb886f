"""JSON Schemas of the files that people and programs write and read; `python -m bench.schemas` writes them.

They are made from the records, from the rows of metrics and from the tables that a matrix may have, so that none of
these is described twice. The files beside this one are for editors and for programs without Python.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.files import write_atomically
from bench.schemas.matrix import matrix
from bench.schemas.records import observation, results, run

FOLDER = Path(__file__).parent
SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "matrix.schema.json": matrix,
    "run.schema.json": run,
    "observation.schema.json": observation,
    "results.schema.json": results,
}
"""By file: the schema of matrix.toml, of run.json, of a line of results.jsonl, and of results.json."""


def text(name: str) -> str:
    """The text of one file of `SCHEMAS`, as it is now."""
    return msgspec.json.format(msgspec.json.encode(SCHEMAS[name]()), indent=2).decode() + "\n"


def write(folder: Path) -> list[Path]:
    """Write every schema into a folder; `DiskError` where that fails. Gives the paths."""
    paths = [folder / name for name in SCHEMAS]
    for path in paths:
        write_atomically(path, text(path.name).encode())
    return paths
