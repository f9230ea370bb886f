"""Shows progress at a terminal or in a log; no other module prints while work is done."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, NamedTuple, Protocol

SILENCE_S = 20.0
"""A log is never silent for longer while something runs."""


class Progress(Protocol):
    """Receives progress messages: `step` stays on the screen, `detail` is overwritten by the next.

    Several threads may call it.
    """

    def step(self, text: str) -> None:
        """A line that stays."""

    def detail(self, text: str) -> None:
        """What is running now; shown only where a line can be overwritten."""

    def work(self, name: str, text: str | None) -> None:
        """What runs now beside other work, by a name; None where it has ended."""

    def ask(self, question: str) -> str:
        """The user's answer to a question; empty where nobody can be asked, or Enter was pressed."""


class Quiet:
    """Prints nothing: for `--quiet`, and for programs that pass no progress."""

    def step(self, text: str) -> None:
        """Drop it."""

    def detail(self, text: str) -> None:
        """Drop it."""

    def work(self, name: str, text: str | None) -> None:
        """Drop it."""

    def ask(self, question: str) -> str:
        """Ask nobody."""
        return ""


class Lines:
    """One line for each step, with the time since the start; for logs and pipes.

    Where nothing is printed for `silence_s` seconds, a line says what still runs, and for how long. With `details`,
    what is running now is a line of its own too.
    """

    def __init__(self, console: Any, *, details: bool = False, silence_s: float = SILENCE_S) -> None:
        self._console, self._start = console, time.monotonic()
        self._details, self._silence_s = details, silence_s
        self._lock = threading.RLock()
        self._running: dict[str, _Running] = {}
        self._printed = self._start
        self._closed = threading.Event()
        self._heart: threading.Thread | None = None

    def step(self, text: str) -> None:
        """Print the line."""
        with self._lock:
            line = f"{_clock(time.monotonic() - self._start)}  {text}"
            # Paths and globs hold brackets, which rich would take for markup.
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._printed = time.monotonic()

    def detail(self, text: str) -> None:
        """Remember it for the line that breaks a silence."""
        self._runs("", text)

    def work(self, name: str, text: str | None) -> None:
        """Remember it for the line that breaks a silence."""
        self._runs(name, text)

    def ask(self, question: str) -> str:
        """A log has nobody who could answer."""
        return ""

    def close(self) -> None:
        """End the thread that breaks silences."""
        self._closed.set()

    def _runs(self, name: str, text: str | None) -> None:
        with self._lock:
            known = self._running.get(name)
            if text is None:
                self._running.pop(name, None)
            elif known is None or known.text != text:
                # Work with a name keeps its start: what an installer prints in its course is not new work.
                since = known.since if known and name else time.monotonic()
                self._running[name] = _Running(text, since)
                if self._details:
                    self.step(f"  {text}")
            self._beats()
            self._shows()

    def _shows(self) -> None:
        """A log has no line to overwrite."""

    def _beats(self) -> None:
        if self._heart is None and self._silence_s > 0:
            # Sleeps until a line is due: no thread wakes while times are measured, but once in a silence.
            self._heart = threading.Thread(target=self._break_silence, daemon=True)
            self._heart.start()

    def _break_silence(self) -> None:
        while not self._closed.wait(max(0.01, self._printed + self._silence_s - time.monotonic())):
            with self._lock:
                if time.monotonic() - self._printed < self._silence_s:
                    continue
                if self._running:
                    self.step(f"still {self._current()}")
                else:
                    self._printed = time.monotonic()

    def _current(self) -> str:
        """What runs now, each with its time: `building int4 of smollm2 (35 s), runtime ort: downloading (5 s)`."""
        # Work beside other work tells more than the last detail.
        named = [running for name, running in self._running.items() if name] or list(self._running.values())
        now = time.monotonic()
        return ", ".join(f"{running.text} ({duration(now - running.since)})" for running in named)


class _Running(NamedTuple):
    text: str
    since: float


class Live(Lines):
    """A spinner with the current work, and above it the lines that stay; for a terminal."""

    def __init__(self, console: Any, *, details: bool = False) -> None:
        super().__init__(console, details=details, silence_s=0)
        self._status = console.status("starting")
        self._status.start()

    def _shows(self) -> None:
        """Show what runs beside the spinner."""
        # Imported late: only a terminal needs rich.
        from rich.markup import escape

        named = [running.text for name, running in self._running.items() if name]
        text = " · ".join(named) or next((running.text for running in self._running.values()), "")
        # A line that wraps cannot be overwritten, so it is cut.
        width = max(20, self._console.width - 6)
        # An empty text would leave the last one.
        self._status.update(escape(text[:width]) or " ")

    def ask(self, question: str) -> str:
        """Ask at the terminal; a program that pipes something in answers nothing."""
        if not sys.stdin.isatty():
            return ""
        # A spinner that turns would be drawn over the answer.
        self._status.stop()
        try:
            return str(self._console.input(f"{question} > ", markup=False))
        except EOFError:
            return ""
        finally:
            self._status.start()

    def close(self) -> None:
        """Remove the spinner."""
        super().close()
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
