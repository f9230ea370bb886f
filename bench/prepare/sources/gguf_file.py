"""Checks the outline of a GGUF file without the gguf package: header, metadata and the places of the tensors.

The outline says whether the file is whole; a worker, which has the package, reads its content.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

from bench.errors import SourceError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by the number of its type."""
TEXT, LIST = 8, 9
AGAIN = "download it again"
MOST_PARTS = 5_000_000
"""Numbers and texts in a header: vocabularies of a million words have fewer, and to read more takes over 5 s."""
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 30: (1, 2)} | {
    kind: (256, size) for kind, size in {10: 84, 11: 110, 12: 144, 13: 176, 14: 210}.items()
}
"""Numbers and bytes of a block by the number of the tensor's type; for others only their start is checked."""


def check(path: Path) -> None:
    """Raise SourceError where the file is missing, is no GGUF file, is one part of several, or is truncated."""
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.gguf"))[:3]
        hint = f"name a file in it: {', '.join(inside)}" if inside else "name a .gguf file"
        raise SourceError(f"{path} is a folder, and not a GGUF file", hint)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.gguf"))[:3] if path.parent.is_dir() else []
        hint = f"in that folder: {', '.join(near)}" if near else "a relative path starts at the matrix's folder"
        raise SourceError(f"{path} does not exist", hint)
    if path.stat().st_size < 24:
        raise SourceError(f"{path} is no GGUF file: it has {path.stat().st_size} bytes", AGAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] != MAGIC:
            pointer = content[:40].startswith(b"version https://git-lfs")
            hint = "it is a Git LFS pointer: run `git lfs pull` in its folder"
            if not pointer:
                hint = "its name does not make it one: download the GGUF file again, or convert the model to GGUF"
            raise SourceError(f"{path} is no GGUF file: it does not begin with the letters GGUF", hint)
        try:
            need = _Outline(content).end()
        except (struct.error, IndexError, ValueError, RecursionError) as error:
            raise SourceError(f"{path} is truncated or damaged ({error})", AGAIN) from error
        except _OtherKindError as error:
            raise SourceError(f"{path} {error}", error.remedy) from error
        if need > len(content):
            raise SourceError(f"{path} is truncated: {len(content)} of at least {need} bytes", AGAIN)


class _OtherKindError(Exception):
    """The file is sound and cannot be used."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class _Outline:
    """A cursor over the file."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at, self.parts = content, 4, 0

    def end(self) -> int:
        """The number of bytes that the file must have."""
        (version,) = self.read("<I")
        if version not in VERSIONS:
            message = f"is GGUF of version {version}"
            raise _OtherKindError(message, "convert it again with a llama.cpp of today, on a little-endian machine")
        tensors, keys = self.read("<QQ")
        alignment = 32
        for _ in range(keys):
            name, (kind,) = self.text(), self.read("<I")
            value = self.value(kind)
            if name == b"general.alignment" and value:
                alignment = value
            if name == b"split.count" and value and value > 1:
                raise _OtherKindError(f"is one of {value} parts", "join them with `llama-gguf-split --merge`")
        ends = [self.tensor() for _ in range(tensors)]
        data = math.ceil(self.at / alignment) * alignment
        return data + max(ends, default=0)

    def tensor(self) -> int:
        """The end of a tensor, from the start of the data."""
        self.text()
        (dimensions,) = self.read("<I")
        if dimensions > 8:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        shape = self.read(f"<{dimensions}Q")
        kind, start = self.read("<IQ")
        numbers, size = BLOCKS.get(kind, (1, 0))
        return int(start) + math.prod(shape) // numbers * size

    def value(self, kind: int) -> int | None:
        """Go past a value; a whole number of four bytes is returned, and of `split.count` one of two."""
        if kind in SCALARS:
            size = SCALARS[kind]
            raw = self.take(size)
            return int.from_bytes(raw, "little") if kind in (2, 4) else None
        if kind == TEXT:
            self.text()
            return None
        if kind != LIST:
            raise ValueError(f"a value of the type {kind}")
        inner, count = self.read("<IQ")
        if inner in SCALARS:
            self.take(SCALARS[inner] * count)
            return None
        if count > len(self.content):
            raise ValueError(f"a list of {count} values")
        for _ in range(count):
            self.value(inner)
        return None

    def text(self) -> bytes:
        """A text with its length before it."""
        (length,) = self.read("<Q")
        return self.take(length)

    def read(self, form: str) -> tuple[int, ...]:
        """Numbers in the form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def take(self, size: int) -> bytes:
        """The next bytes. ValueError at the end of the file, and after too many parts."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise ValueError(f"its header has more than {MOST_PARTS:,} parts")
        start, self.at = self.at, self.at + size
        if self.at > len(self.content):
            raise ValueError("it ends within its header")
        return self.content[start : self.at]
