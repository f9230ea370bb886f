"""What a row of `bench.report.metrics` is: one value of a cell, how it is read, and how it is written.

The functions at the end make rows of one kind each, so that a row says no more than what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from bench.records import (
    Cell,
    GenerationSpeed,
    Interval,
    Outcome,
    Parity,
    Run,
    Speed,
    SustainedMinute,
    SustainedSpeed,
    TaskResult,
    Traits,
)
from bench.report import cold_start, numbers
from bench.report.cold_start import StartTimes

Scalar = bool | int | float | str
"""What one column of one cell may hold; missing is None."""
Value = Interval | Scalar | tuple[str, ...]
Part = TypeVar("Part")
Type = Literal["interval", "number", "integer", "text", "list", "boolean"]
"""An `interval` fills three columns: the value, and the ends of its 95 % confidence interval."""

LOW = "Lower end of its 95 % confidence interval; empty after a single round."
HIGH = "Upper end of that interval."
FIRST = "0.1.0"
"""The version of Touchstone that had the first rows."""


class CellResult(NamedTuple):
    """What the rows read: one outcome, the run that it is of, and its speed in an emulator where it has one."""

    run: Run
    outcome: Outcome
    emulator: Speed | None = None

    @property
    def cell(self) -> Cell:
        """The cell of the outcome."""
        return self.outcome.cell

    @property
    def emulated_speed(self) -> Speed | None:
        """The speed of an emulated cell; None of every other."""
        return self.emulator or (self.outcome.speed if self.cell.emulated else None)


class Column(NamedTuple):
    """One column of results.csv."""

    name: str
    type: Type
    meaning: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of a cell: its name, how to read it, and what it means to a reader."""

    name: str
    unit: str
    """`ms`, `tok/s`, `J`, `bytes`, `×` for a ratio, `share` for 0 to 1; empty for counts and texts."""
    type: Type
    read: Callable[[CellResult], Value | None]
    meaning: str
    kind: Literal["metric", "fact"] = "metric"
    """A metric is measured, counted or computed; a fact is a name, a setting or a verdict."""
    is_time: bool = False
    """Whether it says how fast the cell was, or what that cost: an emulated cell has no such value."""
    field: str = ""
    """Of a time: the field of `Outcome` that holds it, which the report of an emulated cell leaves out."""
    ends: str = ""
    """How the columns of the interval's ends begin, where that is not the name."""
    low: str = LOW
    """The meaning of the column of the lower end."""
    form: Callable[[Any, CellResult], str] | None = None
    """How a value is written for people; by default as many figures as its interval supports, and the unit."""
    since: str = FIRST
    """The version of Touchstone that had it first."""

    def value(self, result: CellResult) -> Value | None:
        """The value of one cell; None where it is missing, and for times of a cell that ran in an emulator."""
        # Here too, and not only in the report's outcomes: a row can be read of any outcome.
        if self.is_time and result.cell.emulated:
            return None
        value = self.read(result)
        # Only what holds nothing is missing: a zero is a value.
        return None if value in ("", ()) else value

    def columns(self) -> Iterator[Column]:
        """Its columns in results.csv."""
        if self.type != "interval":
            yield Column(self.name, self.type, self.meaning)
            return
        ends = self.ends or self.name
        yield Column(self.name, "number", self.meaning)
        yield Column(f"{ends}_low", "number", self.low)
        yield Column(f"{ends}_high", "number", HIGH)

    def scalars(self, result: CellResult) -> Iterator[Scalar | None]:
        """The value of each of these columns; a list is joined by `;`, a number that is not finite is missing."""
        value = self.value(result)
        if isinstance(value, Interval):
            # The order of `columns`, to which these values belong one by one.
            yield from map(_finite, (value.value, value.low, value.high))
        elif self.type == "interval":
            yield from (None, None, None)
        else:
            yield ";".join(value) if isinstance(value, tuple) else _finite(value)

    def shown(self, result: CellResult) -> str | None:
        """The value as people read it, `12.3 ± 0.4 ms`; None where it is missing."""
        value = self.value(result)
        if value is None or (isinstance(value, (int, float)) and not math.isfinite(value)):
            return None
        if self.form:
            return self.form(value, result)
        if isinstance(value, Interval):
            return _interval_text(value, self.unit)
        if isinstance(value, (str, tuple)):
            return value if isinstance(value, str) else ", ".join(value)
        return _number_text(value, self.unit)


def _finite(value: Scalar | None) -> Scalar | None:
    # JSON has no NaN and no infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval_text(interval: Interval, unit: str) -> str:
    if unit == "ms":
        return numbers.time(interval)
    if unit == "J":
        return numbers.joules(interval)
    if unit == "×":
        return numbers.ratio(interval)
    return numbers.plus_minus(interval, _suffix(unit))


def _number_text(value: float, unit: str) -> str:
    if unit == "ms":
        return numbers.duration(value)
    if unit == "bytes":
        return numbers.size(value)
    if unit == "share":
        return numbers.percent(value)
    return (numbers.count(value) if isinstance(value, int) else numbers.significant(value)) + _suffix(unit)


def _suffix(unit: str) -> str:
    return unit if unit in {"", "×"} else f" {unit}"


# --- how rows are made ------------------------------------------------------------------------------------------------


def fact(name: str, type_: Type, read: Callable[[CellResult], Value | None], meaning: str) -> Metric:
    """A name, a setting or a verdict."""
    return Metric(name, "", type_, read, meaning, kind="fact")


def size(name: str, unit: str, meaning: str) -> Metric:
    """A size of the cell's workload, by its name in the matrix."""
    return Metric(name, unit, "integer", lambda result: result.cell.sizes.get(name), meaning, kind="fact")


def count(name: str, read: Callable[[Outcome], int | None], meaning: str, unit: str = "") -> Metric:
    """A whole number that no clock decides."""
    return Metric(name, unit, "integer", lambda result: read(result.outcome), meaning)


def time(name: str, unit: str, read: Callable[[Outcome], Interval | None], meaning: str) -> Metric:
    """A time that the outcome holds in a field of the same name."""
    return Metric(name, unit, "interval", lambda result: read(result.outcome), meaning, is_time=True, field=name)


def speed(
    name: str, unit: str, read: Callable[[Speed], Value | None], meaning: str, type_: Type = "interval"
) -> Metric:
    """A part of the cell's speed."""
    return Metric(
        name, unit, type_, lambda result: within(result.outcome.speed, read), meaning, is_time=True, field="speed"
    )


def generation(name: str, unit: str, read: Callable[[GenerationSpeed], Interval | None], meaning: str) -> Metric:
    """A part of the speed of a model that generates."""
    return speed(name, unit, lambda speed: within(speed.generation, read), meaning)


def sustained(
    name: str, unit: str, read: Callable[[SustainedSpeed], Value | None], meaning: str, type_: Type = "number"
) -> Metric:
    """A value of the cell's sustained run."""
    return Metric(
        name,
        unit,
        type_,
        lambda result: within(result.outcome.sustained, read),
        meaning,
        is_time=True,
        field="sustained",
    )


def last(read: Callable[[SustainedMinute], float | None]) -> Callable[[SustainedSpeed], float | None]:
    """A value of the last minute."""
    return lambda sustained: read(sustained.minutes[-1]) if sustained.minutes else None


def start(
    kind: Literal["cold", "cached"], part: str, read: Callable[[StartTimes], float | None], meaning: str
) -> Metric:
    """A time of one start in a process of its own."""

    def value(result: CellResult) -> float | None:
        return read(cold_start.times(result.outcome.cold if kind == "cold" else result.outcome.cached))

    return Metric(f"{kind}_{part}", "ms", "number", value, meaning, is_time=True, field=kind)


def parity(name: str, read: Callable[[Parity], float | None], meaning: str, unit: str = "") -> Metric:
    """A distance of the answers from the reference."""
    return Metric(name, unit, "number", lambda result: within(result.outcome.parity, read), meaning)


def labelled(name: str, read: Callable[[TaskResult], Value | None], meaning: str, type_: Type = "number") -> Metric:
    """A value of the labelled samples."""
    return Metric(name, "", type_, lambda result: within(result.outcome.task, read), meaning)


def trait(name: str, type_: Type, read: Callable[[Traits], Value | None], meaning: str) -> Metric:
    """A fact about how an engine generates."""
    return fact(name, type_, lambda result: within(result.outcome.traits, read), meaning)


def within(part: Part | None, read: Callable[[Part], Value | None]) -> Value | None:
    """A value of a part of the outcome; None where the outcome has no such part."""
    return None if part is None else read(part)


def against_control(ratio: Interval, result: CellResult) -> str:
    """A ratio to the control in text; the control's own says that it is the control."""
    speed = result.outcome.speed
    if speed is not None and speed.control == result.cell.id:
        return "control"
    return numbers.ratio(ratio)


def rate(speed: Speed) -> tuple[str, Interval] | tuple[None, None]:
    """The unit and the value of the first rate of the family."""
    return next(iter(speed.throughput.items()), (None, None))
