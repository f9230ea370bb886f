"""Files of Linux in, readings of energy out: the processor's own counters, and a battery that discharges."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bench.machine.sysfs import number_of, text_of

ROOT = Path("/")
Reading = tuple[float, ...]


class Source(Protocol):
    """Something that tells of energy; `read` gives None where it cannot be read now."""

    name: str

    def read(self) -> Reading | None:
        """A look at it."""

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """The energy between two looks."""


class Rapl:
    """The counters of Intel's and AMD's processor packages: cores, caches and what else is on them, memory aside."""

    name = "RAPL package"

    def __init__(self, root: Path = ROOT) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        # A package's cores are a zone beside it, and a laptop has one for the whole platform.
        self.packages = [zone for zone in zones if text_of(zone / "name").startswith("package")]
        self.ranges = [number_of(zone / "max_energy_range_uj") or 0.0 for zone in self.packages]

    def read(self) -> Reading | None:
        """Microjoules by package."""
        found = [number_of(zone / "energy_uj") for zone in self.packages]
        return tuple(value for value in found if value is not None) if found and None not in found else None

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """Summed over packages; a counter that ran over begins again at 0."""
        grown = zip(before, after, self.ranges, strict=True)
        return sum(new - old if new >= old else new + limit - old for old, new, limit in grown) / 1e6


class Battery:
    """The power that a discharging battery gives, at the burst's two ends, times its length."""

    name = "battery"

    def __init__(self, root: Path = ROOT) -> None:
        supplies = sorted((root / "sys/class/power_supply").glob("*"))
        kept = (path for path in supplies if text_of(path / "type") == "Battery")
        self.batteries = [path for path in kept if text_of(path / "scope") != "Device"]

    def read(self) -> Reading | None:
        """Watts by battery; None unless every one is discharging or idle, and one at least discharging."""
        states = [text_of(path / "status") for path in self.batteries]
        if "Discharging" not in states or "Charging" in states:
            return None
        watts = [_watts(path) for path, state in zip(self.batteries, states, strict=True) if state == "Discharging"]
        return tuple(value for value in watts if value is not None) if None not in watts else None

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """The mean of both looks, over the time between them."""
        return (sum(before) + sum(after)) / 2 * seconds


def _watts(battery: Path) -> float | None:
    """Some batteries tell their power in microwatts, others current and voltage."""
    power = number_of(battery / "power_now")
    if power is None:
        current, voltage = number_of(battery / "current_now"), number_of(battery / "voltage_now")
        power = current * voltage / 1e6 if current is not None and voltage is not None else None
    return abs(power) / 1e6 if power else None
