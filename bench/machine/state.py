"""Samples the machine before and after timed work: CPU use by others, clock, temperature, battery and memory."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from pathlib import Path

import psutil
from msgspec import Struct

from bench.machine.tools import number_of, text_of
from bench.records import MachineState

__all__ = ["Load", "MachineState", "Sensors", "Snapshot", "load_since", "sensors", "since", "snapshot"]

ROOT = Path("/")
CPU_SENSORS = {
    "coretemp",
    "k10temp",
    "zenpower",
    "cpu_thermal",
    "cpu-thermal",
    "soc_thermal",
    "soc-thermal",
    "x86_pkg_temp",
}
LIMITS = ("crit", "max")
"""Files beside a chip's temperature; where a chip has both, `max` is only where fans run at full speed."""
TRIPS = ("passive", "hot", "critical")
"""The trip points of a thermal zone at which the system acts against heat."""
MAX_POLICIES = 8
"""The number of frequency policies to read: a large server has one a core, and each reading takes time."""
MIN_TICKS_S = 0.1
"""The kernel counts CPU time in steps of 10 ms, so a share of a shorter interval is not reliable."""


class Snapshot(Struct, frozen=True):
    """CPU seconds since boot, summed over all cores."""

    total_s: float
    busy_s: float
    steal_s: float | None


class Sensors(Struct, frozen=True):
    """The processor's clock and temperature now; None for what cannot be read."""

    frequency_mhz: float | None = None
    temperature_c: float | None = None
    temperature_limit_c: float | None = None


def sensors() -> Sensors:
    """Read clock and temperature. Call it under load or soon after: an idle core lowers its clock in milliseconds."""
    temperature_c, limit_c = _temperature()
    return Sensors(_frequency(), temperature_c, limit_c)


def snapshot() -> Snapshot:
    """Read the CPU times at the start."""
    times = psutil.cpu_times()._asdict()
    steal = times.get("steal")
    idle = times["idle"] + times.get("iowait", 0.0)
    # Linux counts a guest's time in user as well, and Windows an interrupt's and a DPC's in system.
    total = sum(times.get(name, 0.0) for name in ("user", "nice", "system", "idle", "iowait", "steal"))
    total += sum(times.get(name, 0.0) for name in ("irq", "softirq"))
    # Stolen time is neither busy nor idle: another machine on the host had the core.
    return Snapshot(total, total - idle - (steal or 0.0), steal)


def since(before: Snapshot, own_cpu_s: float | None = None, readings: Sensors | None = None) -> MachineState:
    """The machine's state since `before`, after work that used `own_cpu_s` seconds of CPU itself.

    `readings` are the sensors meanwhile; without them they are read now. What cannot be read is None.
    """
    # Before the CPU times, since an idle core lowers its clock within milliseconds.
    readings = readings or sensors()
    now = snapshot()
    span = now.total_s - before.total_s
    return MachineState(
        load_1min=_load(),
        frequency_mhz=readings.frequency_mhz,
        temperature_c=readings.temperature_c,
        temperature_limit_c=readings.temperature_limit_c,
        on_battery=_on_battery(),
        steal_percent=_steal(before, now, span),
        other_cpu_percent=None if own_cpu_s is None else _share(now.busy_s - before.busy_s - own_cpu_s, span),
        available_bytes=psutil.virtual_memory().available,
    )


class Load(Struct, frozen=True):
    """What others took of the processor in some time, in percent of all cores; 0 where it cannot be read."""

    other_cpu_percent: float
    steal_percent: float


def load_since(before: Snapshot, own_cpu_s: float) -> Load:
    """The load of others since `before`, while own processes used `own_cpu_s` seconds of CPU; quicker than `since`."""
    now = snapshot()
    span = now.total_s - before.total_s
    others = _share(now.busy_s - before.busy_s - own_cpu_s, span)
    return Load(others or 0.0, _steal(before, now, span) or 0.0)


def _share(part_s: float, span_s: float) -> float | None:
    """Per cent of all cores' time, limited to 0 to 100: two clocks are read one after another and differ slightly."""
    return min(100.0, max(0.0, 100.0 * part_s / span_s)) if span_s >= MIN_TICKS_S else None


def _steal(before: Snapshot, now: Snapshot, span_s: float) -> float | None:
    """Per cent of stolen time; None on systems other than Linux, which do not count it."""
    if before.steal_s is None or now.steal_s is None:
        return None
    return _share(now.steal_s - before.steal_s, span_s)


def _load() -> float | None:
    """The load average of one minute; None on Windows, where psutil needs a thread that wakes every five seconds."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


# --- sensors ----------------------------------------------------------------------------------------------------------
# psutil reads every sensor of a machine at each call, which can take tens of milliseconds; these read one or two.


def _frequency() -> float | None:
    """The mean clock of some cores in MHz; None for macOS and virtual machines, which report only a constant."""
    if platform.system() == "Windows":
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            frequency = psutil.cpu_freq()
            return float(frequency.current) if frequency else None
        return None
    khz = [value for path in _frequency_files(ROOT) if (value := number_of(path)) is not None]
    return round(sum(khz) / len(khz) / 1000, 1) if khz else None


@functools.cache
def _frequency_files(root: Path) -> tuple[Path, ...]:
    files = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_cur_freq"))
    # Evenly over the cores: small and large cores have different clocks.
    # The division rounds up, so that at most MAX_POLICIES are left.
    return tuple(files[:: max(1, -(-len(files) // MAX_POLICIES))])


def _temperature() -> tuple[float | None, float | None]:
    """The processor's highest temperature and the limit of that sensor; only Linux reports them without a driver."""
    read = [(value / 1000, _limit(path)) for path in _temperature_files(ROOT) if (value := number_of(path)) is not None]
    return max(read, key=lambda reading: reading[0], default=(None, None))


@functools.cache
def _limit(sensor: Path) -> float | None:
    """The limit of a sensor: a chip's critical temperature, else its `max`; a thermal zone's lowest trip point."""
    if sensor.name == "temp":
        trips = [path for path in sensor.parent.glob("trip_point_*_type") if text_of(path) in TRIPS]
        limits = [number_of(path.with_name(path.name.replace("_type", "_temp"))) for path in trips]
        known = [value for value in limits if value and value > 0]
    else:
        known = [value for word in LIMITS if (value := number_of(sensor.with_name(f"temp1_{word}"))) and value > 0][:1]
    return min(known) / 1000 if known else None


@functools.cache
def _temperature_files(root: Path) -> tuple[Path, ...]:
    """The first sensor of each processor, which is its package's; else thermal zones."""
    chips = [path for path in (root / "sys/class/hwmon").glob("hwmon*") if text_of(path / "name") in CPU_SENSORS]
    files = [chip / "temp1_input" for chip in chips]
    if not files:
        zones = (root / "sys/class/thermal").glob("thermal_zone*")
        files = [zone / "temp" for zone in zones if text_of(zone / "type") in CPU_SENSORS]
    return tuple(sorted(files))


def _on_battery() -> bool | None:
    """Whether the machine runs on battery; False on mains or without a battery, None where it is not known."""
    if platform.system() != "Linux":
        # psutil has no such function on some systems, and raises several errors on machines without a battery.
        with contextlib.suppress(OSError, RuntimeError, AttributeError, NotImplementedError):
            battery = psutil.sensors_battery()
            return bool(battery and battery.power_plugged is False)
        return None
    return linux_on_battery(ROOT / "sys/class/power_supply")


def linux_on_battery(supplies: Path) -> bool | None:
    """Whether a battery is discharging; a mouse's battery (scope `Device`) does not count."""
    if not supplies.is_dir():
        return None
    kinds = {path: text_of(path / "type") for path in supplies.iterdir()}
    plugs = [text_of(path / "online") for path, kind in kinds.items() if kind in {"Mains", "USB"}]
    # Mains first: the firmware may take long to answer about a battery.
    if "1" in plugs:
        return False
    batteries = [path for path, kind in kinds.items() if kind == "Battery" and text_of(path / "scope") != "Device"]
    return any(text_of(path / "status") == "Discharging" for path in batteries)
