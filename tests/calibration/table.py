"""Format the figures of simulated gates as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tests.calibration.figures import Figure, Row
from tests.calibration.gates import Counts

PAIR_S = 6.0
"""Seconds of a pair of a small model: two processes load, warm up and run six bursts each."""
HEAD = ("", "share", "95 % interval", "asked", "reached")
WIDTHS = (40, 8, 18, 14, 0)


def lines(kind: str, rows: Sequence[Row]) -> list[str]:
    """The table of one kind of machine."""
    return [f"\n{kind}", _line(HEAD), *(_line(_cells(row)) for row in rows)]


def cost(counts: Counts) -> str:
    """The duration of a gate: `248 pairs a gate, 25 min at 6 s a pair`."""
    pairs = counts.pairs / counts.gates
    return f"no change: {pairs:.0f} pairs a gate, {pairs * PAIR_S / 60:.0f} min at {PAIR_S:g} s a pair"


def _cells(row: Row) -> tuple[str, ...]:
    low, high = (_percent(end) for end in row.ends())
    return row.figure.what, _percent(row.rate), f"{low} to {high}", _asked(row.figure), row.reached()


def _line(cells: Sequence[str]) -> str:
    return "  " + " ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _asked(figure: Figure) -> str:
    if figure.least and figure.most < 1:
        return f"{100 * figure.least:g} to {100 * figure.most:g} %"
    if figure.least:
        return f"at least {100 * figure.least:g} %"
    return f"at most {100 * figure.most:g} %" if figure.most < 1 else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"
