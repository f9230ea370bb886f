"""Outcomes of cells that were run on end in; what tables and files show of their minutes out (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bench.records import Outcome, SustainedMinute, SustainedSpeed
from bench.report import generation, numbers, text, text_flags
from bench.report.generation import Figure

ONE_PROCESS = "1 process"
"""What stands where other figures have an interval: the minutes of one process are no replicates."""
HOW_TO_READ = (
    "Each cell was run on end in a process of its own, after all rounds. Sustained against burst is the speed of the "
    "last minute over that of the rounds, of decoding for models that generate: 0.9× is a tenth slower. Its interval "
    f"is one of prediction: {numbers.NO_DIFFERENCE} where one more process of the rounds could have come as far."
)


class Told(NamedTuple):
    """The minutes of one cell in words."""

    burst: Figure | None
    """What the rounds say."""
    first: str
    last: str
    against_burst: str
    reached: str
    """`10 of 10 min`."""
    ended: str
    """Why before its time; empty where it was not."""


def of(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Those that were run on end."""
    return tuple(outcome for outcome in outcomes if outcome.sustained is not None)


def told(outcome: Outcome) -> Told:
    """What the table says of one cell."""
    found = outcome.sustained
    assert found is not None
    ends = [figure(minute) for minute in (*found.minutes[:1], *found.minutes[-1:])] or [numbers.DASH] * 2
    burst = generation.figure(outcome.speed) if outcome.speed else None
    return Told(burst, ends[0], ends[-1], numbers.ratio(found.ratio), _reached(found), text.say(found.ended))


def figure(minute: SustainedMinute) -> str:
    """`12.3 ms`, `95.1 tok/s`."""
    if minute.decode_tok_s is not None:
        return f"{numbers.significant(minute.decode_tok_s)} tok/s"
    return numbers.duration(minute.latency_ms)


def _reached(found: SustainedSpeed) -> str:
    lasted = sum(minute.seconds for minute in found.minutes) / 60
    return f"{numbers.given(round(lasted, 2))} of {numbers.given(found.asked_minutes)} min"


# --- minute by minute -------------------------------------------------------------------------------------------------

HEADINGS = ("minute", "calls", "median call", "p90", "decode", "clock", "heat", "others", "stolen", "power")
"""Of the table of minutes; a column that no minute fills is left out."""


def table(minutes: Sequence[SustainedMinute]) -> tuple[list[str], list[list[str]]]:
    """The headings, and a row for each minute."""
    rows = [_row(number, minute) for number, minute in enumerate(minutes, start=1)]
    kept = [place for place in range(len(HEADINGS)) if any(row[place] != numbers.DASH for row in rows)]
    return [HEADINGS[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _row(number: int, minute: SustainedMinute) -> list[str]:
    state = minute.state
    clock = None if state.frequency_mhz is None else f"{state.frequency_mhz / 1000:.2f} GHz"
    heat = None if state.temperature_c is None else f"{state.temperature_c:.0f} °C"
    power = {None: None, True: "battery", False: "mains"}[state.on_battery]
    said = [
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
    return [numbers.DASH if one is None else one for one in said]


def _share(percent: float | None) -> str | None:
    return None if percent is None else f"{percent:.0f} %"


# --- files ------------------------------------------------------------------------------------------------------------


def columns(found: SustainedSpeed | None) -> dict[str, Any]:
    """The columns of results.csv."""
    if found is None:
        return {}
    last = found.minutes[-1] if found.minutes else None
    return {
        "sustained_minutes": sum(minute.seconds for minute in found.minutes) / 60,
        "sustained_ms": last.latency_ms if last else None,
        "sustained_decode_tok_s": last.decode_tok_s if last else None,
        "sustained_ratio": found.ratio.value if found.ratio else None,
        "sustained_ratio_low": found.ratio.low if found.ratio else None,
        "sustained_ratio_high": found.ratio.high if found.ratio else None,
        "sustained_ratio_to_first": found.ratio_to_first,
        "sustained_warnings": ";".join(text_flags.names(found.flags)) or None,
        "sustained_ended": text.say(found.ended) or None,
    }
