"""Records which processes use a cache and when each folder was last used, so that `bench cache prune` is safe.

A process that measures holds a locked file in `in-use/` for as long as it runs. The operating system releases the lock
when the process ends in any way, also when it is killed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock, Timeout

from bench.files import writing

USED = "last-used"
IN_USE, DOOR = "in-use", "in-use.lock"
COARSE_S = 2.0
"""How far a file's time may be behind the clock: the coarsest file systems count in steps of two seconds."""
Work = TypeVar("Work", bound=Callable[..., Any])


@contextlib.contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Mark a cache as used by this process until the block ends; waits while another process removes something."""
    folder = cache / IN_USE
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / DOOR):
            # The name holds the start: filelock changes the time of a file when it looks at it.
            path = folder / f"{time.time_ns()}-{os.getpid()}.lock"
            lock = FileLock(path)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):  # Windows deletes no file that another process looks at
            path.unlink(missing_ok=True)


def uses_cache(work: Work) -> Work:
    """Mark the cache in `options.cache`, of the first argument, as used while the function runs."""

    @functools.wraps(work)
    def holding(options: Any, *args: Any, **kwargs: Any) -> Any:
        with in_use(options.cache):
            return work(options, *args, **kwargs)

    return cast(Work, holding)


@contextlib.contextmanager
def removing(cache: Path) -> Iterator[float]:
    """Prevent processes from starting to use a cache while something is removed from it.

    Yields the time, in seconds since the epoch, at which the oldest running process began; infinity where none runs.
    """
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / DOOR):
            yield min(_running(cache), default=float("inf"))


def _running(cache: Path) -> Iterator[float]:
    for path in (cache / IN_USE).glob("*.lock"):
        try:
            # A lock that can be had is of a process that ended without removing its file.
            with FileLock(path, timeout=0):
                path.unlink(missing_ok=True)  # of a process that was killed
        # Another process holds the lock, so it is alive.
        except Timeout:
            yield int(path.name.partition("-")[0]) / 1e9 - COARSE_S


def touch(folder: Path) -> None:
    """Record that a folder of the cache is used now; does nothing where the cache cannot be written."""
    with contextlib.suppress(OSError):
        (folder / USED).touch()
        os.utime(folder / USED)


def touch_whole(folder: Path) -> None:
    """Record a use of a file, or of a folder to which no file may be added."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def last_used(folder: Path) -> float:
    """The last use of a folder or file in seconds since the epoch; without a record, the last change in it."""
    with contextlib.suppress(OSError):
        if folder.is_file():
            return folder.stat().st_mtime
    with contextlib.suppress(OSError):
        return (folder / USED).stat().st_mtime
    with contextlib.suppress(OSError):
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()) if path.exists())
    return 0.0
