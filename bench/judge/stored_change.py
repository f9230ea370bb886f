"""Compares the times of two stored runs, and their ratios to a control, as independent estimates (pure).

Stored runs are not paired: the interval of a change of time is that of two independent samples (Welch), and that of a
change of a ratio joins the intervals of both. Neither includes how far the machine drifted between the runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import special

from bench.judge.margins import quotient
from bench.judge.statistics import CONFIDENCE, LOG_LIMIT
from bench.records import Interval

DRIFT = 0.10
"""How far a machine's times drift from one run to a later one; a smaller change proves nothing (MEASUREMENT)."""
# Two default runs of one virtual machine, seven minutes apart, with nothing changed: beyond what their blocks explain,
# the ratios of four models differed by 12, 4, 0 and 0 % (root mean square over pairs of cells).
RATIO_DRIFT = 0.05
"""The same of a ratio to the control: what slows the whole machine cancels, what slows one kind of work does not."""

Direction = Literal["slower", "faster"]


def change(base: Sequence[float], new: Sequence[float]) -> Interval | None:
    """The relative change of the geometric mean from one sample of logs to another, with Welch's 95 % t-interval.

    None without a value on either side; without ends where a side has only one, which does not show its scatter.
    """
    if not base or not new:
        return None
    shift = float(np.mean(new) - np.mean(base))
    margin = _welch_margin(base, new)
    if margin is None:
        return Interval(math.expm1(shift), None, None)
    return Interval(*(math.expm1(min(end, LOG_LIMIT)) for end in (shift, shift - margin, shift + margin)))


def ratio_change(base: Interval | None, new: Interval | None) -> Interval | None:
    """The relative change of a ratio, 0.05 where `new` is 5 % above `base`; without ends where a side has none.

    The distances from the value to the ends add up as squares, so the interval is rather too wide than too narrow.
    """
    factor = quotient(new, base) if base and new else None
    if factor is None:
        return None
    low, high = (None if end is None else end - 1 for end in (factor.low, factor.high))
    return Interval(factor.value - 1, low, high)


def _welch_margin(base: Sequence[float], new: Sequence[float]) -> float | None:
    """Half the length of the interval in log units, with Welch's and Satterthwaite's degrees of freedom."""
    if len(base) < 2 or len(new) < 2:
        return None
    parts = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (base, new)]
    variance = sum(part for part, _ in parts)
    # Rounds that are all equal have no scatter, and the degrees of freedom would divide zero by zero.
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)


def direction(change: Interval | None, faster_is_more: bool = False) -> Direction | None:
    """The direction of a change whose interval excludes 0; None for an interval that includes it or has no ends."""
    if change is None or change.low is None or change.high is None or change.low <= 0 <= change.high:
        return None
    # A ratio that rises is faster, and a time that rises is slower.
    return "faster" if (change.low > 0) == faster_is_more else "slower"


def is_beyond_drift(change: Interval, drift: float = DRIFT) -> bool:
    """Whether the whole interval lies beyond the drift of a machine; False for an interval without ends."""
    if change.low is None or change.high is None:
        return False
    # 1 / 1.1 and not 0.9: a change down must be as far in the logarithm as a change up.
    return change.low > drift or change.high < 1 / (1 + drift) - 1
