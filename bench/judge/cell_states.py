"""Tells for each cell, while a run measures, whether it has ended, is still uncertain, or was sustained (pure).

`CellHistory` implements `bench.measure.stopping.CellStates`, so measuring does not import judging.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.judge.bursts import BlockTimes, block_times
from bench.judge.comparisons import by_workload, counted, pairs
from bench.judge.speed import latency, round_medians
from bench.judge.sustained import attempts, is_over
from bench.judge.tolerance import is_far_better, violations
from bench.records import Cell, Comparisons, Observation, Timing


class CellHistory:
    """The observations by cell and round. The last one counts where a cell and a round have two."""

    def __init__(self, observations: Iterable[Observation], *, shared: bool = False) -> None:
        """`shared` says that the machine has other guests (`bursts.is_shared`)."""
        self.shared = shared
        self.times: dict[str, dict[int, BlockTimes]] = defaultdict(dict)
        # By round, so that a round which a resumed run visits again replaces the earlier one.
        self.rounds: dict[str, dict[int, Observation]] = defaultdict(dict)
        self.minutes: list[Observation] = []
        for observation in observations:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """Add an observation; a minute of a sustained run is not a round."""
        if observation.sustained is not None:
            self.minutes.append(observation)
        else:
            self.rounds[observation.cell][observation.round] = observation
            # Kept, because the times of all blocks are compared again after each block.
            self.times[observation.cell].pop(observation.round, None)
            if times := block_times(observation, shared=self.shared):
                self.times[observation.cell][observation.round] = times

    def has(self, cell: str, number: int) -> bool:
        """Whether the cell has an observation of round `number`."""
        return number in self.rounds[cell]

    def ended(self, cell: str) -> bool:
        """Whether another visit cannot change the verdict: the cell failed, or its answer was wrong."""
        # One bad round is enough, as in `judge.verdict`, so more visits would only cost time.
        return any(o.failure or not self.is_right(o) for o in self.rounds[cell].values())

    def comparisons(self, cells: Sequence[Cell], half_width: float) -> Comparisons:
        """How many comparisons between these cells of a model people read, and how many are still undecided."""
        right = {cell.id for cell in cells if not self.ended(cell.id)}
        ratios = by_workload((cell, self.times[cell.id]) for cell in cells if cell.id in right and not cell.emulated)
        return counted(pairs(cells, right), ratios, half_width)

    def timings(self, cell: str) -> list[Timing]:
        """The timings of the rounds that have one."""
        return [o.timing for o in self.rounds[cell].values() if o.timing]

    def latency_ms(self, cell: str) -> float | None:
        """The estimate of a cell's latency so far, the same that its report will show; None without a timed round."""
        estimate = latency(round_medians(list(self.rounds[cell].values())))
        return estimate.value if estimate else None

    def sustained(self, cell: str) -> bool:
        """Whether a sustained run of the cell is complete."""
        return is_over(attempts(self.minutes).get(cell, ()))

    def is_right(self, observation: Observation) -> bool:
        """Whether the answer is within its tolerance; `judge.outcome` decides the verdict on the cell."""
        return observation.parity is None or not violations(observation.parity)

    def is_far_better(self, observation: Observation, other: Observation) -> bool:
        """Whether an answer is so much nearer to the reference than another that rounding does not explain it."""
        if observation.parity is None or other.parity is None:
            return other.parity is None
        return is_far_better(observation.parity, other.parity)
