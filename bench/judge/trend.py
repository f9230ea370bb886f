"""Describes how a series of rounds or minutes changes: Theil–Sen slope, first third and last third (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from bench.shared.slopes import median_slope

# Each third needs a value.
MIN_VALUES = 3


class Trend(Struct, frozen=True):
    """The change over a series of positive values."""

    slope: float
    """The Theil–Sen change from the first value to the last, relative to the median of all."""
    first: float
    """The median of the first third."""
    last: float
    """The median of the last third."""

    @property
    def shift(self) -> float:
        """The relative change from the first third to the last, 0.05 for 5 % more."""
        return self.last / self.first - 1

    def rose(self, by: float) -> bool:
        """Whether the last third is higher by more than `by`, and the slope does not contradict it."""
        # A jump at the end alone is a rise, unless most pairs of values go the other way.
        return self.shift > by and self.slope >= 0

    def fell(self, by: float) -> bool:
        """Whether the last third is lower by more than `by`, and the slope does not contradict it."""
        return self.shift < -by and self.slope <= 0


def trend(values: Sequence[float]) -> Trend | None:
    """The trend of a series; None under three values, or where one is not positive."""
    if len(values) < MIN_VALUES or min(values) <= 0:
        return None
    third = len(values) // 3
    return Trend(slope(values), median(values[:third]), median(values[-third:]))


def between(first: Sequence[float], last: Sequence[float]) -> Trend | None:
    """The trend from some values to later ones, as from rounds to a sustained run; None where a side is empty."""
    if not first or not last or min(*first, *last) <= 0:
        return None
    before, after = median(first), median(last)
    # Two groups have no Theil–Sen slope; their difference over the mean of both stands for it.
    return Trend(2 * (after - before) / (after + before), before, after)


def slope(values: Sequence[float]) -> float:
    """The median slope over all pairs times the length, relative to the median value; robust to a single outlier."""
    return median_slope(values) * (len(values) - 1) / median(values)
