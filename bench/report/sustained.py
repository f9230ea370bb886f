"""Writes the tables of sustained runs: each cell beside its rounds, and minute by minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.records import Outcome, SustainedMinute, SustainedSpeed
from bench.report import generation, numbers, text
from bench.report.generation import Figure

ONE_PROCESS = "1 process"
"""Shown in the place of an interval: the minutes of one process are not replicates."""
HOW_TO_READ = (
    "Each cell ran continuously in a process of its own, after all rounds. Sustained divided by burst is the speed "
    "of the last minute divided by that of the rounds (of decoding, for models that generate): 0.9× is a tenth slower. "
    f"It has a prediction interval: {numbers.NO_DIFFERENCE} where one more process of the rounds could differ as much."
)


class SustainedRow(NamedTuple):
    """The sustained run of one cell as text."""

    burst: Figure | None
    """The figure of the rounds."""
    first: str
    last: str
    against_burst: str
    reached: str
    """`10 of 10 min`."""
    ended: str
    """Why it ended early; empty if it did not."""


def outcomes_of(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes that have a sustained run."""
    return tuple(outcome for outcome in outcomes if outcome.sustained is not None)


def row(outcome: Outcome) -> SustainedRow:
    """The row of one cell; the outcome must have a sustained run."""
    speed = outcome.sustained
    assert speed is not None
    ends = [figure(minute) for minute in (*speed.minutes[:1], *speed.minutes[-1:])] or [numbers.DASH] * 2
    burst = generation.figure(outcome.speed) if outcome.speed else None
    return SustainedRow(burst, ends[0], ends[-1], numbers.ratio(speed.ratio), _reached(speed), text.say(speed.ended))


def figure(minute: SustainedMinute) -> str:
    """`12.3 ms`, `95.1 tok/s`."""
    if minute.decode_tok_s is not None:
        return f"{numbers.significant(minute.decode_tok_s)} tok/s"
    return numbers.duration(minute.latency_ms)


def _reached(speed: SustainedSpeed) -> str:
    lasted = sum(minute.seconds for minute in speed.minutes) / 60
    return f"{numbers.given(round(lasted, 2))} of {numbers.given(speed.asked_minutes)} min"


# --- minute by minute -------------------------------------------------------------------------------------------------

HEADINGS = ("minute", "calls", "median call", "p90", "decode", "clock", "heat", "others", "stolen", "power")
"""Headings of the table of minutes; a column that no minute fills is left out."""


def table(minutes: Sequence[SustainedMinute]) -> tuple[list[str], list[list[str]]]:
    """The headings, and a row for each minute."""
    rows = [_minute(number, minute) for number, minute in enumerate(minutes, start=1)]
    # Many machines, such as virtual ones, cannot read all of the state: a column of dashes says nothing.
    filled = [place for place in range(len(HEADINGS)) if any(row[place] != numbers.DASH for row in rows)]
    return [HEADINGS[place] for place in filled], [[row[place] for place in filled] for row in rows]


def _minute(number: int, minute: SustainedMinute) -> list[str]:
    state = minute.state
    clock = None if state.frequency_mhz is None else f"{state.frequency_mhz / 1000:.2f} GHz"
    heat = None if state.temperature_c is None else f"{state.temperature_c:.0f} °C"
    power = {None: None, True: "battery", False: "mains"}[state.on_battery]
    values = [
        str(number),
        numbers.count(minute.calls),
        numbers.duration(minute.latency_ms),
        numbers.duration(minute.p90_ms),
        None if minute.decode_tok_s is None else figure(minute),
        clock,
        heat,
        _share(state.other_cpu_percent),
        _share(state.steal_percent),
        power,
    ]
    return [numbers.DASH if value is None else value for value in values]


def _share(percent: float | None) -> str | None:
    return None if percent is None else f"{percent:.0f} %"
