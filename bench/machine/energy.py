"""The marks of a worker's timed burst in; the energy that the burst took, and the GPU memory it held, out.

The worker says when its burst begins and ends; between the two nothing is read and nobody wakes. A figure that cannot
be read is None: containers and virtual machines show no RAPL, and Linux shows it to the superuser only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import nvml
from bench.machine.nvml import Nvml
from bench.machine.power import ROOT, Battery, Rapl, Reading, Source
from bench.records import Device, Energy, Machine, Provider


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
        self.others = {other for held in self.nvml.held() for other in held}

    def begin(self) -> None:
        """The burst begins."""
        self.spent = self.device_memory_bytes = None
        self.counters = self.nvml.millijoules()

    def end(self) -> None:
        """The burst is over."""
        counters = self.nvml.millijoules()
        held = self.nvml.held()
        mine = [self._mine(one) for one in held]
        amounts = [one[pid] for one, pid in zip(held, mine, strict=True) if pid is not None]
        known = [amount for amount in amounts if amount is not None]
        self.device_memory_bytes = sum(known) if known else None
        used = [i for i, pid in enumerate(mine) if pid is not None] or ([0] if len(held) == 1 else [])
        pairs = [(self.counters[i], counters[i]) for i in used if i < len(self.counters)]
        steps = [after - before for before, after in pairs if before is not None and after is not None]
        self.spent = sum(steps) / 1000 if steps and len(steps) == len(used) else None

    def energy(self, calls: int) -> Energy | None:
        """What the last burst took of the GPU's whole board."""
        return Energy(self.spent, calls, "NVML") if self.spent and calls else None

    def _mine(self, held: dict[int, int | None]) -> int | None:
        """The worker's id as the driver knows it: in a container that may be its number outside, the only new one."""
        if self.pid in held:
            return self.pid
        new = [pid for pid in held if pid not in self.others]
        return new[0] if self.in_container and len(new) == 1 else None


class Kit:
    """The meters of this machine, opened once for a run."""

    def __init__(self, machine: Machine, root: Path = ROOT) -> None:
        self.machine, self.root = machine, root
        self.nvml = nvml.opened() if any(a.vendor == "NVIDIA" for a in machine.accelerators) else None

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
