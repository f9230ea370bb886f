"""The energy that a worker's timed burst takes, and the GPU memory that it holds: sources and meters.

The worker says when its burst begins and ends; between the two nothing is read and nobody wakes. A figure that cannot
be read is None: containers and virtual machines show no RAPL, and Linux shows it to the superuser only.
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


# --- the system's own counters ----------------------------------------------------------------------------------------


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
        readings = [number_of(zone / "energy_uj") for zone in self.packages]
        return tuple(value for value in readings if value is not None) if readings and None not in readings else None

    def joules(self, before: Reading, after: Reading, seconds: float) -> float:
        """Summed over packages; a counter that ran over begins again at 0."""
        grown = zip(before, after, self.ranges, strict=True)
        return sum(new - old if new >= old else new + limit - old for old, new, limit in grown) / 1e6


class Battery:
    """The power that a discharging battery gives, at the burst's two ends, times its length."""

    name = "battery"

    def __init__(self, root: Path = ROOT) -> None:
        supplies = sorted((root / "sys/class/power_supply").glob("*"))
        batteries = (path for path in supplies if text_of(path / "type") == "Battery")
        self.batteries = [path for path in batteries if text_of(path / "scope") != "Device"]

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


# --- NVIDIA's driver --------------------------------------------------------------------------------------------------


class Nvml:
    """NVIDIA's devices: their energy counters, and which process holds how much of their memory."""

    def __init__(self, library: Any) -> None:
        self.library = library
        library.nvmlInit()
        self.devices = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]

    def close(self) -> None:
        """Let go of the driver."""
        with contextlib.suppress(self.library.NVMLError):
            self.library.nvmlShutdown()

    def millijoules(self) -> tuple[float | None, ...]:
        """By device, since the driver was loaded; None for a device older than Volta."""
        return tuple(self._query(lambda d: float(self.library.nvmlDeviceGetTotalEnergyConsumption(d))))

    def memory_by_process(self) -> list[dict[int, int | None]]:
        """By device: bytes by process; None where the driver does not tell how much."""
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
            except self.library.NVMLError:
                answers.append(None)
        return answers


def nvidia_driver() -> Nvml | None:
    """The driver's library; None where there is no driver, or it answers with an error."""
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        return Nvml(pynvml)
    return None


# --- meters -----------------------------------------------------------------------------------------------------------


class Meter:
    """Reads one source of energy at the ends of each burst of one worker."""

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
        if self.source and self.before is not None and after is not None and len(after) == len(self.before):
            self.spent = self.source.joules(self.before, after, seconds)
        self.before = None

    def energy(self, calls: int) -> Energy | None:
        """What the last burst took; a counter that did not move has not counted."""
        if self.source is None or not self.spent or self.spent < 0 or not calls:
            return None
        return Energy(joules=self.spent, calls=calls, source=self.source.name)


class GpuMeter(Meter):
    """Reads an NVIDIA GPU: its energy at the ends of each burst, and what the worker holds of its memory after it."""

    def __init__(self, nvml: Nvml, in_container: bool, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__((), clock)
        self.nvml, self.in_container = nvml, in_container
        self.pid: int | None = None
        self.others: set[int] = set()
        self.counters: tuple[float | None, ...] = ()

    def watch(self, pid: int | None) -> None:
        """Remember who was there before."""
        self.pid = pid
        self.others = {other for processes in self.nvml.memory_by_process() for other in processes}

    def begin(self) -> None:
        """The burst begins."""
        self.spent = self.device_memory_bytes = None
        self.counters = self.nvml.millijoules()

    def end(self) -> None:
        """The burst is over."""
        counters = self.nvml.millijoules()
        usage = self.nvml.memory_by_process()
        pids = [self._worker_pid(processes) for processes in usage]
        amounts = [processes[pid] for processes, pid in zip(usage, pids, strict=True) if pid is not None]
        known = [amount for amount in amounts if amount is not None]
        self.device_memory_bytes = sum(known) if known else None
        used = [i for i, pid in enumerate(pids) if pid is not None] or ([0] if len(usage) == 1 else [])
        pairs = [(self.counters[i], counters[i]) for i in used if i < len(self.counters)]
        steps = [after - before for before, after in pairs if before is not None and after is not None]
        self.spent = sum(steps) / 1000 if steps and len(steps) == len(used) else None

    def energy(self, calls: int) -> Energy | None:
        """What the last burst took of the GPU's whole board."""
        return Energy(self.spent, calls, "NVML") if self.spent and calls else None

    def _worker_pid(self, processes: dict[int, int | None]) -> int | None:
        """The worker's id as the driver knows it: in a container that may be its number outside, the only new one."""
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
        """The meter for a target. A GPU of its own is not in the processor's counters, so no GPU is metered by them."""
        if provider and provider.emulated:
            return Meter()
        if on_nvidia(device, provider) and self.nvml:
            return GpuMeter(self.nvml, self.machine.container is not None)
        on_gpu = on_nvidia(device, provider) or (device is not None and device.type == "gpu")
        return Meter((Battery(self.root),) if on_gpu else (Rapl(self.root), Battery(self.root)))

    def close(self) -> None:
        """Let go of what was opened."""
        if self.nvml:
            self.nvml.close()


def on_nvidia(device: Device | None, provider: Provider | None) -> bool:
    """Whether a target computes on an NVIDIA GPU."""
    if provider and provider.uses_cuda:
        return True
    return device is not None and device.type == "gpu" and "nvidia" in device.vendor.lower()
