"""Two runs side by side as values: the figures of a cell, what changed of them, and what may be concluded."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bench.comparison.figures import Figure
from bench.records import Interval, Note, Outcome, Run, Status

SpeedVerdict = Literal["slower", "faster", "unclear", "no difference shown", "not compared"]
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
    """Those elsewhere that compute; shape and constant bookkeeping is not among them."""


class FigureChange(Struct, frozen=True):
    """One kind of time of one cell in both runs."""

    name: str
    base_ms: Interval | None
    new_ms: Interval | None
    change: Interval | None
    """Relative change of the time with its 95 % interval, 0.05 for 5 % slower; None across machines."""
    base_ratio: Interval | None
    new_ratio: Interval | None
    """Times the control's speed, in the rounds of each run."""
    ratio_change: Interval | None
    """Relative change of that ratio, 0.05 for 5 % faster against the control; None without one control in both."""
    verdict: SpeedVerdict
    conclusion: Note


class CellChange(Struct, frozen=True):
    """One cell in both runs."""

    cell: str
    base_status: Status | None
    new_status: Status | None
    """None where the run's plan does not have the cell."""
    support: Support
    base_nodes: Nodes | None
    new_nodes: Nodes | None
    emulated: bool
    is_control: bool
    """Whether ratios are against this cell."""
    figures: tuple[FigureChange, ...]
    conclusions: tuple[Note, ...]
    """Of the status; each figure has a conclusion of its own."""
    changed: tuple[Note, ...]
    """What of the cell itself differs, beside its speed: versions, recipe, threads, weights."""
    flags: tuple[Note, ...]
    """The warnings of the numbers, with the run or runs that they are of."""


class Comparison(Struct, frozen=True):
    """Two runs side by side."""

    base: Run
    new: Run
    same_machine: bool
    differences: tuple[Note, ...]
    conclusions: tuple[Note, ...]
    """What may and what may not be concluded from the whole."""
    cells: tuple[CellChange, ...]

    @property
    def common(self) -> int:
        """How many cells both runs planned to measure."""
        return sum(cell.support not in {"gone", "added"} for cell in self.cells)
