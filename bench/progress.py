"""Shows progress at a terminal or in a log; no other module prints while work is done."""

from __future__ import annotations

import time
from typing import Any, Protocol


class Progress(Protocol):
    """Receives progress messages: `step` stays on the screen, `detail` is overwritten by the next."""

    def step(self, text: str) -> None:
        """A line that stays."""

    def detail(self, text: str) -> None:
        """What is running now; shown only where a line can be overwritten."""


class Quiet:
    """Prints nothing: for `--quiet`, and for programs that pass no progress."""

    def step(self, text: str) -> None:
        """Drop it."""

    def detail(self, text: str) -> None:
        """Drop it."""


class Lines:
    """One line for each step, with the time since the start; for logs and pipes."""

    def __init__(self, console: Any) -> None:
        self._console, self._start = console, time.monotonic()

    def step(self, text: str) -> None:
        """Print the line."""
        line = f"{_clock(time.monotonic() - self._start)}  {text}"
        # Paths and globs hold brackets, which rich would take for markup.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        """A log has no line to overwrite."""


class Live(Lines):
    """A spinner with the current work, and above it the lines that stay; for a terminal."""

    def __init__(self, console: Any) -> None:
        super().__init__(console)
        self._status = console.status("starting")
        self._status.start()

    def detail(self, text: str) -> None:
        """Show the text beside the spinner."""
        # Imported late: only a terminal needs rich.
        from rich.markup import escape

        # A line that wraps cannot be overwritten, so it is cut.
        width = max(20, self._console.width - 6)
        self._status.update(escape(text[:width]))

    def close(self) -> None:
        """Remove the spinner."""
        self._status.stop()


def duration(seconds: float) -> str:
    """A time as text: `8 s`, `2 min 05 s`, `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
