"""Keeps the logs of workers: opened by several workers at once, bounded in size, and cleaned after the last of them."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import BinaryIO

from bench import privacy

MOST_LOG_BYTES, LOG_START_BYTES, LOG_END_BYTES = 64 * 2**20, 16 * 2**20, 2**20
"""When a log is cut, and what stays of its start and of its end."""
LONGEST_LINE_BYTES = 2**16
"""A longer line is cut anywhere."""


class _OpenLogs:
    """The logs that workers of this process write; one is cleaned when the last of its workers has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[int, int]] = {}

    def open(self, log: Path) -> tuple[BinaryIO, int]:
        """Open a log for one more worker; also return the position where its part begins."""
        # In the lock: a log that is replaced while a worker opens it would lose what that worker writes.
        with self._lock:
            file = log.open("ab")
            start = log.stat().st_size
            workers, first = self._open.get(log, (0, start))
            self._open[log] = (workers + 1, first)
            return file, start

    def bound(self, log: Path) -> int | None:
        """Cut the middle out of a log that has become too long; return the length of the start that stays, or None."""
        # Without the lock: it is asked before each reply, and almost no log is ever too long.
        if _size(log) <= MOST_LOG_BYTES:
            return None
        with self._lock:
            return self._bound(log)

    def bound_all(self) -> None:
        """Cut every log that has become too long: a worker that waits can still print."""
        for log in list(self._open):
            self.bound(log)

    def _bound(self, log: Path) -> int | None:
        # A full disk must not end a run for the sake of its log.
        with contextlib.suppress(OSError):
            # Its last worker may have been closed meanwhile.
            if log in self._open and _size(log) > MOST_LOG_BYTES:
                kept = _cut(log)
                workers, first = self._open[log]
                # What is not cleaned yet may begin right behind the start now.
                self._open[log] = (workers, min(first, kept))
                return kept
        return None

    def close(self, log: Path) -> None:
        """A worker has ended."""
        with self._lock:
            self._bound(log)
            workers, first = self._open.pop(log)
            if workers > 1:
                self._open[log] = (workers - 1, first)
            else:
                privacy.clean_log(log, first)


LOGS = _OpenLogs()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:  # somebody has removed it
        return 0


def _cut(log: Path) -> int:
    """Keep the start and the end of a log, which say most; return the length of the start."""
    with log.open("r+b") as file:
        size = file.seek(0, 2)
        # Whole lines: the half of a secret would not be recognized.
        file.seek(max(0, LOG_START_BYTES - LONGEST_LINE_BYTES))
        edge = file.read(min(LOG_START_BYTES, LONGEST_LINE_BYTES))
        kept = LOG_START_BYTES - (len(edge) - edge.rfind(b"\n") - 1 if b"\n" in edge else 0)
        file.seek(size - LOG_END_BYTES)
        # With a limit: a process may write as fast as this one reads, and the end of the file would never come.
        end = file.read(LOG_END_BYTES)
        begin = end.find(b"\n", 0, LONGEST_LINE_BYTES) + 1
        # The process appends, so what it writes next follows.
        file.truncate(kept)
    removed = size - kept - (len(end) - begin)
    notice = f"\n[{removed >> 20} MiB of this log were removed here: it has at most {MOST_LOG_BYTES >> 20} MiB]\n"
    with log.open("ab") as file:
        file.write(notice.encode() + end[begin:])
    return kept
