"""Writes files atomically, and reports a disk that is full or cannot be written as a `DiskError`."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError, DiskError

# Python has EDQUOT only where the system defines it.
FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
UNFIT = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EFBIG,
    errno.ENXIO,
    errno.ENODEV,
    # Of a folder on another machine; Windows has no such error.
    getattr(errno, "ESTALE", errno.EIO),
}
BEYOND_US = UNFIT - {errno.EEXIST} | {
    errno.EMFILE,
    errno.ENFILE,
    errno.ELOOP,
    errno.EAGAIN,
    errno.ENOMEM,
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
}
"""Errors of the machine or of its settings, wherever they occur."""


def is_unwritable(error: BaseException) -> bool:
    """Whether an error says that a place cannot be written: read-only, not permitted, or full."""
    if isinstance(error, DiskError):
        return True
    return isinstance(error, OSError) and error.errno in FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


def free_space(folder: Path) -> str:
    """`12 MiB are free there`; empty where the system does not tell."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return f"{shutil.disk_usage(place).free / 2**20:,.0f} MiB are free there"
    return ""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `DiskError` where the operating system cannot write `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            hint = "free some space; what was measured is kept"
            raise DiskError(f"{path} could not be written: the disk is full", hint) from None
        if error.errno == errno.ELOOP:
            message = f"{path} could not be written: it is a symbolic link"
            raise DiskError(message, "remove the link, which may lead to any file") from None
        if error.errno in UNFIT:
            hint = "name a folder that can be written"
            raise DiskError(f"{path} could not be written: {error.strerror}", hint) from None
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file and rename it: a reader sees the old file or the new one. Raises `DiskError`."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, since a file cannot be renamed into another file system.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                # Without it, a power cut after the rename can leave an empty file under the final name.
                os.fsync(file.fileno())
            # mkstemp makes a file that only its owner can read.
            Path(aside).chmod(0o644)
            Path(aside).replace(path)
        # Also after Ctrl-C: no temporary file stays.
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def append_synced(path: Path, lines: bytes) -> None:
    """Add lines to a file, all or none, and force them to the disk.

    Raises `DiskError`, also where the file is a symbolic link, and where its folder is gone.
    """
    if not path.parent.is_dir():
        raise DiskError(f"the folder {path.parent} is gone", "was it removed, or its disk? start again")
    with writing(path), open(path, "ab", buffering=0, opener=_not_through_link) as file:
        before, rest = file.seek(0, os.SEEK_END), memoryview(lines)
        try:
            # All in one call where the system takes them, so that a process that is killed leaves all or none.
            while rest:
                rest = rest[file.write(rest) :]
        # Also after Ctrl-C: the next line would follow the start of this one.
        except BaseException:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise
        os.fsync(file.fileno())


def _not_through_link(path: str, flags: int) -> int:
    # Windows has no such flag; there only administrators make links.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


def error_of_the_machine(error: BaseException) -> BenchError | None:
    """What to tell the user of an error of the operating system that no code expected; None for any other error."""
    if not isinstance(error, OSError):
        return None
    place = str(error.filename) if error.filename else "a file"
    if error.errno in FULL:
        return DiskError(
            f"{place} could not be written: the disk is full", "free some space; what was measured is kept"
        )
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        # What a process or a thread says that could not be started; it names no file.
        return DiskError(
            f"the machine has no room for more: {error.strerror}", "end other programs, or raise the limit"
        )
    if error.errno in BEYOND_US:
        return DiskError(f"{place} could not be used: {error.strerror}", "check its permissions and the disk")
    return None
