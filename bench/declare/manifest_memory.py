"""Remembers what manifests and recipes were read, so that the next command need not parse the same source text again.

The memory is one JSON file in the cache. A value is found by the content of the file that it was read from, so it
cannot be out of date; a damaged memory, or one of another version, is empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench import reading
from bench.errors import DiskError
from bench.files import write_atomically

FILE = "manifests.json"
MOST_KEPT = 200
PACKAGE = Path(__file__).parent.parent
READERS = ("declare/manifests.py", "declare/manifest_memory.py", "records/manifests.py", "records/plan.py")
"""The code that decides what is read from a file: another one has a memory of its own."""
T = TypeVar("T")


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    reader: str
    """The digest of the code that read the values."""
    values: dict[str, msgspec.Raw]
    """By the digest of a source file and the kind of what was read from it."""


class ManifestMemory:
    """What was read from source files; it keeps nothing until it has a file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._reader = _digest(*((PACKAGE / name).read_bytes() for name in READERS)) if file else ""
        self._values = _load(file, self._reader) if file else {}
        self._is_saved = True

    def recall(self, path: Path, kind: Any) -> Any:
        """What was read from a file of this content, as a value of the type `kind`; None where nothing is known."""
        if self.file is None:
            return None
        with contextlib.suppress(OSError, KeyError, *reading.UNREADABLE):
            return msgspec.json.decode(self._values[_key(path.read_bytes(), kind)], type=kind)
        return None

    def keep(self, path: Path, kind: Any, value: object) -> None:
        """Remember what was read from a file; `save` writes it."""
        if self.file is None:
            return
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            stored = msgspec.json.encode(value)
            # JSON has no infinity: what would come back as another value is read again each time.
            if msgspec.json.decode(stored, type=kind) == value:
                self._values[_key(path.read_bytes(), kind)] = msgspec.Raw(stored)
                self._is_saved = False

    def save(self) -> None:
        """Write what is new; where that cannot be, the files are parsed again next time."""
        if self.file is None or self._is_saved:
            return
        self._is_saved = True
        newest = dict(list(self._values.items())[-MOST_KEPT:])
        with contextlib.suppress(DiskError, OSError):
            write_atomically(self.file, msgspec.json.encode(Remembered(self._reader, newest)))


def read(file: Path) -> Remembered:
    """The content of a memory. Raises `OSError` and msgspec's errors."""
    return msgspec.json.decode(file.read_bytes(), type=Remembered)


def _load(file: Path, reader: str) -> dict[str, msgspec.Raw]:
    with contextlib.suppress(OSError, *reading.UNREADABLE):
        remembered = read(file)
        if remembered.reader == reader:
            # `bench cache prune` looks at the time of the last use.
            os.utime(file)
            # Copied, since a view into it would keep the whole file.
            return {key: value.copy() for key, value in remembered.values.items()}
    return {}


def _key(content: bytes, kind: Any) -> str:
    return _digest(str(kind).encode(), content)


def _digest(*parts: bytes) -> str:
    # The lengths too: where one part ends decides what was read.
    total = hashlib.sha256(b"".join(b"%d\0" % len(part) for part in parts))
    for part in parts:
        total.update(part)
    return total.hexdigest()
