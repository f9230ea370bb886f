"""How far the pairs of a gate scatter, intervals, and what slowdown such pairs can show (pure).

Two pairs of one cell say next to nothing of their scatter, so a screen borrows from the other cells: the variance of a
cell is the pooled one and its own, weighed by degrees of freedom (Smyth 2004, the moderated t-test of gene arrays).
Pooled alone, a cell that scatters more than the others would hide a slowdown; alone, its own would need many pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, median

from msgspec import Struct
from scipy import special

from bench.gating.rules import Rules
from bench.judge.statistics import CONFIDENCE, LOG_LIMIT, POWER
from bench.records import Interval

OUTLIER = 3.0
"""Deviations beyond so many robust standard deviations count as that many in what is pooled: one pair that the system
held up must not make all cells of a gate look noisy. In its own cell it counts in full."""
NORMAL_MEDIAN = 0.6745
"""The median of |x| of a standard normal x."""


class Estimate(Struct, frozen=True):
    """A mean of logs, how sure it is, and what that is based on."""

    mean: float
    scatter: float
    """Standard deviation of one pair."""
    pairs: int
    freedom: float

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.scatter / math.sqrt(self.pairs)

    def bound(self, level: float) -> float:
        """What the true mean lies below with the given one-sided confidence."""
        return self.mean + quantile(self.freedom, level) * self.error

    def change(self) -> Interval:
        """The relative change with its 95 % t-interval."""
        margin = quantile(self.freedom, (1 + CONFIDENCE) / 2) * self.error
        return Interval(relative(self.mean), relative(self.mean - margin), relative(self.mean + margin))

    def p_value(self) -> float:
        """The chance of a mean as slow as this where there is no change, one-sided."""
        if self.error == 0:
            return 0.0 if self.mean > 0 else 1.0
        return float(special.stdtr(self.freedom, -self.mean / self.error))


def own(values: Sequence[float]) -> Estimate:
    """From a cell's pairs alone; two at least."""
    mean = fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    freedom = len(values) - 1
    return Estimate(mean, math.sqrt(squares / freedom), len(values), freedom)


def moderated(values: Sequence[float], scatter: float, freedom: int, rules: Rules) -> Estimate:
    """From a cell's pairs and the scatter of all cells, which weighs as `rules.prior_pairs` degrees of freedom at most.

    A cell that scatters more than the others by more than chance explains (F-test) is judged by its own pairs alone.
    """
    mean, count = fmean(values), len(values)
    squares = sum((value - mean) ** 2 for value in values)
    prior = min(rules.prior_pairs, freedom)
    if count > 1 and squares > (count - 1) * scatter**2 * _most_alike(count - 1, freedom, rules.outlying):
        prior = 0
    total = prior + count - 1
    return Estimate(mean, math.sqrt((prior * scatter**2 + squares) / total), count, total)


def pooled(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation of a pair within its group, and its degrees of freedom: (0, 0) where nothing can tell."""
    several = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return 0.0, 0
    deviations: list[float] = []
    for values in several:
        mean, unbiased = fmean(values), math.sqrt(len(values) / (len(values) - 1))
        deviations += [abs(value - mean) * unbiased for value in values]
    limit = OUTLIER * median(deviations) / NORMAL_MEDIAN
    return math.sqrt(
        fmean([min(deviation, limit) ** 2 if limit else deviation**2 for deviation in deviations])
    ), freedom


def screen_shows(estimate: Estimate, rules: Rules) -> bool:
    """Whether pairs that scatter so would call a cell suspect that is slower by `hidden`, with the certainty asked."""
    room = math.log1p(rules.hidden) - math.log1p(rules.suspect)
    return quantile(estimate.freedom, rules.certainty) * estimate.error <= room


def detectable(scatter: float, rules: Rules, screened: int, confirmed: int) -> float:
    """The smallest slowdown that is found four times in five: by so many screening pairs, then by so many fresh ones.

    `scatter` is the standard deviation of a pair, taken as known; the cell is taken to be the only suspect. `screened`
    is 0 where the screen is over and done with.
    """
    error = scatter / math.sqrt(confirmed)
    needed = max(math.log1p(rules.regression), quantile(confirmed - 1, 1 - rules.q / len(rules.looks)) * error)

    def power(slowdown: float) -> float:
        found = _above(slowdown, needed, error)
        if not screened:
            return found
        return found * _above(slowdown, math.log1p(rules.suspect), scatter / math.sqrt(screened))

    low, high = 0.0, needed + 20 * scatter + math.log1p(rules.suspect)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return relative(high)


def at_least(scatter: float, freedom: int, level: float) -> float:
    """What the true standard deviation lies above with the given one-sided confidence; 0 where nothing can tell."""
    return scatter * math.sqrt(freedom / float(special.chdtri(freedom, 1 - level))) if freedom else 0.0


def relative(log: float) -> float:
    """A log ratio as a relative change; what only a damaged file holds is cut, not overflowed."""
    return math.expm1(min(log, LOG_LIMIT))


@lru_cache(maxsize=1024)
def quantile(freedom: float, level: float) -> float:
    """Student's t that is exceeded with the chance 1 - level."""
    return float(special.stdtrit(freedom, level))


@lru_cache(maxsize=1024)
def _most_alike(freedom: int, pooled_freedom: int, chance: float) -> float:
    """The ratio of two variances that are alike which is exceeded by chance."""
    return float(special.fdtri(freedom, pooled_freedom, 1 - chance))


def _above(mean: float, limit: float, error: float) -> float:
    """The chance that an estimate about `mean` comes out above `limit`."""
    if error == 0:
        return float(mean > limit)
    return math.erfc((limit - mean) / error / math.sqrt(2)) / 2
