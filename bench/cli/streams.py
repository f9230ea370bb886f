"""Standard output and error that never raise: a stream may be closed, full or unable to encode a character.

A verb must end with its own exit code whatever reads its output: the pipe of `| head -1` must not turn a regression
into a pass, and a log on a full disk must not end a run.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

ENCODING_ERRORS = "touchstone"
PLAIN = {
    "→": "->",
    "…": "...",
    "×": "x",
    "±": "+/-",
    "µ": "u",
    "–": "-",
    "—": "-",
    "·": "-",
    "≤": "<=",
    "≥": ">=",
    "°": " deg ",
    "\u2009": " ",
    "\u202f": " ",
    "\u00a0": " ",
    # A space and not nothing: it keeps `::error::` of others from being a command of a CI runner.
    "\u2060": " ",
}
"""What replaces the characters of our own texts in an encoding that lacks them."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what the encoding lacks: by plain characters where they are known, else by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(c, _escaped(c)) for c in lost), error.end


def _escaped(character: str) -> str:
    # With four digits at least, because that is also an escape in JSON.
    number = ord(character)
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    pair = character.encode("utf-16-be").hex()
    return f"\\u{pair[:4]}\\u{pair[4:]}"


codecs.register_error(ENCODING_ERRORS, _plain)


class Stream:
    """A text stream that drops what cannot be written, and remembers why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        """Why something was lost; None for a closed pipe, whose reader wants no more."""
        self._is_lost = False

    def write(self, text: str) -> int:
        """Write, or drop the text where that is not possible."""
        if not self._is_lost:
            self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, where there is still somebody who reads."""
        if not self._is_lost:
            self._try(self._stream.flush)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        # `isatty`, `fileno`, `encoding`, `buffer`: as the stream itself.
        return getattr(self._stream, name)

    def _try(self, write: Any, *arguments: str) -> None:
        try:
            write(*arguments)
        except OSError as error:
            self._is_lost = True
            self.error = None if isinstance(error, BrokenPipeError) else error
            # Python flushes the rest of the buffer when it ends, which would print an error and change the exit code.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except ValueError:  # the file was closed
            self._is_lost = True


@contextlib.contextmanager
def standard_streams() -> Iterator[Stream]:
    """Make standard output and error streams that never raise; yields the output."""
    _open_closed()
    kept = sys.stdout, sys.stderr
    for stream in kept:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ENCODING_ERRORS)
    changed = [number for number in (1, 2) if _made_blocking(number)]
    out, err = Stream(kept[0]), Stream(kept[1])
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = kept
        for number in changed:
            os.set_blocking(number, False)


def _made_blocking(number: int) -> bool:
    """Let writes to a stream wait for its reader; whether they did not.

    Some callers, such as Node, pass on pipes for which a write fails while they are full: half of the output is lost.
    """
    if os.name == "nt":
        return False  # there only sockets can be so
    with contextlib.suppress(OSError):
        if not os.get_blocking(number):
            os.set_blocking(number, True)
            return True
    return False


def _open_closed() -> None:
    """Open what the shell has closed (`>&-`): else the next file that is opened would be standard output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
