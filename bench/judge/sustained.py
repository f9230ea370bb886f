"""Compares the minutes of a cell's sustained run with its rounds, and tells whether a sustained run is complete.

A sustained run is one process and not a round. Its minutes are not replicates, so none of them enters an interval. It
is compared with the rounds: a prediction interval shows how far one more process could differ from them by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import special

from bench.judge import flags, generation, statistics, throttling
from bench.judge.throttling import StateSample
from bench.records import (
    Cell,
    Failure,
    Interval,
    MachineState,
    Minute,
    Note,
    Observation,
    SustainedMinute,
    SustainedSpeed,
    note,
)

Attempt = tuple[Observation, ...]
"""The observations of one sustained run, a minute each; the last may hold the failure that ended it."""


def attempts(observations: Iterable[Observation]) -> dict[str, Attempt]:
    """The last attempt at a sustained run by cell, complete or not."""
    by_cell: dict[str, list[Observation]] = {}
    for observation in observations:
        if observation.sustained is not None:
            # A new attempt starts with minute 1 and replaces the one that was interrupted.
            if observation.sustained.number == 1:
                by_cell[observation.cell] = []
            by_cell.setdefault(observation.cell, []).append(observation)
    return {cell: tuple(attempt) for cell, attempt in by_cell.items()}


def is_over(attempt: Attempt) -> bool:
    """Whether an attempt is complete or failed; an attempt that was interrupted is repeated."""
    lasted_s = sum(minute.seconds for minute in _minutes(attempt))
    asked_s = max((observation.sustained.asked_s for observation in attempt if observation.sustained), default=math.inf)
    return lasted_s >= asked_s or any(observation.failure for observation in attempt)


def speed(
    cell: Cell, rounds: Sequence[Observation], medians: Mapping[int, float], attempt: Attempt, threads: int
) -> SustainedSpeed | None:
    """The speed of an attempt beside the cell's timed rounds; None without an attempt.

    `medians` holds the median call of each round in milliseconds.
    """
    if not attempt or attempt[0].sustained is None:
        return None
    observed_minutes = [(observation, observation.sustained.minute) for observation in attempt if observation.sustained]
    minutes = tuple(_minute(cell, minute, observation.state) for observation, minute in observed_minutes if minute)
    failure = next((observation.failure for observation in attempt if observation.failure), None)
    return SustainedSpeed(
        asked_minutes=attempt[0].sustained.asked_s / 60,
        minutes=minutes,
        ratio=_ratio(cell, rounds, medians, minutes[-1]) if minutes else None,
        ratio_to_first=_time_ms(minutes[0]) / _time_ms(minutes[-1]) if len(minutes) > 1 else None,
        flags=_flags(minutes, rounds, medians, threads),
        ended=_ended(attempt, failure),
    )


def _ended(attempt: Attempt, failure: Failure | None) -> Note | None:
    """Why an attempt ended early; None where it did not."""
    if failure:
        return note("failed", status=failure.status, text=failure.message)
    return None if is_over(attempt) else note("interrupted")


def _minutes(attempt: Attempt) -> list[Minute]:
    return [
        observation.sustained.minute
        for observation in attempt
        if observation.sustained and observation.sustained.minute
    ]


def _minute(cell: Cell, minute: Minute, state: MachineState) -> SustainedMinute:
    batch = cell.sizes.get("batch", 1)
    return SustainedMinute(
        seconds=minute.seconds,
        calls=minute.calls,
        latency_ms=minute.median_ns / 1e6,
        p90_ms=minute.p90_ns / 1e6,
        decode_tok_s=batch * 1e9 / minute.token_ns if minute.token_ns else None,
        state=state,
    )


# --- beside the rounds ------------------------------------------------------------------------------------------------


def _time_ms(minute: SustainedMinute) -> float:
    """Milliseconds of a decoded token where there is one, else of a call."""
    return 1000 / minute.decode_tok_s if minute.decode_tok_s else minute.latency_ms


def _ratio(
    cell: Cell, rounds: Sequence[Observation], medians: Mapping[int, float], last: SustainedMinute
) -> Interval | None:
    """The speed of the last minute over that of the rounds, with a 95 % prediction interval for one more process."""
    times = generation.parts(cell, rounds).decode if last.decode_tok_s else medians
    own = _time_ms(last)
    if not times or own <= 0:
        return None
    logs = np.log(list(times.values()))
    middle = float(logs.mean()) - math.log(own)
    # A single round does not show the scatter between processes.
    if len(logs) < 2:
        return Interval(math.exp(middle), None, None)
    reach = float(special.stdtrit(len(logs) - 1, (1 + statistics.CONFIDENCE) / 2))
    # The 1 is the scatter of one more process, and 1 / n the error of the rounds' mean: a prediction interval.
    margin = reach * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(logs))
    return Interval(math.exp(middle), math.exp(middle - margin), math.exp(middle + margin))


# --- flags ------------------------------------------------------------------------------------------------------------


def _flags(
    minutes: Sequence[SustainedMinute], rounds: Sequence[Observation], medians: Mapping[int, float], threads: int
) -> tuple[Note, ...]:
    """The flags of the sustained run, each with the figures behind it."""
    served = any(observation.traits is not None and observation.traits.counted_by != "engine" for observation in rounds)
    # A server beside the worker does the work, so its CPU time looks like that of another process.
    busy = 0 if served else sum(flags.busy_state(minute.state, threads) for minute in minutes)
    battery = sum(bool(minute.state.on_battery) for minute in minutes)
    total = len(minutes)
    return (
        *(
            [note("busy-machine", times=busy, total=total, unit="minutes", others_percent=None, stolen_percent=None)]
            if busy
            else []
        ),
        *([note("on-battery", times=battery, total=total, unit="minutes")] if battery else []),
        *([note("throttled", slowing)] if (slowing := _throttling(minutes, rounds, medians)) else []),
    )


def _throttling(
    minutes: Sequence[SustainedMinute], rounds: Sequence[Observation], medians: Mapping[int, float]
) -> Note | None:
    """Throttling from the first minutes to the last, or from the rounds: a small device throttles in a minute."""
    samples = [StateSample(minute.latency_ms, minute.state) for minute in minutes]
    before = [
        StateSample(medians[observation.round], observation.state)
        for observation in rounds
        if observation.round in medians
    ]
    if over := throttling.slowing(samples):
        return note("slowed-over-minutes", *over.signs, slower=over.slower)
    # The last third stands for the end of the run, as in `slowing`.
    since = throttling.slowing_since(before, samples[-max(1, len(samples) // 3) :])
    return note("slowed-since-rounds", *since.signs, slower=since.slower) if since else None
