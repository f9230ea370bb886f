"""Compares two cells of one model and workload with each other: how many times as fast one is as the other."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.records import Interval, Outcome, Speed

Pairs = Mapping[tuple[str, str], Interval]
"""How many times as fast the first cell is as the second, by the ids of both."""


def decodes(speed: Speed) -> bool:
    """Whether tokens are decoded, whose speed then ranks the cell."""
    return speed.generation is not None and speed.generation.decode_tok_s is not None


def main_ratio(speed: Speed) -> Interval | None:
    """The ratio to the control of the work that ranks a cell: of decoding where tokens are decoded, else of calls."""
    return speed.generation.decode_ratio if speed.generation and decodes(speed) else speed.ratio_to_control


def main_rate(speed: Speed) -> Interval:
    """The same work a second: tokens where tokens are decoded, else calls."""
    generated = speed.generation
    if generated is not None and generated.decode_tok_s is not None:
        return generated.decode_tok_s
    ends = (speed.latency_ms.value, speed.latency_ms.high, speed.latency_ms.low)
    value, low, high = (None if end is None else 1000 / end for end in ends)
    # The latency has a value, so its inverse has one.
    return Interval(value or 0.0, low, high)


def comparable(ours: Speed, theirs: Speed) -> bool:
    """Whether both have a ratio to the same control, in which what slows a whole round cancels."""
    known = main_ratio(ours) is not None and main_ratio(theirs) is not None
    return known and ours.control is not None and ours.control == theirs.control


def margin(ours: Outcome, theirs: Outcome, known: Pairs) -> Interval | None:
    """How many times as fast `ours` is as `theirs`, with its 95 % interval; None where one has no usable speed.

    `known` holds ratios of whole calls from the blocks that held both cells. Another pair, and one whose tokens are
    compared, has the quotient of both ratios to the control where that is the same, else of both rates. The two are
    taken as independent, so that such an interval is rather too wide: the control's own scatter is in both.
    """
    if ours.speed is None or theirs.speed is None:
        return None
    if not (decodes(ours.speed) or decodes(theirs.speed)):
        if (ours.cell.id, theirs.cell.id) in known:
            return known[ours.cell.id, theirs.cell.id]
        if (theirs.cell.id, ours.cell.id) in known:
            return quotient(Interval(1.0, 1.0, 1.0), known[theirs.cell.id, ours.cell.id])
    pair: tuple[Interval | None, Interval | None] = main_rate(ours.speed), main_rate(theirs.speed)
    if comparable(ours.speed, theirs.speed):
        pair = main_ratio(ours.speed), main_ratio(theirs.speed)
    first, second = pair
    return None if first is None or second is None else quotient(first, second)


def quotient(above: Interval, below: Interval) -> Interval | None:
    """The quotient of two independent positive estimates; no ends where one of them has none, None at zero."""
    if not all(0 < interval.value < math.inf for interval in (above, below)):
        return None
    value = above.value / below.value
    up = _joint(_upward(above), _downward(below))
    down = _joint(_downward(above), _upward(below))
    if up is None or down is None:
        return Interval(value, None, None)
    return Interval(value, value * math.exp(-down), value * math.exp(up))


def _joint(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)


def _upward(interval: Interval) -> float | None:
    """The distance from the value to the upper end, in log units."""
    return None if interval.high is None else _distance(interval.value, interval.high)


def _downward(interval: Interval) -> float | None:
    return None if interval.low is None else _distance(interval.low, interval.value)


def _distance(low: float, high: float) -> float | None:
    # A damaged file may hold an end of 0.
    return math.log(high / low) if 0 < low <= high < math.inf else None
