"""Seals a folder of the cache when it is whole, and compares it with its seal when it is used.

A seal holds the size, the times and the digest of each file. A file whose size or times differ is read again. The
others are read again while the budget of the run lasts, and after `MOST_AGE_S` in any case.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.errors import DiskError
from bench.files import write_atomically

SEAL = "seal.json"
MOST_AGE_S = 7 * 24 * 3600.0
"""A file that no run has read for so long is read again, whatever that takes."""
SHARE = 0.01
"""The share of the time for measuring that reading files again may take."""
FIRST_BYTES_S = 300e6
"""Bytes a second that are expected before the first file was read."""
PART_BYTES = 2**20
UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError)


class SealedFile(Struct, frozen=True, array_like=True):
    """A file as it was when it was read last."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Not only the time that a program can set: this one changes with every write on POSIX."""
    digest: str
    """BLAKE2b, 32 hex digits; of a link, where it leads to."""
    read_s: float
    """When it was read, in seconds since the epoch."""


class Seal(Struct, frozen=True):
    """The files of a folder by their relative names."""

    files: dict[str, SealedFile]
    outside: dict[str, SealedFile] = {}
    """By their paths: files elsewhere that the folder needs, such as the interpreter that it links to."""


class ReadBudget:
    """How long files may be read again whose size and times are as before; several threads may use it."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds
        self._bytes, self._seconds = FIRST_BYTES_S, 1.0
        self._lock = threading.Lock()

    def allows(self, size_bytes: int) -> bool:
        """Whether a file of this size can be read in the time that is left, as fast as those before."""
        return size_bytes * self._seconds / self._bytes <= self.left_s

    def spent(self, size_bytes: int, seconds: float) -> None:
        """Take off what a file has taken."""
        with self._lock:
            self.left_s -= seconds
            # Small files say more about opening than about reading.
            if size_bytes >= PART_BYTES:
                self._bytes, self._seconds = self._bytes + size_bytes, self._seconds + seconds


class Compared(Struct, frozen=True):
    """What a comparison has found: problems in words, and the seal with the files that were read again."""

    problems: tuple[str, ...]
    names: tuple[str, ...]
    """The files that have them."""
    seal: Seal
    is_new: bool
    """Whether the seal differs from the one that it was compared with."""
    read_bytes: int = 0


def make(folder: Path, ignored: frozenset[str] = frozenset(), outside: Iterable[Path] = ()) -> Seal:
    """Read every file of a folder, other than the seal and the `ignored` names. Raises `OSError`."""
    files = {name: _sealed(Path(path), stat) for name, path, stat in _walk(folder, ignored)}
    return Seal(files, {str(path): _sealed(path, path.stat()) for path in outside})


def changed_outside(seal: Seal) -> list[Path]:
    """The files outside of the folder that are missing, or have another size or time than in its seal."""
    return [Path(path) for path, before in seal.outside.items() if not _is_as_before(Path(path), before)]


def _is_as_before(path: Path, before: SealedFile) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (before.size, before.mtime_ns)


def with_outside(seal: Seal, outside: Iterable[Path]) -> Seal:
    """The seal with other files outside of the folder. Raises `OSError`."""
    return replace(seal, outside={str(path): _sealed(path, path.stat()) for path in outside})


def read(path: Path) -> Seal | None:
    """The seal in a file; None where there is none, or a damaged one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Seal)
    except UNREADABLE:
        return None


def write(path: Path, seal: Seal) -> None:
    """Keep a seal; where the cache cannot be written, the next run reads the files again."""
    with contextlib.suppress(DiskError, OSError):
        write_atomically(path, msgspec.json.encode(seal))


def compare(
    folder: Path,
    seal: Seal,
    budget: ReadBudget,
    ignored: frozenset[str] = frozenset(),
    is_foreign: Callable[[str], bool] = lambda _: False,
    is_sound: Callable[[Path], bool] | None = None,
    *,
    thorough: bool = False,
    since_s: float = 0.0,
) -> Compared:
    """Compare a folder with its seal.

    `is_foreign` says by its name whether a file that is not in the seal is damage. Where files are added from time to
    time, `is_sound` says whether a new one is as it should be, and it is sealed then.

    With `thorough` every file is read that was not read after `since_s`, which the budget does not limit.
    """
    now_s = time.time()
    files, found, read_bytes = dict(seal.files), list[tuple[str, str]](), 0
    missing = set(files)
    due: list[tuple[bool, float, str, str, os.stat_result]] = []
    for name, path, stat in _walk(folder, ignored):
        before = files.get(name)
        missing.discard(name)
        if before is None:
            if is_sound is not None and is_sound(Path(path)):
                files[name] = _sealed(Path(path), stat)
            elif is_sound is not None:
                found.append((name, "has changed"))
            elif is_foreign(name):
                found.append((name, "was added"))
            continue
        # Nothing needs to be read to see this.
        if stat.st_size != before.size:
            found.append((name, f"has {stat.st_size} bytes and had {before.size}"))
            continue
        is_other = (stat.st_mtime_ns, stat.st_ctime_ns) != (before.mtime_ns, before.ctime_ns)
        is_old = now_s - before.read_s > MOST_AGE_S or (thorough and before.read_s <= since_s)
        if is_other or is_old or before.read_s <= since_s:
            due.append((not (is_other or is_old), before.read_s, name, path, stat))
    # What must be read first, then what was read longest ago: over several runs, all have their turn.
    for is_optional, _, name, path, stat in sorted(due, key=lambda row: row[:3]):
        if is_optional and not budget.allows(stat.st_size):
            continue
        began = time.perf_counter()
        try:
            after = _sealed(Path(path), stat)
        except OSError as error:
            found.append((name, f"cannot be read: {error.strerror}"))
            continue
        budget.spent(stat.st_size, time.perf_counter() - began)
        read_bytes += stat.st_size
        if after.digest != files[name].digest:
            found.append((name, "has changed"))
            # So that the next run reads it too, whatever its times are.
            after = replace(files[name], read_s=0.0)
        files[name] = after
    found += [(name, "is missing") for name in sorted(missing)]
    changed = files != seal.files
    problems, names = tuple(f"{name} {what}" for name, what in found), tuple(name for name, _ in found)
    return Compared(problems, names, replace(seal, files=files) if changed else seal, changed, read_bytes)


def digest_of(path: Path) -> str:
    """The digest of a file: BLAKE2b, which is the fastest of the standard library where no instruction computes SHA."""
    with path.open("rb") as file:
        return str(hashlib.file_digest(file, _blake2b).hexdigest())


def _blake2b() -> Any:
    return hashlib.blake2b(digest_size=16)


def _sealed(path: Path, stat: os.stat_result) -> SealedFile:
    digest = f"link {path.readlink()}" if path.is_symlink() else digest_of(path)
    return SealedFile(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest, time.time())


def _walk(folder: Path, ignored: frozenset[str]) -> Iterator[tuple[str, str, os.stat_result]]:
    """Each file and link under a folder: its relative name, its path, and its own state."""
    root = str(folder)
    waiting = [root]
    while waiting:
        # A folder that another process removes meanwhile has missing files.
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as listed:
            for item in listed:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                    continue
                name = item.path[len(root) + 1 :].replace(os.sep, "/")
                if name != SEAL and name not in ignored:
                    # A file that is gone by now is missing too.
                    with contextlib.suppress(FileNotFoundError):
                        yield name, item.path, item.stat(follow_symlinks=False)
