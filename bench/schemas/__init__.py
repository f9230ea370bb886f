"""Makes the JSON Schemas of the files that people and programs read; `python -m bench.schemas` writes them.

They are generated from the records, from the rows of metrics and from the tables of a matrix, so that none of these is
described twice. The files in this folder are for editors and for programs that do not use Python.
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
"""By file name, the function that makes the schema: of matrix.toml, run.json, a line of results.jsonl, results.json."""


def text(name: str) -> str:
    """The current text of one file of `SCHEMAS`."""
    return msgspec.json.format(msgspec.json.encode(SCHEMAS[name]()), indent=2).decode() + "\n"


def write(folder: Path) -> list[Path]:
    """Write every schema into a folder, and return the paths; `DiskError` if a file cannot be written."""
    paths = [folder / name for name in SCHEMAS]
    for path in paths:
        write_atomically(path, text(path.name).encode())
    return paths
