"""Damages files as a disk or a program does."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path) -> None:
    """Change one bit, and leave the size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
