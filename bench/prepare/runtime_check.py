"""What the check of a runtime looks at: the interpreter that it links to, code that was added, and its RECORD files."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

NATIVE = (".so", ".pyd", ".dll", ".dylib")
CODE = (".py", ".pth", *NATIVE)
COMPILED = "__pycache__"


def is_code(name: str) -> bool:
    """Whether a file that nobody installed would change what an interpreter runs; its own compiled code does not."""
    path = PurePosixPath(name)
    return COMPILED not in path.parts and (path.suffix in CODE or ".so." in path.name)


def base_interpreters(executable: Path) -> list[Path]:
    """The program that the interpreter of an environment links to, outside of the environment."""
    real = executable.resolve()
    return [real] if real.is_file() and executable.parent.parent.resolve() not in real.parents else []


def changed_packages(folder: Path) -> list[str]:
    """The files of a runtime's packages that are not as in the RECORD files, which hold a hash of each."""
    # Packages may overwrite files of each other, as the wheels of ONNX Runtime do: each hash is right then.
    known: dict[Path, set[str]] = {}
    for record in folder.glob("**/site-packages/*.dist-info/RECORD"):
        for name, digest in _rows(record):
            known.setdefault(record.parents[1] / name, set()).add(digest)
    problems = ((path.name, _problem(path, digests)) for path, digests in known.items())
    return [f"{name} {problem}" for name, problem in problems if problem]


def _problem(path: Path, digests: set[str]) -> str:
    if not path.is_file():
        return "is missing"
    return "" if _sha256(path) in digests else "has changed"


def _rows(record: Path) -> Iterator[tuple[str, str]]:
    """The files with a SHA-256: those that were compiled after the installation have none."""
    with record.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            kind, _, digest = (row[1] if len(row) > 1 else "").partition("=")
            if kind == "sha256" and digest:
                yield row[0], digest.rstrip("=")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return base64.urlsafe_b64encode(hashlib.file_digest(file, "sha256").digest()).decode().rstrip("=")
