"""Columns of tables, each with a function that reads its value from an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from bench.records import Outcome
from bench.report import numbers


class Column(NamedTuple):
    """A column that shows an interval, a ratio to the control, or text; None is shown as a dash."""

    heading: str
    unit: str
    """The second, smaller line of the heading; it may be empty."""
    kind: Literal["interval", "ratio", "text", "words"]
    """`words` may wrap and are aligned to the left; the others are aligned like numbers."""
    read: Callable[[Outcome], Any]
    brief: bool = True
    """False if a summary leaves the column out."""

    @property
    def name(self) -> str:
        """The heading on one line: `Decode, tok/s`."""
        return ", ".join(filter(None, (self.heading, self.unit)))

    def text(self, outcome: Outcome) -> str:
        """The value of one outcome as text."""
        value = self.read(outcome)
        if value is None:
            return numbers.DASH
        if self.kind == "interval":
            return numbers.plus_minus(value)
        if self.kind == "ratio":
            # The control's ratio to itself is always 1, and would read as a result.
            control = outcome.speed is not None and outcome.speed.control == outcome.cell.id
            return "control" if control else numbers.ratio(value)
        return str(value)


def filled(columns: Sequence[Column], outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns that have a value for at least one outcome."""
    every = tuple(outcomes)
    return tuple(column for column in columns if any(column.read(outcome) is not None for outcome in every))
