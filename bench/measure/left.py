"""Visits in, as they end; an honest estimate of what is still to do out."""

from __future__ import annotations

from collections.abc import Iterable

from bench.measure.history import History
from bench.progress import duration
from bench.records import Cell, Effort


class Left:
    """The visits that are certain to come, at what the last visit like them took."""

    def __init__(self, cells: Iterable[Cell], history: History, effort: Effort) -> None:
        self.visits: dict[str, int] = {}
        for cell in cells:
            if not history.ended(cell.id):
                missing = sum(not history.has(cell.id, number) for number in range(1, effort.min_rounds + 1))
                self.visits[cell.group] = max(missing, self.visits.get(cell.group, 0))
        self.took: dict[str, float] = {}

    def spent(self, group: str, seconds: float, *, ended: bool) -> None:
        """A visit is over; `ended` says that there will be no other."""
        self.took[group] = seconds
        self.visits[group] = 0 if ended else max(0, self.visits.get(group, 0) - 1)

    def say(self) -> str:
        """`17 visits to go, about 3 min 20 s`."""
        visits = sum(self.visits.values())
        if not self.took:
            return f"{visits} visits to go"
        mean = sum(self.took.values()) / len(self.took)
        left = sum(count * self.took.get(group, mean) for group, count in self.visits.items())
        return f"{visits} visits to go, about {duration(left)}"
