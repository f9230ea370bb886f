"""Predicts which models are larger than the memory of their device."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bench.prepare.builds import Prepared
from bench.records import Accelerator, Cell, Device, Machine, Run, Source

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.onnx")
"""Patterns of weight files; the first that matches is counted, as a folder often has the same weights twice."""


class MemoryBound(Struct, frozen=True):
    """The bytes of memory that a cell may use, and a text that names the limit."""

    size_bytes: int
    what: str


def shortfalls(run: Run, prepared: Prepared, memory_limit_bytes: int | None) -> dict[str, str]:
    """By group of cells, for those expected not to fit: `holds 3.1 GiB of weights, 1.2 GiB more than …`.

    Only the weights are counted, so that a model in the result certainly does not fit.
    """
    by_group: dict[str, str] = {}
    for cell in run.cells:
        if cell.excluded is None and cell.id not in prepared.failures and cell.group not in by_group:
            weights, bound = weights_bytes(cell, prepared), memory_bound(cell, run, memory_limit_bytes)
            if weights is not None and bound is not None and weights > bound.size_bytes:
                more = size(weights - bound.size_bytes)
                by_group[cell.group] = f"holds {size(weights)} of weights, {more} more than {bound.what}"
    return by_group


def weights_bytes(cell: Cell, prepared: Prepared) -> int | None:
    """Bytes of the artifact on disk, or of the source for an engine without one; None where both are unknown."""
    artifact = prepared.artifacts.get(cell.artifact_name)
    if artifact is not None and (cell.provider is not None or cell.format is not None):
        return artifact.record.size_bytes
    source = prepared.sources.get(cell.model)
    # The artifact stands in where the size of the source is unknown.
    known = _source_bytes(source) if source else None
    return artifact.record.size_bytes if known is None and artifact else known


def memory_bound(cell: Cell, run: Run, memory_limit_bytes: int | None) -> MemoryBound | None:
    """The memory of the device that a cell runs on: a GPU's own where it is known, else the limit of a process."""
    facts = run.targets.get(cell.target)
    device = facts.device if facts else None
    # An emulated device has no memory of its own, so the limit of the process holds for it.
    gpu = accelerator(run.machine, device) if device and device.type == "gpu" and not cell.emulated else None
    if gpu is not None and gpu.memory_bytes:
        return MemoryBound(gpu.memory_bytes, f"the {size(gpu.memory_bytes)} of {gpu.name}")
    if memory_limit_bytes is None:
        return None
    return MemoryBound(memory_limit_bytes, f"the limit of {size(memory_limit_bytes)}")


def accelerator(machine: Machine, device: Device) -> Accelerator | None:
    """The machine's entry for a provider's device: by name, else by its index among those of its vendor."""
    same = [
        candidate
        for candidate in machine.accelerators
        if candidate.kind == device.type and _same_maker(candidate, device)
    ]
    named = [candidate for candidate in same if device.name and candidate.name.lower() == device.name.lower()]
    if named:
        return named[0]
    return same[device.index] if device.index < len(same) else None


def size(count: int) -> str:
    """`3.1 GiB`, `412 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"


def _same_maker(accelerator: Accelerator, device: Device) -> bool:
    vendor, device_vendor = accelerator.vendor.lower(), device.vendor.lower()
    # A vendor is written at different lengths, such as `NVIDIA` and `NVIDIA Corporation`.
    return not device_vendor or vendor in device_vendor or device_vendor in vendor


def _source_bytes(source: Source) -> int | None:
    path = Path(source.path)
    if source.kind == "onnx" and path.exists():
        return path.stat().st_size
    if source.kind == "folder":
        for pattern in WEIGHTS:
            sizes = [file.stat().st_size for file in path.rglob(pattern)]
            if sizes:
                return sum(sizes)
    return None
