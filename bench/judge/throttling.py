"""Latencies and the machine's state beside them in, why the processor held itself back out, in words (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.judge.trend import Course, between, course
from bench.records import MachineState

LATENCY_RISE = 0.02
FREQUENCY_DROP = 0.10
"""Turbo comes and goes by a few percent in health; a tenth less clock that also costs time is heat or a power limit."""
NEAR_LIMIT_C = 3.0
"""A processor is held a little under its limit rather than at it."""


class Look(Struct, frozen=True):
    """A latency in milliseconds, and what the machine was doing."""

    latency_ms: float
    state: MachineState


def over(looks: Sequence[Look]) -> str:
    """Why calls became slower from the first third of some looks to the last; empty where this is no throttling."""
    return _why(course(latencies(looks)), course(_clocks(looks)), course(_heats(looks)), _limit_c(looks))


def since(first: Sequence[Look], last: Sequence[Look]) -> str:
    """The same from some looks to some later ones."""
    latency = between(latencies(first), latencies(last))
    clock, heat = between(_clocks(first), _clocks(last)), between(_heats(first), _heats(last))
    return _why(latency, clock, heat, _limit_c(last))


def _why(latency: Course | None, clock: Course | None, heat: Course | None, limit_c: float | None) -> str:
    """A falling clock or rising heat, while the latency rose; either alone has other causes."""
    if latency is None or not latency.rose(LATENCY_RISE):
        return ""
    said = []
    if clock is not None and clock.fell(FREQUENCY_DROP):
        said.append(f"the clock fell from {clock.first / 1000:.1f} to {clock.last / 1000:.1f} GHz")
    if heat is not None and limit_c is not None and heat.rose(0) and heat.last >= limit_c - NEAR_LIMIT_C:
        said.append(f"the processor was at {heat.last:.0f} °C, and holds itself back at {limit_c:.0f} °C")
    return f"{' and '.join(said)}, while calls became {latency.shift * 100:.0f} % slower" if said else ""


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
