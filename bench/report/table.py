"""Columns of tables, each with how it reads an outcome; a table leaves out those without a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from bench.records import Outcome
from bench.report import numbers


class Column(NamedTuple):
    """What a column shows of an outcome: an interval, a ratio to the control, or text; None is a dash."""

    heading: str
    unit: str
    """The second, smaller line of the heading; may be empty."""
    kind: Literal["interval", "ratio", "text", "words"]
    """`words` may be broken into lines and stand to the left; all else is a number."""
    read: Callable[[Outcome], Any]
    brief: bool = True
    """False for what a summary does without."""

    @property
    def name(self) -> str:
        """The heading on one line: `Decode, tok/s`."""
        return ", ".join(filter(None, (self.heading, self.unit)))

    def text(self, outcome: Outcome) -> str:
        """The figure as text."""
        value = self.read(outcome)
        if value is None:
            return numbers.DASH
        if self.kind == "interval":
            return numbers.plus_minus(value)
        if self.kind == "ratio":
            control = outcome.speed is not None and outcome.speed.control == outcome.cell.id
            return "control" if control else numbers.ratio(value)
        return str(value)


def filled(columns: Sequence[Column], outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """Without those that no outcome has anything for."""
    every = tuple(outcomes)
    return tuple(column for column in columns if any(column.read(outcome) is not None for outcome in every))
