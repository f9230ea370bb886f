"""Decide what a change of time and a change of the ratio to the control show together, for one figure (pure).

The verdict rests on the surer of the two: the one whose interval, with the drift that is not in it, is narrower. The
other one is named beside it, and makes the verdict unclear where both contradict each other.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from bench.comparison.model import SpeedVerdict
from bench.judge.stored_change import DRIFT, RATIO_DRIFT, Direction, direction, is_beyond_drift
from bench.records import Interval

Basis = Literal["time", "ratio"]


class Evidence(Struct, frozen=True):
    """One of the two changes."""

    basis: Basis
    change: Interval | None

    @property
    def drift(self) -> float:
        """How far it drifts from run to run without any change."""
        return RATIO_DRIFT if self.basis == "ratio" else DRIFT

    @property
    def direction(self) -> Direction | None:
        """The direction that its interval shows."""
        return direction(self.change, faster_is_more=self.basis == "ratio")

    @property
    def is_beyond_drift(self) -> bool:
        """Whether its whole interval lies beyond its drift."""
        return self.change is not None and is_beyond_drift(self.change, self.drift)

    @property
    def unsureness(self) -> float:
        """Half of its interval and its drift, in log units; infinite without an interval."""
        if self.change is None or self.change.low is None or self.change.high is None or self.change.low <= -1:
            return math.inf
        return (math.log1p(self.change.high) - math.log1p(self.change.low)) / 2 + math.log1p(self.drift)

    def allows(self, other: Evidence) -> bool:
        """Whether its interval holds what the other one changed by; True without an interval."""
        if self.change is None or self.change.low is None or self.change.high is None or other.change is None:
            return True
        value = other.change.value
        # A time that doubles is a ratio that halves.
        own = value if other.basis == self.basis else 1 / (1 + value) - 1
        return self.change.low <= own <= self.change.high


class Decision(Struct, frozen=True):
    """What both changes of a figure show."""

    verdict: SpeedVerdict
    basis: Basis
    """Which of the two it rests on."""
    shown: Direction | None
    """What that one shows, drift left aside."""
    other: Direction | None
    """What the other one shows, drift left aside."""
    has_other: bool
    """Whether the other one has an interval."""


def decide(time: Interval | None, ratio: Interval | None, *, control_changed: bool = False) -> Decision | None:
    """The verdict on two runs of one machine; None where neither change has an interval.

    A ratio to a control that changed itself is never what a verdict rests on.
    """
    sides = [Evidence("ratio", ratio), Evidence("time", time)]
    if control_changed:
        sides.reverse()
    # Of two that are equally sure, the first.
    first, other = sides if control_changed else sorted(sides, key=lambda each: each.unsureness)
    if math.isinf(first.unsureness):
        if math.isinf(other.unsureness):
            return None
        # Only the ratio to a changed control is known: what it shows may be of the control alone.
        verdict: SpeedVerdict = "unclear" if other.direction else "no difference shown"
        return Decision(verdict, other.basis, other.direction, None, has_other=False)
    return Decision(
        _verdict(first, other, control_changed),
        first.basis,
        first.direction,
        other.direction,
        has_other=not math.isinf(other.unsureness),
    )


def _verdict(first: Evidence, other: Evidence, control_changed: bool) -> SpeedVerdict:
    if first.direction is None:
        if control_changed:
            return "unclear" if other.direction else "no difference shown"
        # A machine that is slower as a whole moves the time alone; the ratio then excludes that change.
        explained = not other.is_beyond_drift or not first.allows(other)
        return "no difference shown" if explained else "unclear"
    # The time of a machine that drifts contradicts nothing; a ratio does, where it excludes what the time shows.
    against = other.is_beyond_drift or (other.basis == "ratio" and not other.allows(first))
    contradicts = not control_changed and other.direction != first.direction and against
    return first.direction if first.is_beyond_drift and not contradicts else "unclear"
