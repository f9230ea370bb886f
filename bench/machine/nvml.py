"""NVIDIA's driver in; the energy that its devices count, and which process holds how much of their memory, out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


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
        return tuple(self._asked(lambda d: float(self.library.nvmlDeviceGetTotalEnergyConsumption(d))))

    def held(self) -> list[dict[int, int | None]]:
        """By device: bytes by process; None where the driver does not tell how much."""
        calls = (self.library.nvmlDeviceGetComputeRunningProcesses, self.library.nvmlDeviceGetGraphicsRunningProcesses)
        found: list[dict[int, int | None]] = [{} for _ in self.devices]
        for call in calls:
            for held, processes in zip(found, self._asked(call), strict=True):
                held.update({int(one.pid): one.usedGpuMemory for one in processes or ()})
        return found

    def _asked(self, question: Callable[[Any], Any]) -> list[Any]:
        answers: list[Any] = []
        for device in self.devices:
            try:
                answers.append(question(device))
            except self.library.NVMLError:
                answers.append(None)
        return answers


def opened() -> Nvml | None:
    """The driver's library; None where there is no driver, or it answers with an error."""
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        return Nvml(pynvml)
    return None
