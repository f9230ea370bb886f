"""The Theil–Sen estimator: how steeply a series rises, however far single values are off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median


def median_slope(values: Sequence[float]) -> float:
    """The median of the slopes of all pairs, in units of the values a step; of two values at least."""
    return median((later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(enumerate(values), 2))
