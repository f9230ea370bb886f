"""The parts of one start of a target in milliseconds: load, first call, and the time to the first answer."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Start
from bench.report import text


class StartTimes(NamedTuple):
    """One start, of one process, so that nothing is known of its scatter.

    None in all three where it did not come to an answer; the note may say why.
    """

    load_ms: float | None
    first_call_ms: float | None
    answer_ms: float | None
    """From the engine's import to the first answer."""
    note: str = ""


ONE_START = "1 start"
"""What stands where other times have an interval."""
NOTHING = StartTimes(None, None, None)


def times(start: Start | None) -> StartTimes:
    """Of a start in a process of its own; a session that took no time to open was never open."""
    if start is None or start.load_ns <= 0:
        return NOTHING._replace(note=text.say(start.note) if start else "")
    whole = start.import_ns + start.load_ns + start.first_call_ns
    return StartTimes(start.load_ns / 1e6, start.first_call_ns / 1e6, whole / 1e6, text.say(start.note))
