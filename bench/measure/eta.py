"""Estimates how long the blocks and sustained runs that are left take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.measure.stopping import CellStates
from bench.progress import duration
from bench.records import Cell, Effort

PROCESS_S = 4.0
"""Seconds to start a process, with the import of its engine and the model's load, on 2 cores."""
WARM_S = 1.0
"""Seconds to check and warm up a workload of a small model."""
AROUND_BURST_S = 0.04
"""Seconds around a burst: calls that are not timed, and the wait until the process is idle."""


def expected_s(cells: Sequence[Cell], effort: Effort) -> float:
    """Seconds of a block of these cells, before one was made."""
    groups = {cell.group for cell in cells}
    bursts_s = len(cells) * effort.bursts * (effort.burst_s + AROUND_BURST_S)
    return len(groups) * PROCESS_S + len(cells) * WARM_S + bursts_s


class BlockEta:
    """The time of the first blocks that are left: those of measured models correct the estimate of the others."""

    def __init__(self, models: Mapping[str, Sequence[Cell]], effort: Effort) -> None:
        self.expected = {model: expected_s(cells, effort) for model, cells in models.items()}
        self.took: dict[str, float] = {}

    def done(self, model: str, seconds: float) -> None:
        """A block of a model took this long."""
        self.took[model] = seconds

    def first_blocks_s(self, waiting: Iterable[str]) -> float:
        """Seconds until each of these models has its first block."""
        expected = sum(self.expected[model] for model in self.took)
        # Of a slower machine or larger models every block takes longer than expected.
        factor = sum(self.took.values()) / expected if expected else 1.0
        return factor * sum(self.expected[model] for model in waiting)


class Eta:
    """The sustained runs that are left."""

    def __init__(self, cells: Iterable[Cell], history: CellStates, sustained_minutes: float | None = None) -> None:
        self.sustained_s: dict[str, float] = {}
        for cell in cells:
            is_due = sustained_minutes and not cell.emulated and not history.ended(cell.id)
            if is_due and not history.sustained(cell.id):
                self.sustained_s[cell.id] = (sustained_minutes or 0.0) * 60

    def sustained_for(self, cell: Cell, seconds: float | None) -> None:
        """A cell was run continuously for `seconds`; None says that its sustained run has ended."""
        seconds_left = 0.0 if seconds is None else self.sustained_s.get(cell.id, 0.0) - seconds
        self.sustained_s[cell.id] = seconds_left
        if seconds_left <= 0:
            del self.sustained_s[cell.id]

    def text(self) -> str:
        """`2 sustained runs left, about 3 min 20 s`."""
        return f"{len(self.sustained_s)} sustained runs left, about {duration(sum(self.sustained_s.values()))}"
