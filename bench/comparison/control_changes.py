"""Tell which controls changed themselves between two runs, so that ratios to them prove nothing (pure).

A control changed where its versions, threads, recipe or source did. Where nothing of it changed, and every cell of
which nothing changed either moved the same way against it, it moved alone: the machine did what slows its kind of work.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from bench.judge.stored_change import direction
from bench.records import Interval

WITNESSES = 3
"""Unchanged cells that must agree. Fewer may have moved themselves. In 150 simulated pairs of equal runs of five cells
and three blocks, no control moved alone."""


class Seen(Struct, frozen=True):
    """The change of one ratio."""

    cell: str
    figure: str
    control: str
    change: Interval
    is_unchanged: bool
    """Whether nothing that the runs record of the cell changed."""


def moved_alone(seen: Iterable[Seen]) -> frozenset[tuple[str, str]]:
    """The controls that moved alone, each with the name of the figure."""
    groups: dict[tuple[str, str], list[Interval]] = {}
    for each in seen:
        if each.is_unchanged and each.change.low is not None:
            groups.setdefault((each.control, each.figure), []).append(each.change)
    return frozenset(place for place, changes in groups.items() if _agree(changes))


def _agree(changes: list[Interval]) -> bool:
    """Whether all point the same way, and most of them by an interval that excludes 0."""
    upwards = {change.value > 0 for change in changes}
    shown = sum(direction(change) is not None for change in changes)
    return len(changes) >= WITNESSES and len(upwards) == 1 and 2 * shown > len(changes)
