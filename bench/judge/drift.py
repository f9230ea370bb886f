"""Tests whether the timed calls of a cell drift inside their bursts, from the first third to the last."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import special

from bench.judge import statistics
from bench.shared.slopes import median_slope

LEAST_CALLS = 12
"""Four calls in each third; fewer do not show their scatter."""
BLOCKS = 60
"""A burst is reduced to the medians of this many equal blocks. The slope needs all pairs of values, which would be too
many for a hundred thousand calls, and a single call that the system delayed is not drift."""
SHIFT = 0.02
"""A smaller relative shift is ignored; the warm-up uses the same bound."""
STANDARD_ERRORS, LEAST_INDEPENDENT = 4.0, 6.0
"""How far apart the thirds of one round must be, and the independent calls that each must hold. With these, noise whose
calls have a correlation of 0 to 0.98 is reported as drift in at most 2 % of rounds; tests/unit/test_drift.py simulates
it."""
ALPHA, LEAST_ROUNDS = 0.01, 3
"""The level of the t-test over rounds, and the fewest rounds that it takes."""
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""The standard error of a median over that of a mean, of Gaussian values."""
# The standard deviation of Gaussian values over their median absolute deviation: 1 / 0.6745.
GAUSSIAN_MAD = 1.4826


def burst_drift(rounds: Sequence[Sequence[int]]) -> float:
    """The relative slowdown inside a cell's timed bursts, below 0 for a speedup; 0 where noise explains it.

    `rounds` holds the calls of each round in nanoseconds, in order. Neighbouring calls are correlated, so slow calls at
    the end alone do not show drift. There are two tests: one over the rounds, which are independent of one another, and
    one inside each round, where at least half of the rounds must show drift in the same direction.
    """
    shifts = [shift for shift in map(_shift, rounds) if shift is not None]
    if not shifts:
        return 0.0
    middle = float(np.mean([shift.shift for shift in shifts]))
    same_way = [shift for shift in shifts if shift.is_drift and shift.shift * middle > 0]
    # Against all rounds, so that a round which is too short to be tested counts as one without drift.
    in_half = 2 * len(same_way) >= len(rounds)
    return math.expm1(middle) if in_half or _over_rounds([shift.shift for shift in shifts]) else 0.0


class _Shift(Struct, frozen=True):
    """The change in one round, as a logarithm, from the median of the first third to that of the last."""

    shift: float
    is_drift: bool


def _shift(samples_ns: Sequence[int]) -> _Shift | None:
    """The shift of one round; None for fewer than `LEAST_CALLS` calls."""
    if len(samples_ns) < LEAST_CALLS:
        return None
    # A clock that is too coarse gives 0 ns, which has no logarithm.
    logs = np.log(np.maximum(_blocks(samples_ns), 1.0))
    third = len(logs) // 3
    shift = float(np.median(logs[-third:]) - np.median(logs[:third]))
    slope = median_slope(logs.tolist())
    change = slope * (len(logs) - 1)
    # Both the thirds and the slope must exceed the bound in the same direction.
    far = min(shift, change) > SHIFT or max(shift, change) < -SHIFT
    return _Shift(shift, far and abs(shift) > _noise(logs, slope, third))


def _noise(logs: NDArray[np.float64], slope: float, third: int) -> float:
    """The largest shift that noise explains, as a logarithm; infinite where too few calls are independent."""
    # The trend is removed first: scatter around it is noise, the trend itself is not.
    rest = logs - slope * np.arange(len(logs))
    # Not the standard deviation: one call that the system delayed would raise it, and hide a drift.
    scatter = GAUSSIAN_MAD * float(np.median(np.abs(rest - np.median(rest))))
    # The correlation comes from the whole round, which holds three times as many calls as a third.
    independent = third * statistics.effective_calls([rest.tolist()]) / len(logs)
    # A few calls may agree by chance, and their small scatter would make any shift look like drift.
    if independent < LEAST_INDEPENDENT:
        return math.inf
    # The shift is a difference of two medians, each with an error of its own, hence the factor 2.
    return STANDARD_ERRORS * MEDIAN_ERROR * scatter * math.sqrt(2 / independent)


def _over_rounds(shifts: Sequence[float]) -> bool:
    """Whether the rounds agree on a shift that matters, by a t-test."""
    middle = abs(float(np.mean(shifts)))
    if len(shifts) < LEAST_ROUNDS or middle < SHIFT:
        return False
    critical = float(special.stdtrit(len(shifts) - 1, 1 - ALPHA / 2))
    return middle > critical * float(np.std(shifts, ddof=1)) / math.sqrt(len(shifts))


def _blocks(samples_ns: Sequence[int]) -> NDArray[np.float64]:
    """The medians of equal blocks, in nanoseconds."""
    calls = np.asarray(samples_ns, dtype=np.float64)
    length = max(1, len(calls) // BLOCKS)
    count = len(calls) // length
    # The remainder of the division is dropped at the start, so that the last block ends with the last call.
    blocks: NDArray[np.float64] = np.median(calls[len(calls) - count * length :].reshape(count, length), axis=1)
    return blocks
