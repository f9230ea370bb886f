"""Define the values of a comparison: the figures of a cell, their changes, and the conclusions."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bench.comparison.figures import Figure
from bench.records import Interval, Note, Outcome, Run, Status

SpeedVerdict = Literal["slower", "faster", "unclear", "no difference shown", "not comparable, busy", "not compared"]
Support = Literal["same", "changed", "lost", "gained", "lost nodes", "gained nodes", "gone", "added", "not measured"]


class Judged(Struct, frozen=True):
    """A run with its outcomes and figures, without its raw samples."""

    run: Run
    outcomes: dict[str, Outcome]
    figures: dict[str, tuple[Figure, ...]]


class Nodes(Struct, frozen=True):
    """Where the nodes of a cell ran."""

    on_target: int
    fell_back: int
    """Computing nodes on other providers; nodes that only handle shapes and constants do not count."""


class FigureChange(Struct, frozen=True):
    """One figure of one cell in both runs."""

    name: str
    base_ms: Interval | None
    new_ms: Interval | None
    change: Interval | None
    """Relative change of the time with its 95 % interval, 0.05 for 5 % slower; None across machines.

    Its ends are None where a run has too few blocks for the interval of a time."""
    base_ratio: Interval | None
    new_ratio: Interval | None
    """Speed relative to the control, from the alternating bursts of each run's blocks."""
    ratio_change: Interval | None
    """Relative change of that ratio, 0.05 for 5 % faster against the control; None without the same control in both."""
    verdict: SpeedVerdict
    rests_on: Literal["time", "ratio"] | None
    """Which of the two changes the verdict rests on, the surer one; None where nothing is compared."""
    conclusion: Note


class CellChange(Struct, frozen=True):
    """One cell in both runs."""

    cell: str
    base_status: Status | None
    new_status: Status | None
    """None if the run's plan does not have the cell."""
    support: Support
    base_nodes: Nodes | None
    new_nodes: Nodes | None
    emulated: bool
    is_control: bool
    """Whether this cell is the control of the ratios."""
    figures: tuple[FigureChange, ...]
    conclusions: tuple[Note, ...]
    """The conclusions from the status; each figure has a conclusion of its own."""
    changed: tuple[Note, ...]
    """The differences of the cell itself: versions, recipe, threads, weights."""
    flags: tuple[Note, ...]
    """What the user's own file holds, and the flags of the numbers, with the run or runs that have them."""


class Comparison(Struct, frozen=True):
    """Two runs side by side."""

    base: Run
    new: Run
    same_machine: bool
    differences: tuple[Note, ...]
    conclusions: tuple[Note, ...]
    """The conclusions from all cells."""
    cells: tuple[CellChange, ...]

    @property
    def common(self) -> int:
        """How many cells both runs planned to measure."""
        return sum(cell.support not in {"gone", "added"} for cell in self.cells)
