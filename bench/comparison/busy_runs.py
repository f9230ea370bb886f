"""Tell whether a cell was measured beside so much load of others that its figures are not compared (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records import Note, Outcome, note

BUSY_SHARE = 1 / 3
"""A cell of which more blocks than this were disturbed is not compared. Fewer widen the interval, which counts them."""


def disturbed(outcome: Outcome | None) -> Note | None:
    """The flag of a cell of which too many blocks were disturbed; None for any other."""
    flag = next((flag for flag in outcome.flags if flag.kind == "busy-machine"), None) if outcome else None
    if flag is None:
        return None
    # Runs of schema 1 have the flag without its figures.
    times, total = flag.values.get("times"), flag.values.get("total")
    few = isinstance(times, int) and isinstance(total, int) and times <= BUSY_SHARE * total
    return None if few else flag


def beside_load(sides: Mapping[str, tuple[Outcome | None, Outcome | None]]) -> Note | None:
    """A note if a cell or its control was measured beside other load in a run: a difference then shows the load.

    `sides` holds the outcome of the cell and that of its control, by `base` and `new`.
    """
    found = {side: [flag for each in pair if (flag := disturbed(each))] for side, pair in sides.items()}
    flags = [flag for own in found.values() for flag in own]
    if not flags:
        return None
    shares = {
        name: max((flag.values.get(name) or 0.0 for flag in flags), default=0.0) or None
        for name in ("others_percent", "stolen_percent")
    }
    return note("busy-runs", sides=tuple(side for side, own in found.items() if own), **shares)
