"""Visits and sustained minutes in, as they end; an honest estimate of what is still to do out."""

from __future__ import annotations

from collections.abc import Iterable

from bench.measure.stopping import CellStates
from bench.progress import duration
from bench.records import Cell, Effort


class Left:
    """The visits that are certain to come, at what the last visit like them took, and the minutes on end."""

    def __init__(
        self, cells: Iterable[Cell], history: CellStates, effort: Effort, sustained_minutes: float | None = None
    ) -> None:
        self.visits: dict[str, int] = {}
        self.sustained_s: dict[str, float] = {}
        for cell in cells:
            if not history.ended(cell.id):
                missing = sum(not history.has(cell.id, number) for number in range(1, effort.min_rounds + 1))
                self.visits[cell.group] = max(missing, self.visits.get(cell.group, 0))
                if sustained_minutes and not cell.emulated and not history.sustained(cell.id):
                    self.sustained_s[cell.id] = sustained_minutes * 60
        self.took: dict[str, float] = {}

    def spent(self, group: str, seconds: float, *, ended: bool) -> None:
        """A visit is over; `ended` says that there will be no other."""
        self.took[group] = seconds
        self.visits[group] = 0 if ended else max(0, self.visits.get(group, 0) - 1)
        if ended:  # what failed is not run on end either
            self.sustained_s = {
                cell: left for cell, left in self.sustained_s.items() if cell.rpartition("/")[0] != group
            }

    def lasted(self, cell: Cell, seconds: float | None) -> None:
        """A cell was run continuously for so long; None says that it will not go on."""
        left = 0.0 if seconds is None else self.sustained_s.get(cell.id, 0.0) - seconds
        self.sustained_s[cell.id] = left
        if left <= 0:
            del self.sustained_s[cell.id]

    def say(self) -> str:
        """`17 processes left, about 3 min 20 s`; with `and 2 sustained runs` where there are such."""
        visits, runs = sum(self.visits.values()), len(self.sustained_s)
        said = f"{visits} processes{f' and {runs} sustained runs' if runs else ''} left"
        if visits and not self.took:
            return said
        mean = sum(self.took.values()) / max(1, len(self.took))
        left = sum(count * self.took.get(group, mean) for group, count in self.visits.items())
        return f"{said}, about {duration(left + sum(self.sustained_s.values()))}"
