"""Records which processes use a cache and when each folder was last used, so that `bench cache prune` is safe.

A process that measures holds a lease (`leases.py`) for as long as it runs, with the names of what it uses.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock

from bench.files import is_unwritable, writing
from bench.prepare import leases
from bench.prepare.leases import Users

USED = "last-used"
DOOR = "in-use.lock"
REMOVED = "removed"
"""A folder is moved here before it is deleted, so that no process sees a part of it."""
Work = TypeVar("Work", bound=Callable[..., Any])
_HELD: list[leases.Holder] = []
"""The leases of this process."""


@contextlib.contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Hold a lease on a cache until the block ends; waits while another process removes something.

    A cache that cannot be written, or has no room for a lease, is used without one.
    """
    holder = leases.Holder(cache)
    is_held = False
    try:
        with writing(holder.path.parent):
            try:
                cache.mkdir(parents=True, exist_ok=True)
                with FileLock(cache / DOOR):
                    holder.take()
                    is_held = True
                    _HELD.append(holder)
            except OSError as error:
                # It must be there at least: a mistake in its name is told now.
                if not (is_unwritable(error) and cache.is_dir()):
                    raise
        yield
    finally:
        if is_held:
            _HELD.remove(holder)
            holder.release()


def uses_cache(work: Work) -> Work:
    """Hold a lease on the cache in `options.cache`, of the first argument, while the function runs."""

    @functools.wraps(work)
    def holding(options: Any, *args: Any, **kwargs: Any) -> Any:
        with in_use(options.cache):
            return work(options, *args, **kwargs)

    return cast(Work, holding)


@contextlib.contextmanager
def removing(cache: Path) -> Iterator[Callable[[], Users]]:
    """Prevent processes from starting to use a cache while something is removed from it.

    Yields a function that gives the running processes with what they use now.
    """
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / DOOR):
            yield lambda: leases.running(cache)


def used_by_others(cache: Path, folder: Path) -> bool:
    """Whether another process uses a folder of the cache, by its lease."""
    mine = next((holder.path for holder in _HELD if holder.cache == cache), None)
    name = folder.relative_to(cache).as_posix()
    return any(name in lease.uses for lease in leases.running(cache, mine).leases)


def _note_use(folder: Path) -> None:
    for holder in list(_HELD):
        holder.add(folder)


def touch(folder: Path) -> None:
    """Record that a folder of the cache is used now; does nothing where the cache cannot be written."""
    _note_use(folder)
    with contextlib.suppress(OSError):
        (folder / USED).touch()
        os.utime(folder / USED)


def touch_whole(folder: Path) -> None:
    """Record a use of a file, or of a folder to which no file may be added."""
    _note_use(folder)
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
