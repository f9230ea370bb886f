"""Ends every verb in order at Ctrl-C, SIGTERM and the end of the terminal."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""What ends a run as Ctrl-C does: a cancelled job of a CI receives SIGTERM, a terminal that closes sends SIGHUP."""
SAME_S = 1.0
"""Signals within so many seconds are one: a terminal sends Ctrl-C to nox and to its child, and nox sends it again."""


class _Interrupts:
    """Raises `KeyboardInterrupt` at the first signal, and at a later one unless it is the same keystroke."""

    def __init__(self) -> None:
        self.last = float("-inf")

    def __call__(self, *_: object) -> None:
        before, self.last = self.last, time.monotonic()
        # What ends the workers runs in that second, and must not be interrupted itself.
        if self.last - before > SAME_S:
            raise KeyboardInterrupt


@contextlib.contextmanager
def stop_on_signals(*, until_end: bool = False) -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the block at Ctrl-C, SIGTERM and the end of the terminal.

    With `until_end` the process ends after the block, and such a signal does nothing any more.
    """
    # Only the main thread may, and a program that calls this from another has handlers of its own.
    names = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    interrupts, before = _Interrupts(), {}
    for number in filter(None, (getattr(signal, name, None) for name in names)):
        handler = signal.getsignal(number)
        # What the caller ignores stays ignored: `nohup bench run` goes on after the terminal is closed.
        if handler not in (signal.SIG_IGN, None):
            before[number] = handler
            signal.signal(number, interrupts)
    try:
        yield
    finally:
        for number, handler in before.items():
            # Its default would replace the exit code.
            signal.signal(number, signal.SIG_IGN if until_end else handler)
