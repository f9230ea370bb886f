"""Digests files by their names and contents, and remembers the digests of large files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from bench import reading
from bench.errors import DiskError
from bench.files import write_atomically

BIG_BYTES = 4 * 2**20
"""From this size a file's digest is remembered: hashing it takes longer than looking it up."""

SETTLED_S = 2.0
"""A younger file is hashed again next time: with a coarse clock it can change and keep its modification time."""

Memory = dict[str, tuple[int, int, str]]
REMEMBERING = threading.Lock()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(files: Mapping[str, Path], memory: Path, extra: Iterable[str] = ()) -> str:
    """SHA-256 of `(relative name, content)` of every file in the order of names, then of the words in `extra`.

    `memory` is a small JSON file that keeps the digests of big files by path, size and modification time.
    """
    known = _recall(memory)
    digests = dict(known)
    total = hashlib.sha256()
    # By name, so that the order in which a file system lists them does not count.
    for name in sorted(files):
        content = _content_digest(files[name], digests)
        # A null byte, which no name holds: otherwise a part of a name could pass for a part of the content.
        total.update(f"{name}\0{content}\n".encode())
    for word in extra:
        total.update(f"+{word}\n".encode())
    if digests != known:
        with REMEMBERING:
            # Another thread may have added others meanwhile.
            _remember(memory, _recall(memory) | digests)
    return total.hexdigest()


def _content_digest(path: Path, digests: Memory) -> str:
    """The digest of one file; the remembered one where size and time are the same."""
    # The hub's cache links to its files, and a link has a time of its own.
    real = path.resolve()
    stat = real.stat()
    if stat.st_size < BIG_BYTES:
        return sha256_of(real)
    before = digests.get(str(real))
    if before is not None and before[:2] == (stat.st_size, stat.st_mtime_ns):
        return before[2]
    content = sha256_of(real)
    if time.time() - stat.st_mtime > SETTLED_S:
        digests[str(real)] = (stat.st_size, stat.st_mtime_ns, content)
    return content


def _recall(memory: Path) -> Memory:
    """The remembered digests; empty where the file is missing or damaged, since they can be computed again."""
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Memory)
    except (OSError, *reading.UNREADABLE):
        return {}


def _remember(memory: Path, digests: Memory) -> None:
    """Save the digests of files that still exist. Of two runs at a time one is saved; the other hashes again."""
    alive = {path: entry for path, entry in digests.items() if Path(path).exists()}
    # Where it cannot be kept, the next run hashes again.
    with contextlib.suppress(DiskError):
        write_atomically(memory, json.dumps(alive).encode())
