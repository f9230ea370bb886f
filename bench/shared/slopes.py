"""The Theil–Sen estimator of a series' slope, which outliers hardly change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median


def median_slope(values: Sequence[float]) -> float:
    """The median slope over all pairs of values, in the values' unit per step; needs at least two values."""
    return median((later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(enumerate(values), 2))
