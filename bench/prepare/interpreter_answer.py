"""Asks an interpreter something, and reads at most a limit of what it prints."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from msgspec import Struct

MOST_BYTES = 8 * 2**20
"""The longest answer: the names and versions of some 100,000 packages."""
PART_BYTES = 2**16
CHILDREN_S = 2.0
"""How long what an interpreter has started may hold its pipes open after it has ended."""


class Answer(Struct, frozen=True):
    """What an interpreter printed before it ended."""

    code: int
    stdout: str
    stderr: str


class NoAnswerError(Exception):
    """The interpreter did not end in time, or printed more than any answer is long."""


def ask(command: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Answer:
    """Start an interpreter and read what it prints.

    It and all that it has started are ended at the limits of time and size. Raises `NoAnswerError` and `OSError`.
    """
    posix = os.name == "posix"
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        # A group of its own, so that a child that holds the pipes open is ended too.
        start_new_session=posix,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [_Reader(pipe, process) for pipe in (process.stdout, process.stderr)]
    has_ended = False
    try:
        process.wait(limit_s)
        has_ended = all(reader.ends(CHILDREN_S) for reader in readers)
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer in {limit_s:g} seconds") from None
    finally:
        # Also where a child of it holds the pipes open, and where the user interrupts.
        if not has_ended:
            _end(process)
            for reader in readers:
                reader.ends(CHILDREN_S)
    if any(reader.is_full for reader in readers):
        raise NoAnswerError(f"it printed more than {MOST_BYTES >> 20} MiB")
    stdout, stderr = (reader.text() for reader in readers)
    return Answer(process.returncode, stdout, stderr)


class _Reader:
    """Reads a pipe in a thread, and ends the process where it prints too much."""

    def __init__(self, pipe: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        self.pipe, self.process, self.is_full, self.parts = pipe, process, False, list[bytes]()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        size = 0
        with contextlib.suppress(OSError, ValueError), self.pipe:
            while part := self.pipe.read1(PART_BYTES):  # type: ignore[attr-defined]
                size += len(part)
                if size > MOST_BYTES:
                    self.is_full = True
                    _end(self.process)
                    return
                self.parts.append(part)

    def ends(self, limit_s: float) -> bool:
        """Wait until the pipe is closed; False where it still is open, as by a child in another session."""
        self.thread.join(limit_s)
        return not self.thread.is_alive()

    def text(self) -> str:
        return b"".join(list(self.parts)).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the interpreter and its group; nothing where they have ended."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
