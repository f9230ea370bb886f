"""Files that are written whole or not at all, and the error of a disk that is full or cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.errors import DiskError

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
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a `DiskError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            hint = "free some space; what was measured is kept"
            raise DiskError(f"{path} could not be written: the disk is full", hint) from None
        if error.errno in UNFIT:
            hint = "name a folder that can be written"
            raise DiskError(f"{path} could not be written: {error.strerror}", hint) from None
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, then rename: a reader sees the old file or the new one."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).chmod(0o644)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def append_synced(path: Path, line: bytes) -> None:
    """Add one line to a file and force it to the disk."""
    with writing(path), path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
