"""Makes the JSON files of a model's folder readable for libraries that refuse a byte-order mark."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""The folders that were made; they are removed when the process ends."""


def is_marked(path: Path) -> bool:
    """Whether a file begins with a byte-order mark."""
    with path.open("rb") as file:
        return file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK


def readable(folder: Path | str) -> Path:
    """The folder; where one of its JSON files begins with a byte-order mark, another one with the files without it.

    Editors of Windows write the mark, and transformers, tokenizers and the exporters refuse it. The other files are
    links, because weights are large.
    """
    return _readable(Path(folder).resolve())


@cache
def _readable(folder: Path) -> Path:
    if not folder.is_dir() or not any(is_marked(path) for path in folder.glob("*.json")):
        return folder
    made = tempfile.TemporaryDirectory(prefix="bench-")
    _KEPT.append(made)
    # The name of the folder is a part of some messages.
    clean = Path(made.name) / folder.name
    clean.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".json" and path.is_file():
            (clean / path.name).write_bytes(path.read_bytes().removeprefix(BYTE_ORDER_MARK))
        else:
            _link(path, clean / path.name)
    return clean


def _link(path: Path, place: Path) -> None:
    try:
        place.symlink_to(path, target_is_directory=path.is_dir())
    except OSError:  # Windows allows links to administrators only
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, place)
