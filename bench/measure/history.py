"""Observations in, as they are made; what is known of each cell so far out: ended, uncertain, or seen in a round."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from bench.judge import stats
from bench.judge.answers import faults
from bench.records import Effort, Observation


class History:
    """What is known of each cell so far; of two observations for one cell and round the last counts."""

    def __init__(self, seen: Iterable[Observation]) -> None:
        self.rounds: dict[str, dict[int, Observation]] = defaultdict(dict)
        for observation in seen:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """One more observation."""
        self.rounds[observation.cell][observation.round] = observation

    def has(self, cell: str, number: int) -> bool:
        """Whether a round has visited a cell."""
        return number in self.rounds[cell]

    def ended(self, cell: str) -> bool:
        """Whether another visit could change nothing: it failed, or its answer was wrong."""
        return any(o.failure or not right(o) for o in self.rounds[cell].values())

    def uncertain(self, cell: str, effort: Effort) -> bool:
        """Whether a cell's interval is still too wide, and its time not used up."""
        if effort.half_width is None:
            return False
        timings = [o.timing for o in self.rounds[cell].values() if o.timing]
        spent = sum(o.visit_s or 0 for o in self.rounds[cell].values())
        width = stats.half_width([math.log(median(t.samples_ns)) for t in timings])
        return spent < effort.cell_limit_s and (width is None or width > effort.half_width)


def right(observation: Observation) -> bool:
    """Whether an answer is within its tolerance; the verdict itself is `judge`'s."""
    return observation.parity is None or not faults(observation.parity)
