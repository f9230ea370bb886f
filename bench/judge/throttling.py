"""Whether calls became slower because the processor held itself back, from latencies and the machine's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.judge.trend import Course, between, course
from bench.records import MachineState, Note, note

LATENCY_RISE = 0.02
FREQUENCY_DROP = 0.10
"""Turbo comes and goes by a few percent in health; a tenth less clock that also costs time is heat or a power limit."""
NEAR_LIMIT_C = 3.0
"""A processor is held a little under its limit rather than at it."""


class Look(Struct, frozen=True):
    """A latency in milliseconds, and what the machine was doing."""

    latency_ms: float
    state: MachineState


class Slowing(Struct, frozen=True):
    """By how much calls became slower, 0.05 for five per cent, and what shows that the processor was held back."""

    slower: float
    signs: tuple[Note, ...]


def over(looks: Sequence[Look]) -> Slowing | None:
    """How calls became slower from the first third of some looks to the last; None where this is no throttling."""
    return _why(course(latencies(looks)), course(_clocks(looks)), course(_heats(looks)), _limit_c(looks))


def since(first: Sequence[Look], last: Sequence[Look]) -> Slowing | None:
    """The same from some looks to some later ones."""
    latency = between(latencies(first), latencies(last))
    clock, heat = between(_clocks(first), _clocks(last)), between(_heats(first), _heats(last))
    return _why(latency, clock, heat, _limit_c(last))


def _why(latency: Course | None, clock: Course | None, heat: Course | None, limit_c: float | None) -> Slowing | None:
    """A falling clock or rising heat, while the latency rose; either alone has other causes."""
    if latency is None or not latency.rose(LATENCY_RISE):
        return None
    signs = []
    if clock is not None and clock.fell(FREQUENCY_DROP):
        signs.append(note("clock-fell", first_mhz=clock.first, last_mhz=clock.last))
    if heat is not None and limit_c is not None and heat.rose(0) and heat.last >= limit_c - NEAR_LIMIT_C:
        signs.append(note("near-heat-limit", temperature_c=heat.last, limit_c=limit_c))
    return Slowing(latency.shift, tuple(signs)) if signs else None


def latencies(looks: Iterable[Look]) -> list[float]:
    """Milliseconds, in order."""
    return _known(look.latency_ms for look in looks)


def _clocks(looks: Iterable[Look]) -> list[float]:
    return _known(look.state.frequency_mhz for look in looks)


def _heats(looks: Iterable[Look]) -> list[float]:
    return _known(look.state.temperature_c for look in looks)


def _limit_c(looks: Iterable[Look]) -> float | None:
    return min(_known(look.state.temperature_limit_c for look in looks), default=None)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
