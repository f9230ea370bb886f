"""What judging makes of observations: intervals, speeds and outcomes."""

from __future__ import annotations

from bench.records.base import Record, Status, Weights
from bench.records.plan import Cell
from bench.records.prepared import Failure
from bench.records.seen import Parity, Placement, Start


class Interval(Record, frozen=True):
    """An estimate and its 95 % confidence interval; the ends are None where one round cannot tell."""

    value: float
    low: float | None
    high: float | None


class Speed(Record, frozen=True):
    """What a cell's samples say; present only for cells whose answers are right."""

    latency_ms: Interval
    p50_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput: dict[str, Interval]
    """Items a second by name, in the order of the cell's rates."""
    ratio_to_control: Interval | None
    """Speed over the control's in the same rounds: 2.0 is twice as fast."""
    control: str | None
    """The id of the control's cell that the ratio is against."""
    resolvable: float | None
    """The smallest relative difference that this cell's rounds could have told from noise."""


class Outcome(Record, frozen=True):
    """The verdict on one cell."""

    cell: Cell
    status: Status
    reason: str
    remedy: str = ""
    failure: Failure | None = None
    speed: Speed | None = None
    parity: Parity | None = None
    placement: Placement | None = None
    nodes_on_target: int | None = None
    nodes_elsewhere: int | None = None
    fallback_ops: tuple[str, ...] = ()
    bookkeeping_ops: tuple[str, ...] = ()
    device: str | None = None
    """The device that it ran on, `gpu.0`, with its name where known: `gpu.0 NVIDIA H100`."""
    executed: str | None = None
    """The number format that a probe measured on this target for the format that the cell asks for (`Executed`)."""
    cold: Start | None = None
    cached: Start | None = None
    import_ms: float | None = None
    load_ms: float | None = None
    first_call_ms: float | None = None
    peak_rss_bytes: int | None = None
    model_rss_bytes: int | None = None
    """The peak above the worker's empty baseline: what engine and model took."""
    device_memory_bytes: int | None = None
    energy_j: float | None = None
    """Joules of one inference: the median over rounds."""
    energy_source: str | None = None
    threads: int | None = None
    rounds: int = 0
    calls: int = 0
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    weights: Weights | None = None
    artifact: str | None = None
