"""What is made once for all processes of a test session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, filled by `make(folder)` in whichever process needs it first; the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            complete.touch()
    return folder
