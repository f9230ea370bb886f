"""The times of one start of a target in milliseconds: load, first call, and the time to the first answer."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Start
from bench.report import text


class StartTimes(NamedTuple):
    """The times of one start, in milliseconds. It is a single process, so the times have no interval.

    All three are None if the start gave no answer; then the note may say why.
    """

    load_ms: float | None
    first_call_ms: float | None
    answer_ms: float | None
    """From the engine's import to the first answer."""
    note: str = ""


ONE_START = "1 start"
"""Shown in the place of the interval that other times have."""
NOTHING = StartTimes(None, None, None)


def times(start: Start | None) -> StartTimes:
    """The times of a start in its own process; no times if its session was never opened."""
    # A session that took no time to load was never opened.
    if start is None or start.load_ns <= 0:
        return NOTHING._replace(note=text.say(start.note) if start else "")
    # The import counts: a program that starts from nothing waits for it too.
    whole = start.import_ns + start.load_ns + start.first_call_ns
    return StartTimes(start.load_ns / 1e6, start.first_call_ns / 1e6, whole / 1e6, text.say(start.note))
