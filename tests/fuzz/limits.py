"""The limits of an example: 5 s of processor time and 512 MB of memory, enforced while it runs."""

from __future__ import annotations

import contextlib
import faulthandler
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 5.0
"""In processor time, since the machine may be busy with something else."""
LONGEST_WAIT_S = 60.0
"""In time: an example that waits for what never comes ends the process, with its stack."""
MOST_BYTES = 512 * 2**20
HARD_BYTES = 2 * MOST_BYTES
"""What the address space may grow: beyond it Python raises `MemoryError`, instead of filling the machine."""
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


class TooSlowError(BaseException):
    """An example took too long. No `Exception`: the code under test must not catch it."""


class TooMuchMemoryError(BaseException):
    """An example took too much memory."""


@dataclass
class Seen:
    """What the examples took."""

    slowest_s: float = 0.0
    most_bytes: int = 0


@contextlib.contextmanager
def address_space() -> Iterator[None]:
    """Limit what the process may take until the block ends; Linux only."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + HARD_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def enforced(seen: Seen) -> Iterator[None]:
    """Raise where the block takes too much time or memory."""

    def too_slow(*_: object) -> None:
        raise TooSlowError(f"more than {LONGEST_S} s of processor time")

    before_bytes, before_s = _memory(), time.process_time()
    # Not SIGALRM, which pytest's limit of a test uses.
    handler = signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    faulthandler.dump_traceback_later(LONGEST_WAIT_S, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        faulthandler.cancel_dump_traceback_later()
    seen.slowest_s = max(seen.slowest_s, time.process_time() - before_s)
    grown = _peak() - before_bytes
    seen.most_bytes = max(seen.most_bytes, grown)
    if grown > MOST_BYTES:
        raise TooMuchMemoryError(f"{grown >> 20} MiB of memory")


def _memory() -> int:
    """What the process holds; its peak is counted from here on."""
    if sys.platform != "linux":
        return _peak()
    held, peak = _status("VmRSS"), _status("VmHWM")
    # It costs milliseconds, so it is done only where an earlier peak would hide a later one.
    if peak - held > MOST_BYTES // 8:
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK, encoding="ascii")
            return held
        return peak
    return held


def _peak() -> int:
    if sys.platform == "linux":
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(name: str) -> int:
    """A row of the process's status, in bytes."""
    with STATUS.open("rb") as file:
        wanted = f"{name}:".encode()
        row = next(line for line in file if line.startswith(wanted))
    return int(row.split()[1]) * 1024
