"""Measures the energy of a worker's timed burst and the GPU memory that it uses: sources and meters.

The worker reports when its burst begins and ends; nothing is read during the burst. A value that cannot be read is
None: containers and virtual machines have no RAPL, and on Linux only the superuser can read it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.machine.tools import number_of, text_of
from bench.records import Device, Energy, Machine, Provider

ROOT = Path("/")
Reading = tuple[float, ...]
NVML_STEP_S = 0.1
"""How long NVIDIA's energy counter stands still: on an H200 it changed 11 times a second."""
LEAST_STEPS = 10
"""Each end of a burst may be off by a step, so this many keep the energy to about 10 %."""


# --- the system's own counters ----------------------------------------------------------------------------------------


class Source(Protocol):
    """A source of energy readings; `read` returns None where it cannot be read now."""

    name: str

    def read(self) -> Reading | None:
        """Read the source now."""

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """The energy between two readings that are `seconds` apart, in joules."""


class Rapl:
    """The energy counters of Intel's and AMD's processor packages: everything on the package, but not memory."""

    name = "RAPL package"

    def __init__(self, root: Path = ROOT) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        # A package's cores are a zone beside it, and a laptop has one for the whole platform.
        self.packages = [zone for zone in zones if text_of(zone / "name").startswith("package")]
        self.ranges = [number_of(zone / "max_energy_range_uj") or 0.0 for zone in self.packages]

    def read(self) -> Reading | None:
        """Microjoules by package."""
        readings = [number_of(zone / "energy_uj") for zone in self.packages]
        return tuple(value for value in readings if value is not None) if readings and None not in readings else None

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """The sum over packages in joules; a counter that reaches its range starts again at 0."""
        grown = zip(before, after, self.ranges, strict=True)
        return sum(new - old if new >= old else new + limit - old for old, new, limit in grown) / 1e6


class Battery:
    """The power of a discharging battery at the start and the end of a burst, times the burst's length."""

    name = "battery"

    def __init__(self, root: Path = ROOT) -> None:
        supplies = sorted((root / "sys/class/power_supply").glob("*"))
        batteries = (path for path in supplies if text_of(path / "type") == "Battery")
        self.batteries = [path for path in batteries if text_of(path / "scope") != "Device"]

    def read(self) -> Reading | None:
        """Watts by battery; None unless at least one is discharging and none is charging."""
        # A charging battery shows the charger's power, not the machine's.
        states = [text_of(path / "status") for path in self.batteries]
        if "Discharging" not in states or "Charging" in states:
            return None
        watts = [_watts(path) for path, state in zip(self.batteries, states, strict=True) if state == "Discharging"]
        return tuple(value for value in watts if value is not None) if None not in watts else None

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """The mean power of both readings times the seconds between them, in joules."""
        return (sum(before) + sum(after)) / 2 * seconds


def _watts(battery: Path) -> float | None:
    """The power in watts. Some batteries report power in microwatts, others current and voltage."""
    power = number_of(battery / "power_now")
    if power is None:
        current, voltage = number_of(battery / "current_now"), number_of(battery / "voltage_now")
        # Microamperes times microvolts, as microwatts.
        power = current * voltage / 1e6 if current is not None and voltage is not None else None
    # Some drivers give a discharging battery a negative sign.
    return abs(power) / 1e6 if power else None


# --- NVIDIA's driver --------------------------------------------------------------------------------------------------


class Nvml:
    """NVIDIA's devices: their energy counters, and the memory that each process uses."""

    def __init__(self, library: Any) -> None:
        self.library = library
        library.nvmlInit()
        self.devices = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]

    def close(self) -> None:
        """Close the driver's library."""
        with contextlib.suppress(self.library.NVMLError):
            self.library.nvmlShutdown()

    def millijoules(self) -> tuple[float | None, ...]:
        """Energy by device in millijoules since the driver was loaded; None for a device older than Volta."""
        return tuple(self._query(lambda d: float(self.library.nvmlDeviceGetTotalEnergyConsumption(d))))

    def memory_by_process(self) -> list[dict[int, int | None]]:
        """By device: memory in bytes by process id; None where the driver does not report the amount."""
        # A process that uses Vulkan or Direct3D is only in the second list.
        calls = (self.library.nvmlDeviceGetComputeRunningProcesses, self.library.nvmlDeviceGetGraphicsRunningProcesses)
        usage: list[dict[int, int | None]] = [{} for _ in self.devices]
        for call in calls:
            for device, processes in zip(usage, self._query(call), strict=True):
                device.update({int(process.pid): process.usedGpuMemory for process in processes or ()})
        return usage

    def _query(self, question: Callable[[Any], Any]) -> list[Any]:
        answers: list[Any] = []
        for device in self.devices:
            try:
                answers.append(question(device))
            # One device without an answer, such as an old one without a counter, must not hide the others.
            except self.library.NVMLError:
                answers.append(None)
        return answers


def nvidia_driver() -> Nvml | None:
    """The driver's library; None without a driver, or where it reports an error."""
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        return Nvml(pynvml)
    return None


# --- meters -----------------------------------------------------------------------------------------------------------


class Meter:
    """Reads one source of energy at the start and the end of each burst of one worker."""

    device_memory_bytes: int | None = None

    def __init__(self, sources: tuple[Source, ...] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.source = next((source for source in sources if source.read() is not None), None)
        self.clock = clock
        self.before: Reading | None = None
        self.begun = 0.0
        self.spent: float | None = None

    def watch(self, pid: int | None) -> None:
        """A worker has been started."""

    def begin(self) -> None:
        """The burst begins."""
        self.spent = None
        self.before = self.source.read() if self.source else None
        self.begun = self.clock()

    def end(self) -> None:
        """The burst is over."""
        seconds = self.clock() - self.begun
        after = self.source.read() if self.source else None
        # A battery that was plugged in during the burst gives no second reading.
        if self.source and self.before is not None and after is not None and len(after) == len(self.before):
            self.spent = self.source.joules(self.before, after, seconds)
        self.before = None

    def energy(self, calls: int) -> Energy | None:
        """The energy of the last burst; None where it is not known, or where the counter did not change."""
        if self.source is None or not self.spent or self.spent < 0 or not calls:
            return None
        return Energy(joules=self.spent, calls=calls, source=self.source.name)


class GpuMeter(Meter):
    """Reads an NVIDIA GPU: its energy at both ends of each burst, and the worker's memory on it after the burst.

    A burst of less than `LEAST_STEPS` steps of the counter has no energy. In a burst of 50 ms the counter stands still,
    or makes a step that is mostly of the time before: on an H200 such bursts seemed to take 840 W of at most 700 W.
    """

    def __init__(self, nvml: Nvml, in_container: bool, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__((), clock)
        self.nvml, self.in_container = nvml, in_container
        self.pid: int | None = None
        self.others: set[int] = set()
        self.counters: tuple[float | None, ...] = ()

    def watch(self, pid: int | None) -> None:
        """Remember the processes that use the GPUs before the worker does."""
        self.pid = pid
        # In a container the driver reports ids of the host, so the worker is found by comparing before and after.
        self.others = {other for processes in self.nvml.memory_by_process() for other in processes}

    def begin(self) -> None:
        """The burst begins."""
        self.spent = self.device_memory_bytes = None
        self.counters = self.nvml.millijoules()
        self.begun = self.clock()

    def end(self) -> None:
        """The burst is over."""
        seconds = self.clock() - self.begun
        counters = self.nvml.millijoules()
        usage = self.nvml.memory_by_process()
        pids = [self._worker_pid(processes) for processes in usage]
        amounts = [processes[pid] for processes, pid in zip(usage, pids, strict=True) if pid is not None]
        known = [amount for amount in amounts if amount is not None]
        self.device_memory_bytes = sum(known) if known else None
        # A driver may report no process at all; with one GPU it is still known which one is used.
        used = [i for i, pid in enumerate(pids) if pid is not None] or ([0] if len(usage) == 1 else [])
        pairs = [(self.counters[i], counters[i]) for i in used if i < len(self.counters)]
        steps = [after - before for before, after in pairs if before is not None and after is not None]
        # A sum without one of the devices would look like less energy than was used.
        is_long_enough = seconds >= LEAST_STEPS * NVML_STEP_S
        self.spent = sum(steps) / 1000 if is_long_enough and steps and len(steps) == len(used) else None

    def energy(self, calls: int) -> Energy | None:
        """The energy of the GPU's whole board in the last burst; None where it is not known, or the burst was short."""
        return Energy(self.spent, calls, "NVML") if self.spent and calls else None

    def _worker_pid(self, processes: dict[int, int | None]) -> int | None:
        """The worker's process id in the driver's list; in a container this may be its id outside, the only new one."""
        if self.pid in processes:
            return self.pid
        new = [pid for pid in processes if pid not in self.others]
        return new[0] if self.in_container and len(new) == 1 else None


class Meters:
    """The meters of this machine, opened once for a run."""

    def __init__(self, machine: Machine, root: Path = ROOT) -> None:
        self.machine, self.root = machine, root
        self.nvml = nvidia_driver() if any(a.vendor == "NVIDIA" for a in machine.accelerators) else None

    def meter(self, device: Device | None, provider: Provider | None) -> Meter:
        """The meter for a target. A discrete GPU is not in the processor's counters, so they are used for no GPU."""
        # An emulator runs on the CPU, so its energy says nothing about the device.
        if provider and provider.emulated:
            return Meter()
        if on_nvidia(device, provider) and self.nvml:
            return GpuMeter(self.nvml, self.machine.container is not None)
        on_gpu = on_nvidia(device, provider) or (device is not None and device.type == "gpu")
        return Meter((Battery(self.root),) if on_gpu else (Rapl(self.root), Battery(self.root)))

    def close(self) -> None:
        """Close what was opened."""
        if self.nvml:
            self.nvml.close()


def on_nvidia(device: Device | None, provider: Provider | None) -> bool:
    """Whether a target computes on an NVIDIA GPU."""
    if provider and provider.uses_cuda:
        return True
    return device is not None and device.type == "gpu" and "nvidia" in device.vendor.lower()
