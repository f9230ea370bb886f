"""Shows progress at a terminal or in a log; no other module prints while work is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bench.foreign_text import line

Draw = Callable[[Any, int, int], list[Any]]
"""Makes the lines of results for a width and a height in characters."""
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

    def results(self, results: Any) -> None:
        """The results so far, which take the place of earlier ones."""

    def share(self, done: float) -> None:
        """How much of the work is done, 0 to 1, where it can be told."""

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

    def results(self, results: Any) -> None:
        """Drop it."""

    def share(self, done: float) -> None:
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
        self._print(line(text))

    def _print(self, text: str) -> None:
        with self._lock:
            timed = f"{_clock(time.monotonic() - self._start)}  {text}"
            # Paths and globs hold brackets, which rich would take for markup.
            self._console.print(timed, markup=False, highlight=False, soft_wrap=True)
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

    def results(self, results: Any) -> None:
        """Each result has its line already."""

    def share(self, done: float) -> None:
        """A log has no bar."""

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
                    self._print(f"  {line(text)}")
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
    """The results so far, a bar, and the current work, below the lines that stay; for a terminal.

    `draw` makes the lines of the results for a width and a height in characters. Nothing is drawn by a clock, so that
    no thread wakes while calls are timed.
    """

    def __init__(self, console: Any, *, details: bool = False, draw: Draw | None = None) -> None:
        # Imported late: only a terminal needs rich.
        from rich.live import Live as Region

        super().__init__(console, details=details, silence_s=0)
        self._draw = draw
        self._lines: list[Any] = []
        self._share: float | None = None
        self._region = Region(console=console, auto_refresh=False, transient=True)
        self._region.start()

    def results(self, results: Any) -> None:
        """Show the results so far."""
        with self._lock:
            if self._draw:
                # Room for the bar and the current work, and for some of the lines that stay.
                self._lines = self._draw(results, self._console.width, max(5, self._console.height - 8))
            self._shows()

    def share(self, done: float) -> None:
        """Show a bar."""
        with self._lock:
            self._share = done
            self._shows()

    def _shows(self) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        named = [running.text for name, running in self._running.items() if name]
        text = line(" · ".join(named) or next((running.text for running in self._running.values()), ""))
        # A line that wraps cannot be overwritten, so it is cut.
        width = max(20, self._console.width - 1)
        parts: list[Any] = list(self._lines)
        if self._share is not None:
            parts.append(ProgressBar(total=1.0, completed=self._share, width=min(60, width)))
        self._region.update(Group(*parts, Text(text[:width], style="dim")), refresh=True)

    def ask(self, question: str) -> str:
        """Ask at the terminal; a program that pipes something in answers nothing."""
        if not sys.stdin.isatty():
            return ""
        # What is redrawn would be drawn over the answer.
        self._region.stop()
        try:
            return str(self._console.input(f"{question} > ", markup=False))
        except EOFError:
            return ""
        finally:
            self._region.start()

    def close(self) -> None:
        """Remove what is redrawn."""
        super().close()
        self._region.stop()


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
