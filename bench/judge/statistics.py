"""Computes geometric means with 95 % intervals, percentiles, and the smallest resolvable difference.

The replicate is the round, one fresh process, and never the call: calls of one process share its memory layout, its
threads and its time of day (see MEASUREMENT, "Why the usual way fails"). So each round gives one value to an interval,
as its logarithm, because noise multiplies. The quantiles come from `scipy.special`, because `scipy.stats` takes half a
second longer to import, in the process that starts the workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.records import Interval

CONFIDENCE = 0.95
POWER = 0.8
CALLS_FOR = {90: 64, 95: 130, 99: 662}
"""Independent calls that a percentile needs: with 99 % confidence at least two of them lie beyond it (binomial)."""
CALLS_EACH = {rank: calls // 10 for rank, calls in CALLS_FOR.items()}
"""Calls that a round needs for a percentile of its own; with fewer, the percentile would be its slowest call."""
LOG_LIMIT = 700.0
"""exp() overflows a little above this; only times from a damaged file scatter so much."""


def interval(logs: Sequence[float]) -> Interval:
    """The geometric mean of values given as natural logarithms, one a round, with its 95 % t-interval.

    Fewer than two values have no interval: both ends are None. `ValueError` if there is no value, or one is not finite.
    """
    values = _finite(logs)
    middle = float(values.mean())
    margin = _margin(values)
    if margin is None:
        return Interval(math.exp(middle), None, None)
    return Interval(math.exp(middle), math.exp(middle - margin), math.exp(middle + margin))


def typical(values: Iterable[float | None]) -> Interval | None:
    """The geometric mean of one value a round with its 95 % t-interval; None where no round has one.

    Missing values are left out, and so are zeros, which a clock or a meter gives that does not advance.
    """
    known = [math.log(value) for value in values if value is not None and 0 < value < math.inf]
    return interval(known) if known else None


def half_width(logs: Sequence[float]) -> float | None:
    """The relative half width of `interval(logs)`, 0.02 for 2 %, on its longer, upper side; None under two values."""
    margin = _margin(_finite(logs)) if len(logs) > 1 else None
    return None if margin is None else math.expm1(margin)


def paired_logs(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """One log(theirs / ours) for each round that both sides have, in the rounds' order; of times, so above 0 is faster.

    Both are positive durations by round, in the same unit. What slows a whole round affects both sides and cancels.
    """
    return [math.log(theirs[number] / duration) for number, duration in ours.items() if number in theirs]


def resolvable(logs: Sequence[float]) -> float | None:
    """The smallest relative difference that values of this scatter, one a block, detect; None under two values."""
    if len(logs) < 2:
        return None
    values = _finite(logs)
    return smallest_difference(len(values) - 1, _standard_error(values))


def smallest_difference(freedom: float, error: float) -> float:
    """The smallest true relative difference that is detected with 80 % power, 0.03 for 3 %.

    `error` is the standard error of a mean of log ratios, and `freedom` the degrees of freedom of its scatter. The
    answer is the effect that a two-sided 5 % t-test finds with 80 % power (non-central t, scatter taken as known).

    The half width of the interval would be smaller, but a true difference of that size is detected only every second
    time, so it would promise too much. The report shows it already, as the interval.
    """
    critical = special.stdtrit(freedom, (1 + CONFIDENCE) / 2)
    # The non-central t of scipy.special gives the non-centrality at which the test has the wanted power.
    shift = float(special.nctdtrinc(freedom, 1 - POWER, critical))
    return math.expm1(min(shift * error, LOG_LIMIT))


def percentiles(bursts: Sequence[Sequence[float]]) -> dict[int, Interval | None]:
    """The 50th, 90th, 95th and 99th percentile of a process's calls, in their unit; None where too few calls count.

    `bursts` holds the calls of one round each, in the order they were made. Each round has percentiles of its own, and
    the answer is their geometric mean over the rounds with its t-interval. It estimates what a process shows, as the
    latency does for the 50th. Correlated calls, and processes that differ more than their calls, widen the interval.
    An interval from the order statistics of all calls pooled would treat calls of one process as independent, and with
    three to ten processes no order statistic covers the 99th percentile of a mixture of them. A round's own percentile
    is the median-unbiased one (Hyndman and Fan's type 8), because the plain one is too low in short rounds. Rounds
    under `CALLS_EACH` are left out; the rest must have `CALLS_FOR` independent calls together.
    """
    middle = typical(float(np.median(burst)) for burst in bursts if len(burst))
    return {50: middle, **{rank: _tail(bursts, rank) for rank in CALLS_FOR}}


def _tail(bursts: Sequence[Sequence[float]], rank: int) -> Interval | None:
    long_enough = [burst for burst in bursts if len(burst) >= CALLS_EACH[rank]]
    if effective_calls(long_enough) < CALLS_FOR[rank]:
        return None
    return typical(float(np.percentile(burst, rank, method="median_unbiased")) for burst in long_enough)


def effective_calls(bursts: Sequence[Sequence[float]]) -> float:
    """The number of independent calls that the n calls of some bursts amount to: n (1 - rho) / (1 + rho), from 1 to n.

    `rho` is the calls' lag-1 autocorrelation inside bursts. The formula is that of a mean of an AR(1) series; whether a
    call lies beyond a percentile is correlated less than the calls are, so the result is on the low side, and a
    percentile is left out rather than shown without enough calls. 0 without a call.
    """
    count = sum(len(burst) for burst in bursts)
    rho = autocorrelation(bursts)
    # Calls that alternate have a negative rho and would count as more than there are.
    return min(max(count * (1 - rho) / (1 + rho), 1.0), float(count))


def autocorrelation(bursts: Sequence[Sequence[float]]) -> float:
    """The lag-1 autocorrelation inside bursts, pooled over them, in -0.99 … 0.99; 0 where no burst can tell.

    It is computed from ranks, because one call that the system delayed by fifty times its length would hide any
    correlation, and is then mapped to the scale of a Gaussian series. Ranks are taken about a burst's own mean and
    spread. That lowers the plain estimate by (1 + 3 rho) / n in bursts of n calls (Kendall, 1954), and short bursts
    would look independent; the estimate is corrected for it. Bursts under six calls are left out; even ten calls are
    too few for a percentile.
    """
    ranked = [_ranks(burst) for burst in bursts if len(burst) >= 6]
    squares = sum(float(ranks @ ranks) for ranks in ranked)
    # With a coarse clock all calls may be equal; they count as independent.
    if squares == 0:
        return 0.0
    calls = sum(len(ranks) for ranks in ranked)
    products = sum(float(ranks[:-1] @ ranks[1:]) for ranks in ranked)
    # Means, and not sums: each burst has one pair of neighbours less than it has calls.
    by_rank = (products / (calls - len(ranked))) / (squares / calls)
    # The correction takes all bursts as equally long.
    length = calls / len(ranked)
    # The correction solves r = rho - (1 + 3 rho) / n for rho.
    unbiased = (by_rank * length + 1) / (length - 3)
    # Spearman's correlation of Gaussian values is 6 / pi * asin(rho / 2); this is its inverse.
    gaussian = 2 * math.sin(math.pi / 6 * min(max(unbiased, -1.0), 1.0))
    # At -1 `effective_calls` would divide by zero.
    return min(max(gaussian, -0.99), 0.99)


def _margin(values: NDArray[np.float64]) -> float | None:
    """Half the length of the t-interval, in log units; None under two values."""
    if len(values) < 2:
        return None
    return float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * _standard_error(values)


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    series = np.asarray(values, dtype=np.float64)
    if series.size == 0 or not np.isfinite(series).all():
        raise ValueError(f"statistics need at least one value, all finite, and got {list(values)}")
    return series


def _ranks(burst: Sequence[float]) -> NDArray[np.float64]:
    """Ranks about their mean, in shares of the burst; equal calls, as coarse clocks make them, share a rank."""
    _, place, counts = np.unique(np.asarray(burst, dtype=float), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: NDArray[np.float64] = (middle[place] - (len(burst) + 1) / 2) / len(burst)
    return ranks
