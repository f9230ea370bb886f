"""Compute the times of each cell of a run, one value a round, to compare them with other runs.

A generative model has one time for prefill and one for decoding, since they are different work. An emulated cell has no
times, since they mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.judge import generation, statistics
from bench.judge.outcome import ANSWERED, by_cell
from bench.judge.speed import controls, round_medians
from bench.records import Cell, Interval, Observation, Outcome, Run

CALL, FIRST, DECODE = "call", "first token", "decode"
UNITS = {CALL: "ms", FIRST: "ms", DECODE: "ms a token"}
"""The unit of each figure, by its name."""

Rounds = Mapping[int, float]
"""Milliseconds by the round's number."""


class Figure(Struct, frozen=True):
    """One kind of time of one cell."""

    name: str
    """`call`; for generative models `first token` and `decode`, or `call` if both are missing."""
    logs: tuple[float, ...]
    """The natural log of each round's milliseconds."""
    ratios: tuple[float, ...] = ()
    """The natural log of the control's time over the cell's, for each common round; above 0 is faster."""
    control: str | None = None
    """The id of the control cell if there are ratios to it, or if the cell is the control itself."""

    @property
    def latency(self) -> Interval:
        """Geometric mean in milliseconds, with its 95 % interval over rounds."""
        return statistics.interval(self.logs)

    @property
    def ratio(self) -> Interval | None:
        """Speed relative to the control, with its 95 % interval; None without a control and for the control itself."""
        return statistics.interval(self.ratios) if self.ratios else None


def figures(
    run: Run, outcomes: Sequence[Outcome], observations: Sequence[Observation]
) -> dict[str, tuple[Figure, ...]]:
    """The figures of every cell that has a valid speed, by cell id; each cell has at least one figure."""
    grouped = by_cell(observations)
    timed = [
        outcome.cell
        for outcome in outcomes
        # The speed of a random model, whose answers nobody could check, is compared with nothing.
        if outcome.speed is not None and outcome.status in ANSWERED and not outcome.cell.emulated
    ]
    times = {cell.id: _times(cell, grouped.get(cell.id, ())) for cell in timed}
    # A control without a valid speed gives no ratio, and no other control is taken in its place.
    control = {cell: chosen.id for cell, chosen in controls(run.cells).items() if chosen.id in times}
    return {cell: _cell_figures(cell, own, control.get(cell), times) for cell, own in times.items() if own}


def _times(cell: Cell, observations: Sequence[Observation]) -> dict[str, Rounds]:
    """The rounds of each figure of a cell, in milliseconds."""
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
