"""Detects throttling: calls become slower while the clock falls or the temperature is near its limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.judge.trend import Trend, between, trend
from bench.records import MachineState, Note, note

LATENCY_RISE = 0.02
FREQUENCY_DROP = 0.10
"""Turbo varies the clock by a few percent normally; 10 % less clock with slower calls is heat or a power limit."""
NEAR_LIMIT_C = 3.0
"""A processor throttles a little below its limit."""


class StateSample(Struct, frozen=True):
    """A latency in milliseconds, and the state of the machine at that time."""

    latency_ms: float
    state: MachineState


class Slowing(Struct, frozen=True):
    """The relative slowdown, 0.05 for 5 %, and the signs of throttling."""

    slower: float
    signs: tuple[Note, ...]


def slowing(samples: Sequence[StateSample]) -> Slowing | None:
    """Throttling from the first third of the samples to the last third; None without it."""
    return _slowing(trend(latencies(samples)), trend(_clocks(samples)), trend(_heats(samples)), _limit_c(samples))


def slowing_since(first: Sequence[StateSample], last: Sequence[StateSample]) -> Slowing | None:
    """Throttling from some samples to some later ones; None without it."""
    latency = between(latencies(first), latencies(last))
    clock, heat = between(_clocks(first), _clocks(last)), between(_heats(first), _heats(last))
    return _slowing(latency, clock, heat, _limit_c(last))


def _slowing(latency: Trend | None, clock: Trend | None, heat: Trend | None, limit_c: float | None) -> Slowing | None:
    """A falling clock or a temperature near its limit, while the latency rose; either alone has other causes."""
    if latency is None or not latency.rose(LATENCY_RISE):
        return None
    signs = []
    if clock is not None and clock.fell(FREQUENCY_DROP):
        signs.append(note("clock-fell", first_mhz=clock.first, last_mhz=clock.last))
    if heat is not None and limit_c is not None and heat.rose(0) and heat.last >= limit_c - NEAR_LIMIT_C:
        signs.append(note("near-heat-limit", temperature_c=heat.last, limit_c=limit_c))
    return Slowing(latency.shift, tuple(signs)) if signs else None


def latencies(samples: Iterable[StateSample]) -> list[float]:
    """The finite latencies in milliseconds, in order."""
    return _known(sample.latency_ms for sample in samples)


def _clocks(samples: Iterable[StateSample]) -> list[float]:
    return _known(sample.state.frequency_mhz for sample in samples)


def _heats(samples: Iterable[StateSample]) -> list[float]:
    return _known(sample.state.temperature_c for sample in samples)


def _limit_c(samples: Iterable[StateSample]) -> float | None:
    return min(_known(sample.state.temperature_limit_c for sample in samples), default=None)


def _known(values: Iterable[float | None]) -> list[float]:
    # A sensor that some rounds could not read is judged by the others.
    return [value for value in values if value is not None and math.isfinite(value)]
