"""Estimate the scatter of a gate's pairs, their intervals, and the slowdown that they can detect (pure).

Two pairs are too few to estimate the scatter of a cell, so a screen also uses the other cells: the variance is the mean
of the pooled one and the cell's own, weighted by degrees of freedom (moderated t-test, Smyth 2004). With the pooled
variance alone, a noisy cell could hide a slowdown; with its own alone, every cell would need many pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct
from scipy import special

from bench.gating.rules import Rules
from bench.judge import scatter as judged
from bench.judge.scatter import pooled, quantile
from bench.judge.statistics import CONFIDENCE, LOG_LIMIT, POWER
from bench.records import Interval

__all__ = [
    "Estimate",
    "at_least",
    "detectable",
    "moderated",
    "own",
    "pooled",
    "quantile",
    "relative",
    "screen_shows",
]


class Estimate(Struct, frozen=True):
    """A mean of log ratios with its uncertainty."""

    mean: float
    scatter: float
    """Standard deviation of one pair."""
    pairs: int
    freedom: float
    """Degrees of freedom of `scatter`."""

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.scatter / math.sqrt(self.pairs)

    def bound(self, level: float) -> float:
        """The upper bound of the true mean at the given one-sided confidence."""
        return self.mean + quantile(self.freedom, level) * self.error

    def change(self) -> Interval:
        """The relative change with its 95 % t-interval."""
        margin = quantile(self.freedom, (1 + CONFIDENCE) / 2) * self.error
        return Interval(relative(self.mean), relative(self.mean - margin), relative(self.mean + margin))

    def p_value(self) -> float:
        """The one-sided p-value: the probability of a mean this high without any change."""
        # Equal pairs have no scatter, and a t statistic would divide by zero.
        if self.error == 0:
            return 0.0 if self.mean > 0 else 1.0
        return float(special.stdtr(self.freedom, -self.mean / self.error))


def own(values: Sequence[float]) -> Estimate:
    """Estimate from a cell's own pairs alone; at least two."""
    mean = fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    freedom = len(values) - 1
    return Estimate(mean, math.sqrt(squares / freedom), len(values), freedom)


def moderated(values: Sequence[float], scatter: float, freedom: int, rules: Rules) -> Estimate:
    """Estimate from a cell's pairs and the pooled scatter, which has at most `rules.prior_pairs` degrees of freedom.

    A cell that scatters significantly more than the others (F-test) is judged by its own pairs alone.
    """
    # Limited, so that a gate with many quiet cells does not outweigh what a noisy cell shows of itself.
    prior = min(rules.prior_pairs, freedom)
    estimate = judged.moderated(values, scatter, freedom, prior, rules.outlying)
    # A gate screens with two pairs or more, so there is a degree of freedom.
    assert estimate is not None
    return Estimate(estimate.mean, estimate.scatter, estimate.count, estimate.freedom)


def screen_shows(estimate: Estimate, rules: Rules) -> bool:
    """Whether pairs with this scatter show a slowdown of `rules.hidden` with the required certainty."""
    # A cell passes below `suspect`, so a cell that is slower by `hidden` must not be seen below it.
    room = math.log1p(rules.hidden) - math.log1p(rules.suspect)
    return quantile(estimate.freedom, rules.certainty) * estimate.error <= room


def detectable(scatter: float, rules: Rules, screened: int, confirmed: int) -> float:
    """The smallest slowdown detected with 80 % power, by `screened` screening pairs and then `confirmed` fresh pairs.

    `scatter` is the standard deviation of a pair, taken as known; the cell is taken to be the only suspect. `screened`
    is 0 if the cell has passed its screen already. The result is relative: 0.02 is 2 %.
    """
    error = scatter / math.sqrt(confirmed)
    needed = max(math.log1p(rules.regression), quantile(confirmed - 1, 1 - rules.q / len(rules.looks)) * error)

    def power(slowdown: float) -> float:
        probability = _above(slowdown, needed, error)
        if not screened:
            return probability
        return probability * _above(slowdown, math.log1p(rules.suspect), scatter / math.sqrt(screened))

    # The upper end is so far above both limits that such a slowdown is nearly always detected.
    low, high = 0.0, needed + 20 * scatter + math.log1p(rules.suspect)
    # Bisection: 30 steps reach a millionth of a percent, and power has no closed inverse.
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return relative(high)


def at_least(scatter: float, freedom: int, level: float) -> float:
    """The lower bound of the true standard deviation at a one-sided confidence; 0 without degrees of freedom."""
    # `chdtri` takes the probability of the upper tail, and `fdtri` below that of the lower.
    return scatter * math.sqrt(freedom / float(special.chdtri(freedom, 1 - level))) if freedom else 0.0


def relative(log: float) -> float:
    """A log ratio as a relative change. Values that only a damaged file holds are cut, since they would overflow."""
    return math.expm1(min(log, LOG_LIMIT))


def _above(mean: float, limit: float, error: float) -> float:
    """The probability that a normal estimate with this mean and error is above `limit`."""
    if error == 0:
        return float(mean > limit)
    return math.erfc((limit - mean) / error / math.sqrt(2)) / 2
