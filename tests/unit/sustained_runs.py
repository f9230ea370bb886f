"""Sustained speeds for tests of the report: minutes that slow down, with what the machine was doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from bench.records import Interval, MachineState, SustainedMinute, SustainedSpeed, note

CLOCK = "the clock fell from 3.4 to 2.9 GHz, while calls became 15 % slower"
SLOWED = note("slowed-over-minutes", note("clock-fell", first_mhz=3400.0, last_mhz=2900.0), slower=0.15)
DIED = note("failed", status="crashed", text="the process died of SIGSEGV")


def a_sustained_minute(latency_ms: float = 12.3, **said: Any) -> SustainedMinute:
    """A full minute on mains."""
    state = MachineState(frequency_mhz=3400.0, temperature_c=81.0, on_battery=False, other_cpu_percent=1.2)
    minute = SustainedMinute(60.0, round(60_000 / latency_ms), latency_ms, latency_ms * 1.1, None, state)
    return replace(minute, **said)


def a_sustained(latencies_ms: Sequence[float] = (12.4, 12.9, 14.3), **said: Any) -> SustainedSpeed:
    """Three minutes that became 15 % slower, throttled."""
    speed = SustainedSpeed(
        asked_minutes=float(len(latencies_ms)),
        minutes=tuple(map(a_sustained_minute, latencies_ms)),
        ratio=Interval(0.86, 0.81, 0.91),
        ratio_to_first=latencies_ms[0] / latencies_ms[-1] if len(latencies_ms) > 1 else None,
        flags=(note("throttled", SLOWED),),
    )
    return replace(speed, **said)


def a_crashed(*latencies_ms: float) -> SustainedSpeed:
    """Ten minutes were asked for, and the process died."""
    none = {"flags": (), "asked_minutes": 10.0, "ended": DIED}
    if not latencies_ms:
        return SustainedSpeed(10.0, (), None, None, ended=DIED)
    return a_sustained(latencies_ms, ratio=Interval(1.01, 0.95, 1.07), **none)
