"""When a cell needs no further visit: the contract that `bench.judge.cell_states` meets.

Measuring decides the order of the visits. What an answer means is decided by judging, which measuring does not import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bench.records import Effort, Observation, Timing


class CellStates(Protocol):
    """What is known of each cell so far; cells are named by their ids."""

    @property
    def rounds(self) -> Mapping[str, Mapping[int, Observation]]:
        """The observations by cell and round; a cell that has none may be asked for."""
        ...

    def add(self, observation: Observation) -> None:
        """Take in one more observation."""
        ...

    def has(self, cell: str, number: int) -> bool:
        """Whether a round has visited a cell."""
        ...

    def ended(self, cell: str) -> bool:
        """Whether another visit could change nothing: it failed, or its answer was wrong."""
        ...

    def uncertain(self, cell: str, effort: Effort) -> bool:
        """Whether a cell's interval is still too wide, and its time not used up."""
        ...

    def timings(self, cell: str) -> list[Timing]:
        """The timings of the rounds that have one."""
        ...

    def latency_ms(self, cell: str) -> float | None:
        """The estimate of a cell's latency so far, ms; None without a timed round."""
        ...

    def sustained(self, cell: str) -> bool:
        """Whether a sustained run of the cell has come to its end."""
        ...

    def is_right(self, observation: Observation) -> bool:
        """Whether an answer is within its tolerance."""
        ...
