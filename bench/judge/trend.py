"""A series of rounds or minutes in, how it went out: Theil–Sen's slope, and the first third beside the last (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from bench.shared.slopes import median_slope

MIN_VALUES = 3


class Trend(Struct, frozen=True):
    """How a series of positive values went."""

    slope: float
    """Theil–Sen's change from the first value to the last, relative to their median."""
    first: float
    """The median of the first third."""
    last: float
    """The median of the last third."""

    @property
    def shift(self) -> float:
        """From the first third to the last, 0.05 for five per cent more."""
        return self.last / self.first - 1

    def rose(self, by: float) -> bool:
        """Whether the last third is higher by more than this, and most pairs do not say the opposite."""
        return self.shift > by and self.slope >= 0

    def fell(self, by: float) -> bool:
        """Whether the last third is lower by more than this, and most pairs do not say the opposite."""
        return self.shift < -by and self.slope <= 0


def trend(values: Sequence[float]) -> Trend | None:
    """How positive values went; None under three of them, or where one is not positive."""
    if len(values) < MIN_VALUES or min(values) <= 0:
        return None
    third = len(values) // 3
    return Trend(slope(values), median(values[:third]), median(values[-third:]))


def between(first: Sequence[float], last: Sequence[float]) -> Trend | None:
    """From some values to some later ones, as from a cell's rounds to a sustained run; None where one side has none."""
    if not first or not last or min(*first, *last) <= 0:
        return None
    before, after = median(first), median(last)
    return Trend(2 * (after - before) / (after + before), before, after)


def slope(values: Sequence[float]) -> float:
    """The median slope over all pairs times the length, over the median value: no single one can make or hide it."""
    return median_slope(values) * (len(values) - 1) / median(values)
