"""The times of each cell of a run, one value a round, which other runs are compared with.

A model that generates has a time for each part of the work, since prefill and decoding are different work. An emulated
cell has none: its times mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.judge import generation, statistics
from bench.judge.outcome import by_cell
from bench.judge.speed import controls, round_medians
from bench.records import Cell, Interval, Observation, Outcome, Run

CALL, FIRST, DECODE = "call", "first token", "decode"
UNITS = {CALL: "ms", FIRST: "ms", DECODE: "ms a token"}
"""What a figure is in, by its name."""

Rounds = Mapping[int, float]
"""Milliseconds by the round's number."""


class Figure(Struct, frozen=True):
    """One kind of time of one cell."""

    name: str
    """`call`; of models that generate `first token` and `decode`, and `call` where there is neither."""
    logs: tuple[float, ...]
    """The natural log of each round's milliseconds."""
    ratios: tuple[float, ...] = ()
    """The log of the control's time over the cell's, one a round that both have: above 0 is faster than the control."""
    control: str | None = None
    """The id of the control's cell where there are ratios to it, or the cell is itself the control."""

    @property
    def latency(self) -> Interval:
        """Geometric mean in milliseconds, with its 95 % interval over rounds."""
        return statistics.interval(self.logs)

    @property
    def ratio(self) -> Interval | None:
        """Times the control's speed, with its 95 % interval; None without a control, and for the control."""
        return statistics.interval(self.ratios) if self.ratios else None


def figures(
    run: Run, outcomes: Sequence[Outcome], observations: Sequence[Observation]
) -> dict[str, tuple[Figure, ...]]:
    """The figures of every cell whose speed may be shown, by the cell's id; each has at least one."""
    grouped = by_cell(observations)
    timed = [outcome.cell for outcome in outcomes if outcome.speed is not None and not outcome.cell.emulated]
    times = {cell.id: _times(cell, grouped.get(cell.id, ())) for cell in timed}
    control = {cell: chosen.id for cell, chosen in controls(run.cells).items() if chosen.id in times}
    return {cell: _cell_figures(cell, own, control.get(cell), times) for cell, own in times.items() if own}


def _times(cell: Cell, observations: Sequence[Observation]) -> dict[str, Rounds]:
    """The rounds of each figure that the cell has."""
    medians = round_medians(observations)
    parts = generation.parts(cell, [observation for observation in observations if observation.round in medians])
    phases = {FIRST: parts.first, DECODE: parts.decode}
    return {name: rounds for name, rounds in phases.items() if rounds} or ({CALL: medians} if medians else {})


def _cell_figures(
    cell: str, own: Mapping[str, Rounds], control: str | None, times: Mapping[str, Mapping[str, Rounds]]
) -> tuple[Figure, ...]:
    control_times = times.get(control, {}) if control and control != cell else {}
    result = []
    for name, rounds in own.items():
        ratios = tuple(statistics.paired_logs(rounds, control_times[name])) if name in control_times else ()
        logs = tuple(math.log(value) for value in rounds.values())
        result.append(Figure(name, logs, ratios, control if ratios or control == cell else None))
    return tuple(result)
