"""Estimates how many visits and sustained runs are left, and how long they take."""

from __future__ import annotations

from collections.abc import Iterable

from bench.measure.stopping import CellStates
from bench.progress import duration
from bench.records import Cell, Effort


class Eta:
    """The visits that are certain to come, each as long as the last one of its group, and the sustained minutes.

    Rounds beyond the minimum are not counted, because only the measurements decide about them.
    """

    def __init__(
        self, cells: Iterable[Cell], history: CellStates, effort: Effort, sustained_minutes: float | None = None
    ) -> None:
        self.visits_left: dict[str, int] = {}
        self.sustained_s: dict[str, float] = {}
        for cell in cells:
            if not history.ended(cell.id):
                missing = sum(not history.has(cell.id, number) for number in range(1, effort.min_rounds + 1))
                # One process visits all cells of a group, so the cell with the most missing rounds counts.
                self.visits_left[cell.group] = max(missing, self.visits_left.get(cell.group, 0))
                if sustained_minutes and not cell.emulated and not history.sustained(cell.id):
                    self.sustained_s[cell.id] = sustained_minutes * 60
        self.last_visit_s: dict[str, float] = {}

    def visit_done(self, group: str, seconds: float, *, ended: bool) -> None:
        """A visit of a group is over after `seconds`; `ended` says that it was the last one."""
        self.last_visit_s[group] = seconds
        # Rounds beyond the minimum are not in the count, so it stays at 0 for them.
        self.visits_left[group] = 0 if ended else max(0, self.visits_left.get(group, 0) - 1)
        if ended:  # a failed cell has no sustained run either
            self.sustained_s = {
                cell: seconds_left
                for cell, seconds_left in self.sustained_s.items()
                # The id of a group is the id of its cells without the workload.
                if cell.rpartition("/")[0] != group
            }

    def sustained_for(self, cell: Cell, seconds: float | None) -> None:
        """A cell was run continuously for `seconds`; None says that its sustained run has ended."""
        seconds_left = 0.0 if seconds is None else self.sustained_s.get(cell.id, 0.0) - seconds
        self.sustained_s[cell.id] = seconds_left
        if seconds_left <= 0:
            del self.sustained_s[cell.id]

    def text(self) -> str:
        """`17 processes left, about 3 min 20 s`; with `and 2 sustained runs` where there are any."""
        visits, runs = sum(self.visits_left.values()), len(self.sustained_s)
        text = f"{visits} processes{f' and {runs} sustained runs' if runs else ''} left"
        if visits and not self.last_visit_s:
            return text
        # A group without a visit so far is estimated by the mean of the others.
        mean = sum(self.last_visit_s.values()) / max(1, len(self.last_visit_s))
        remaining_s = sum(count * self.last_visit_s.get(group, mean) for group, count in self.visits_left.items())
        return f"{text}, about {duration(remaining_s + sum(self.sustained_s.values()))}"
