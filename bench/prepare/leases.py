"""Leases: one file for each process that uses a cache, with what it uses, so that nothing of that is removed.

A lease is of a process: its host, its id, and when it began, since ids are used again. The lease of a process that has
ended is void. The processes of another host, which shares the cache over a network, cannot be looked at: their leases
are honoured for `FOREIGN_S` after their last use.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
from filelock import FileLock, Timeout
from msgspec import Struct

FOLDER = "in-use"
FOREIGN_S = 48 * 3600.0
"""Longer than a run measures (a day at most) with what it prepares before."""
COARSE_S = 2.0
"""How far a file's time may be behind the clock: the coarsest file systems count in steps of two seconds."""
SAME_START_S = 2.0
"""How far two readings of a process's start may differ, because the clock of the machine was set in between."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError)


class Lease(Struct, frozen=True):
    """What a process says of itself."""

    host: str
    boot: str
    """What identifies the time since the host started; empty where the system does not tell."""
    pid: int
    started_s: float
    """When the process began, in seconds since the epoch."""
    began_s: float
    """When it began to use the cache."""
    uses: tuple[str, ...] = ()
    """Folders and files, relative to the cache."""


class Users(Struct, frozen=True):
    """The running processes that use a cache."""

    leases: tuple[Lease, ...]

    def use(self, path: str, last_used_s: float) -> bool:
        """Whether one of them uses a folder, by its lease or by the time of its last use."""
        return any(path in lease.uses or last_used_s >= lease.began_s - COARSE_S for lease in self.leases)


class Holder:
    """The lease of this process on a cache, for as long as it is held; several threads may add to it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        began = time.time_ns()
        # The name holds the start: filelock changes the time of a file when it looks at it.
        self.path = cache / FOLDER / f"{began}-{os.getpid()}.json"
        self.lease = Lease(socket.gethostname(), _boot(), os.getpid(), _started_s(os.getpid()), began / 1e9)
        # The operating system releases it when the process ends in any way, also where ids mean nothing to others.
        self.lock = FileLock(self.path.with_suffix(".lock"))
        self._lock = threading.Lock()
        self._is_over = False

    def take(self) -> None:
        """Make the files. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(NotImplementedError):  # a file system without locks
            self.lock.acquire(timeout=0)
        self._write()

    def add(self, folder: Path) -> None:
        """Say that a folder or file of the cache is used from now on."""
        with contextlib.suppress(ValueError, OSError):
            name = folder.relative_to(self.cache).as_posix()
            with self._lock:
                if name not in self.lease.uses and not self._is_over:
                    self.lease = msgspec.structs.replace(self.lease, uses=(*self.lease.uses, name))
                    self._write()

    def release(self) -> None:
        """Remove the files."""
        with self._lock:
            # A thread that still works, because nobody waits for it, must not write the file anew.
            self._is_over = True
        self.lock.release()
        _remove(self.path)

    def _write(self) -> None:
        # Not synced: after a power cut the process is gone too.
        aside = self.path.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(self.lease))
        aside.replace(self.path)


def _remove(path: Path) -> None:
    for file in (path, path.with_suffix(".lock"), path.with_suffix(".new")):
        with contextlib.suppress(OSError):  # Windows deletes no file that another process looks at
            file.unlink(missing_ok=True)


def running(cache: Path, but: Path | None = None) -> Users:
    """The processes that use a cache now, other than the one of the file `but`. Removes the leases of ended ones."""
    return Users(tuple(_running(cache / FOLDER, but)))


def _running(folder: Path, but: Path | None) -> Iterator[Lease]:
    for name in sorted({path.stem for path in folder.iterdir()} if folder.is_dir() else ()):
        path = folder / f"{name}.json"
        if path == but:
            continue
        lease, is_held = _read(path), _is_held(path.with_suffix(".lock"))
        if lease is None and is_held:
            # Of an earlier version, or written at this very moment.
            began, _, pid = name.partition("-")
            lease = Lease("", "", int(pid or 0), 0.0, int(began) / 1e9 if began.isdigit() else 0.0)
        if lease is not None and (is_held or _is_alive(lease, path)):
            yield lease
        else:
            _remove(path)


def _read(path: Path) -> Lease | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lease)
    except UNREADABLE:
        return None


def _is_held(lock: Path) -> bool:
    """Whether another process holds the lock of a lease."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return False


def _is_alive(lease: Lease, path: Path) -> bool:
    """Whether the process of a lease may run; asked where its lock tells nothing."""
    if lease.host != socket.gethostname():
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < FOREIGN_S
        return False
    if lease.boot != _boot():
        return False
    return abs(_started_s(lease.pid) - lease.started_s) <= SAME_START_S


def _started_s(pid: int) -> float:
    """When a process began; 0 where there is none."""
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return 0.0


def _boot() -> str:
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return ""
