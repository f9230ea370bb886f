"""Computes the ratios between the cells of a model from its blocks, with intervals that borrow scatter (pure).

Each block gives one log ratio for two cells. A few blocks say little about the scatter of one ratio, so it is moderated
with that of all ratios of its workload (`bench.judge.scatter`). The constants of this file were found by simulation,
with blocks that stop when the comparisons are decided (`nox -s calibrate`). The aim is that 93 to 97 % of the intervals
hold the truth, and that at most 5 % of two equal cells show a difference; docs/numbers.md has what was reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import combinations

from msgspec import Struct

from bench.judge.bursts import BlockTimes
from bench.judge.scatter import Moderated, moderated, pooled, quantile
from bench.judge.statistics import CONFIDENCE, LOG_LIMIT, smallest_difference
from bench.records import Interval

Times = Mapping[int, BlockTimes]
"""The times of a cell, by the number of the block."""

PRIOR = 4.0
"""The weight of the workload's scatter against a ratio's own, in degrees of freedom. With less, intervals of two blocks
are wide; with more, the ratios of the noisiest cell are too narrow."""
SHARED = 1.5
"""How many of its own degrees of freedom a ratio finds again in that scatter: they must not count twice. With 1,
6 % of three equal cells would show a difference."""
OUTLYING = 0.05
"""Probability that a ratio of ordinary scatter is judged by its own blocks alone."""
WIDENED = 0.08
"""How much wider an interval is that rests on its own scatter alone. Blocks stop when intervals are narrow, which is
sooner where the scatter looks small by chance: with two cells, 6.5 % of equal cells would show a difference."""
SURE = 0.999
"""The confidence at which a difference ends the measurement. Each block is another look, and at 95 % a quarter of the
models of two equal cells would be stopped by a difference that is none."""
SEEN = 4
"""Degrees of freedom of that scatter before a difference may be certain: 5 blocks of two cells, 3 of three, 2 of
five. With fewer, even a difference at `SURE` is certain most often where the scatter looks small by chance."""
KNOWN = 7
"""Degrees of freedom before a narrow interval ends the measurement: 8 blocks of two cells, 5 of three, 2 of eight. With
fewer, intervals are often narrow by chance."""
ITSELF = Interval(1.0, 1.0, 1.0)


class _Common(Struct, frozen=True):
    """What the ratios of a workload share: their scatter, with its degrees of freedom."""

    scatter: float
    freedom: float


class Ratios:
    """The ratios between the cells of one model, one workload each, of one kind of time."""

    def __init__(self, workloads: Iterable[Mapping[str, Times]]) -> None:
        """`workloads` holds the times of the cells of each workload, by the cell's id."""
        self.logs: dict[tuple[str, str], tuple[float, ...]] = {}
        """The log ratios of each pair of cells, one a block: above 0, the first is faster."""
        self.cells: set[str] = set()
        """The cells with a time."""
        self.common: dict[str, _Common] = {}
        """What the ratios of a cell's workload share, by the cell's id."""
        for cells in workloads:
            self.cells |= set(cells)
            named = {pair: _logs(cells[pair[0]], cells[pair[1]]) for pair in combinations(cells, 2)}
            known = {pair: logs for pair, logs in named.items() if logs}
            self.logs |= known
            # All pairs of k cells tell no more than k - 1 of them.
            freedom = 2 * sum(len(logs) - 1 for logs in known.values()) / max(1, len(cells))
            # Of a workload, since long calls scatter more than short ones, of which a block has many.
            self.common |= dict.fromkeys(cells, _Common(pooled(known.values())[0], freedom))

    def ratio(self, ours: str, theirs: str) -> Interval | None:
        """How many times as fast one cell is as another, with its 95 % interval; None without a common block.

        After a single block there is no interval: its bursts do not show how much processes differ.
        """
        if ours == theirs:
            return ITSELF
        logs = self.logs_of(ours, theirs)
        if not logs:
            return None
        estimate = self._estimate(ours, logs)
        if estimate is None:
            value = math.exp(sum(logs) / len(logs))
            return Interval(value, None, None)
        margin = _margin(estimate, CONFIDENCE)
        return Interval(*(_exp(estimate.mean + distance) for distance in (0.0, -margin, margin)))

    def is_decided(self, ours: str, theirs: str, half_width: float | None) -> bool:
        """Whether more blocks are of little use: a difference is certain, or the interval is as narrow as asked for.

        `half_width` is relative, 0.02 for 2 %; None asks for a difference alone.
        """
        estimate = self._estimate(ours, self.logs_of(ours, theirs))
        if estimate is None:
            return False
        freedom = self.common[ours].freedom
        if freedom >= SEEN and abs(estimate.mean) > _margin(estimate, SURE):
            return True
        narrow = half_width is not None and math.expm1(min(_margin(estimate, CONFIDENCE), LOG_LIMIT)) <= half_width
        return narrow and freedom >= KNOWN

    def resolvable(self, ours: str, theirs: str | None, blocks: int) -> float | None:
        """The smallest difference that is found with 80 % power, 0.03 for 3 %; None without a scatter.

        Without another cell, and for a cell against itself, it is that of a ratio with the scatter of the cell's
        workload over as many blocks.
        """
        logs = () if theirs is None or ours == theirs else self.logs_of(ours, theirs)
        if logs:
            estimate = self._estimate(ours, logs)
            return smallest_difference(estimate.freedom, _widening(estimate) * estimate.error) if estimate else None
        common = self.common.get(ours)
        if common is None or not common.freedom or not blocks:
            return None
        return smallest_difference(min(PRIOR, common.freedom), common.scatter / math.sqrt(blocks))

    def logs_of(self, ours: str, theirs: str) -> tuple[float, ...]:
        """The log ratio of two cells in each block that held both: above 0, the first is faster."""
        if (ours, theirs) in self.logs:
            return self.logs[ours, theirs]
        return tuple(-value for value in self.logs.get((theirs, ours), ()))

    def _estimate(self, cell: str, logs: tuple[float, ...]) -> Moderated | None:
        """The mean of a pair's log ratios with its scatter; None under two blocks."""
        if len(logs) < 2:
            return None
        # The pair itself is a part of the pooled scatter, and so are the ratios of its cells with others.
        common = self.common[cell]
        prior = max(0.0, min(PRIOR, common.freedom - SHARED * (len(logs) - 1)))
        return moderated(logs, common.scatter, common.freedom if prior else 0.0, prior, OUTLYING)


NO_RATIOS = Ratios(())
"""Those of cells that are compared with none."""


def _logs(ours: Times, theirs: Times) -> tuple[float, ...]:
    """One log ratio for each block that both cells have: what slows a whole block cancels."""
    return tuple(times.log_ratio(theirs[block]) for block, times in ours.items() if block in theirs)


def _margin(estimate: Moderated, confidence: float) -> float:
    """Half the length of the interval, in log units."""
    return _widening(estimate) * quantile(estimate.freedom, (1 + confidence) / 2) * estimate.error


def _widening(estimate: Moderated) -> float:
    return 1 + WIDENED * estimate.own / estimate.freedom


def _exp(log: float) -> float:
    # Only times from a damaged file are so far apart.
    return math.exp(max(-LOG_LIMIT, min(log, LOG_LIMIT)))
