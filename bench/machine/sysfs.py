"""A small file of the kernel's in, its word or its number out; missing is an empty word and no number."""

from __future__ import annotations

from pathlib import Path


def number_of(path: Path) -> float | None:
    """The number that the file holds; None where there is none."""
    try:
        return float(text_of(path))
    except ValueError:
        return None


def text_of(path: Path) -> str:
    """The file's word; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
