"""Declares what measuring must know about each cell; `bench.judge.cell_states` implements it.

Measuring decides the order of the visits. Judging decides what an answer means, and measuring does not import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bench.records import Cell, Comparisons, Observation, Timing


class CellStates(Protocol):
    """What is known about each cell so far; a cell is named by its id."""

    # A property may be implemented by a narrower mapping; the type of an attribute would have to be the very same.
    @property
    def rounds(self) -> Mapping[str, Mapping[int, Observation]]:
        """The observations by cell and round; a cell without any gives an empty mapping."""
        ...

    def add(self, observation: Observation) -> None:
        """Add an observation."""
        ...

    def has(self, cell: str, number: int) -> bool:
        """Whether the cell has an observation of round `number`."""
        ...

    def ended(self, cell: str) -> bool:
        """Whether another visit cannot change the verdict: the cell failed, or its answer was wrong."""
        ...

    def comparisons(self, cells: Sequence[Cell], half_width: float) -> Comparisons:
        """How many comparisons between these cells of a model people read, and how many are still undecided."""
        ...

    def timings(self, cell: str) -> list[Timing]:
        """The timings of the rounds that have one."""
        ...

    def latency_ms(self, cell: str) -> float | None:
        """The estimate of a cell's latency so far, ms; None without a timed round."""
        ...

    def sustained(self, cell: str) -> bool:
        """Whether a sustained run of the cell is complete."""
        ...

    def is_right(self, observation: Observation) -> bool:
        """Whether an answer is within its tolerance."""
        ...

    def is_far_better(self, observation: Observation, other: Observation) -> bool:
        """Whether an answer is so much nearer to the reference than another that rounding does not explain it."""
        ...
