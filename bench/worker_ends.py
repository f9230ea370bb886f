"""What the end of a worker process means: its exit code, the words of a library, and what may help."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec

from bench.records import Failure
from bench.shared import native_errors

WITHOUT_WORDS = ("fallback", "not-created", "signal", "exit")
"""Kinds of failures whose cause may be in a library's output."""
OVERLAP = 30
"""Two errors that end with this many equal characters are the same error."""
WINDOWS_ENDS = {
    0xC0000005: "access violation",
    0xC0000409: "stack buffer overrun",
    0xC00000FD: "stack overflow",
    0xC000001D: "illegal instruction",
    0xC0000135: "a DLL was not found",
}
REMEDIES: dict[str, str] = {
    "unavailable": "check the runtime's interpreter in the matrix",
    "timeout": "raise [measure] timeout_s, or exclude the cell",
    "out-of-memory": "raise [measure] memory_limit_mb where the machine has more, or use a smaller workload",
    "crashed": "the end of its log says where; try another version of the provider, and report it there",
}


def explained(failure: Failure) -> Failure:
    """Add the library's error on stderr to a failure that does not name its cause."""
    words = native_errors.first_error(failure.stderr_tail)
    if failure.message and failure.kind not in WITHOUT_WORDS:
        return failure
    return msgspec.structs.replace(failure, message=with_native_words(failure.message, words))


def with_native_words(message: str, words: str) -> str:
    """Add a library's output to a message, unless the message quotes it: libraries print what they raise.

    A reader must not see the same text twice; nothing else depends on it.
    """
    if words[-OVERLAP:] in message:
        return message
    return f"{message}; it said: {words}" if message else words


def signal_name(code: int) -> str | None:
    """The signal that ended a process, `SIGSEGV` for -11, or Windows' name for it; None for a normal exit."""
    if code < 0:
        try:
            # Real-time signals have no names in Python.
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    # Windows has no signals: a crash ends the process with an NTSTATUS as its exit code.
    return WINDOWS_ENDS.get(code & 0xFFFFFFFF) if code > 0xFFFF else None


def oom_kills() -> int:
    """The number of processes that the Linux kernel has killed for memory; 0 where it is not known."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
