"""Estimates the mean of few log ratios with a scatter that is borrowed from others of their kind (pure).

Two blocks are too few to estimate the scatter of one ratio, so the ratios of the other cells are used too: the variance
is the mean of the pooled one and the ratio's own, weighted by degrees of freedom (moderated t-test, Smyth 2004). With
the pooled variance alone, a noisy cell could hide a difference; with its own alone, every ratio would need many blocks.
A run and a gate share these functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, median

from msgspec import Struct
from scipy import special

OUTLIER = 3.0
"""Deviations are cut at this many robust standard deviations before they are pooled, so that one delayed process does
not make all cells look noisy. In its own cell it counts in full."""
NORMAL_MEDIAN = 0.6745
"""The median of |x| of a standard normal x."""


class Moderated(Struct, frozen=True):
    """A mean of log ratios with its scatter."""

    mean: float
    scatter: float
    """Standard deviation of one log ratio."""
    count: int
    freedom: float
    """Degrees of freedom of `scatter`."""
    own: int
    """How many of them are the ratio's own."""

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.scatter / math.sqrt(self.count)


def moderated(
    values: Sequence[float], scatter: float, freedom: float, prior: float, outlying: float
) -> Moderated | None:
    """Estimate from some log ratios and the pooled `scatter` of their kind, which has `freedom` degrees of freedom.

    The pooled scatter weighs as much as `prior` degrees of freedom. Ratios that scatter significantly more than it
    (F-test at `outlying`) are judged by themselves alone. None where no degree of freedom is left.
    """
    mean, count = fmean(values), len(values)
    squares = sum((value - mean) ** 2 for value in values)
    if count > 1 and freedom > 0 and squares > (count - 1) * scatter**2 * _most_alike(count - 1, freedom, outlying):
        prior = 0
    total = prior + count - 1
    if total <= 0:
        return None
    return Moderated(mean, math.sqrt((prior * scatter**2 + squares) / total), count, total, count - 1)


def pooled(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation of a value in its group, with degrees of freedom; (0, 0) if no group has two values."""
    several = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return 0.0, 0
    deviations: list[float] = []
    for values in several:
        mean, unbiased = fmean(values), math.sqrt(len(values) / (len(values) - 1))
        # A mean of few values is close to them, so their deviations are enlarged to be unbiased.
        deviations += [abs(value - mean) * unbiased for value in values]
    # The median is not moved by the outliers that the limit is to cut.
    limit = OUTLIER * median(deviations) / NORMAL_MEDIAN
    return math.sqrt(
        fmean([min(deviation, limit) ** 2 if limit else deviation**2 for deviation in deviations])
    ), freedom


@lru_cache(maxsize=1024)
def quantile(freedom: float, level: float) -> float:
    """The quantile of Student's t; cached, since the ratios of a run need the same few."""
    return float(special.stdtrit(freedom, level))


@lru_cache(maxsize=1024)
def _most_alike(freedom: int, pooled_freedom: float, chance: float) -> float:
    """The ratio of two equal variances that is exceeded with the probability `chance`."""
    return float(special.fdtri(freedom, pooled_freedom, 1 - chance))
