"""Estimates the loss of a metric on the same samples as a reference: interval, test, and the samples that it needs.

Answers that are right or wrong are compared by the samples that only one side has right: the score interval for paired
proportions (Tango, 1998), and the mid-p form of McNemar's test (Fagerland, Lydersen and Laake, 2013). Any other metric
is compared by a jackknife over samples, with a t-interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import special

from bench.judge.statistics import CONFIDENCE, POWER

MOST_GROUPS = 200
"""More samples are left out group by group: the time of a jackknife grows with the square of the samples."""
STEPS = 60
"""Halvings of a root's bracket: more than doubles can hold."""

Values = NDArray[np.float64]


class PairedLoss(Struct, frozen=True):
    """The loss of one side against the other; above 0 is worse. A share is 1 for the whole range of a metric."""

    value: float
    low: float
    high: float
    worse: float
    """One-sided p-value: how likely so large a loss is where there is none."""
    variance: float
    """Of the difference of one sample."""


def of_binary(reference: Values, ours: Values) -> PairedLoss:
    """The loss of the share of right samples, from columns of 0 and 1 of equal length."""
    only_reference = int(((reference > 0.5) & (ours < 0.5)).sum())
    only_ours = int(((ours > 0.5) & (reference < 0.5)).sum())
    count = len(reference)
    difference = (only_reference - only_ours) / count
    low, high = score_interval(only_reference, only_ours, count)
    return PairedLoss(
        value=difference,
        low=low,
        high=high,
        worse=mid_p(only_reference, only_ours),
        # One more sample that differs, because a small set in which none does cannot show that none would.
        variance=(only_reference + only_ours + 1) / (count + 1) - difference**2,
    )


def mid_p(worse: int, better: int) -> float:
    """The chance of as many of the differing samples, or more, on the side that is worse, if both are as likely.

    Half of the chance of exactly as many counts: the exact test rejects too rarely.
    """
    count = worse + better
    if not count:
        return 1.0
    # The upper tail of a binomial distribution with p = 1/2.
    above = float(special.bdtrc(worse, count, 0.5)) if worse < count else 0.0
    exactly = math.exp(math.lgamma(count + 1) - math.lgamma(worse + 1) - math.lgamma(better + 1) - count * math.log(2))
    return above + exactly / 2


def score_interval(first: int, second: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of (first - second) / count, for samples that only one of two sides has right (Tango)."""
    critical = float(special.ndtri((1 + CONFIDENCE) / 2))
    estimate = (first - second) / count

    def statistic(delta: float) -> float:
        return _score(first, second, count, delta)

    low = _root(lambda delta: statistic(delta) - critical, -1.0, estimate)
    high = _root(lambda delta: statistic(delta) + critical, estimate, 1.0)
    return low, high


def _score(first: int, second: int, count: int, delta: float) -> float:
    """Tango's statistic: the difference less `delta`, over its standard error where `delta` is true."""
    a = 2 * count
    b = -first - second + (2 * count - first + second) * delta
    c = -second * delta * (1 - delta)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = count * (2 * share + delta * (1 - delta))
    distance = first - second - count * delta
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from `low` to `high` is zero; an end where it does not cross."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def of_jackknife(loss: Callable[[NDArray[Any]], float], count: int) -> PairedLoss | None:
    """The loss with a t-interval from leaving out samples; None with one sample, or where it is not finite.

    `loss` computes it from the samples at some places. Beyond `MOST_GROUPS` samples, groups of them are left out.
    """
    groups = min(count, MOST_GROUPS)
    if groups < 2:
        return None
    # Neighbours go to different groups, because files are often sorted by class or topic.
    place = np.arange(count) % groups
    whole = loss(np.arange(count))
    without = np.array([loss(np.flatnonzero(place != group)) for group in range(groups)])
    if not math.isfinite(whole) or not np.isfinite(without).all():
        return None
    pseudo = groups * whole - (groups - 1) * without
    squares = (pseudo - pseudo.mean()) ** 2
    # The largest counts twice: where few samples differ, another one that does may be missing by chance. Without it the
    # interval covers 92 % where a tenth of a hundred samples differ.
    error = math.sqrt(float(squares.sum() + squares.max()) / (groups - 1) / groups)
    margin = float(special.stdtrit(groups - 1, (1 + CONFIDENCE) / 2)) * error
    # Where all samples are equal nothing scatters, and only a loss of zero is sure.
    worse = float(special.stdtr(groups - 1, -whole / error)) if error > 0 else 1.0
    return PairedLoss(whole, whole - margin, whole + margin, worse, count * error**2)


def needed(variance: float, effect: float) -> int | None:
    """The samples that show a loss of `effect` with 80 % power at 95 %; None where no sample differs."""
    if variance <= 0:
        return None
    reach = float(special.ndtri((1 + CONFIDENCE) / 2) + special.ndtri(POWER))
    return math.ceil(variance * (reach / effect) ** 2)
