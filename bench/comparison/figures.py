"""Compute the times of each cell of a run, one value a block, and its ratios to the control, to compare two runs.

A generative model has one time for prefill and one for decoding, since they are different work. An emulated cell has no
times, since they mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bench.judge import comparisons, generation
from bench.judge.bursts import BlockTimes, block_times, is_shared, times_of
from bench.judge.outcome import ANSWERED, by_cell
from bench.judge.ratios import Ratios
from bench.judge.speed import over_blocks, round_medians
from bench.records import Cell, Interval, Observation, Outcome, Run

CALL, FIRST, DECODE = "call", "first token", "decode"
UNITS = {CALL: "ms", FIRST: "ms", DECODE: "ms a token"}
"""The unit of each figure, by its name."""

Rounds = Mapping[int, float]
"""Milliseconds by the block's number."""
Times = Callable[[Cell, Observation, bool], BlockTimes | None]


class Figure(Struct, frozen=True):
    """One kind of time of one cell."""

    name: str
    """`call`; for generative models `first token` and `decode`, or `call` if both are missing."""
    logs: tuple[float, ...]
    """The natural log of each block's milliseconds."""
    ratio: Interval | None = None
    """Speed relative to the control, from bursts of the same blocks; None without a control, and of the control."""
    control: str | None = None
    """The id of the control cell if there is a ratio to it, or if the cell is the control itself."""

    @property
    def latency(self) -> Interval:
        """Geometric mean in milliseconds, with the same interval as in the report of the run."""
        return over_blocks(self.logs)


def figures(
    run: Run, outcomes: Sequence[Outcome], observations: Sequence[Observation]
) -> dict[str, tuple[Figure, ...]]:
    """The figures of every cell that has a valid speed, by cell id; each cell has at least one figure."""
    grouped = by_cell(observations)
    # The speed of a random model, whose answers nobody could check, is compared with nothing.
    right = [outcome for outcome in outcomes if outcome.status in ANSWERED and not outcome.cell.emulated]
    ratios = _ratios(run, [outcome.cell for outcome in right], grouped)
    return {
        outcome.cell.id: made
        for outcome in right
        if outcome.speed is not None
        and (made := _figures(outcome.cell, outcome.speed.control, grouped.get(outcome.cell.id, ()), ratios))
    }


def _figures(
    cell: Cell, control: str | None, observations: Sequence[Observation], ratios: Mapping[tuple[str, str], Ratios]
) -> tuple[Figure, ...]:
    made = []
    for name, blocks in _times(cell, observations).items():
        own = control == cell.id
        ratio = ratios[cell.model, name].ratio(cell.id, control) if control and not own else None
        logs = tuple(math.log(value) for value in blocks.values())
        made.append(Figure(name, logs, ratio, control if ratio or own else None))
    return tuple(made)


def _times(cell: Cell, observations: Sequence[Observation]) -> dict[str, Rounds]:
    """The blocks of each figure of a cell, in milliseconds."""
    medians = round_medians(observations)
    parts = generation.parts(cell, [observation for observation in observations if observation.round in medians])
    phases = {FIRST: parts.first, DECODE: parts.decode}
    return {name: rounds for name, rounds in phases.items() if rounds} or ({CALL: medians} if medians else {})


def _ratios(
    run: Run, cells: Sequence[Cell], observations: Mapping[str, Sequence[Observation]]
) -> dict[tuple[str, str], Ratios]:
    """The ratios of each model and figure; the scatter of all right cells is in the interval of each."""
    shared = is_shared(run.machine)
    models = dict.fromkeys(cell.model for cell in cells)
    return {
        (model, name): comparisons.by_workload(
            (cell, _blocks(cell, observations.get(cell.id, ()), times, shared)) for cell in cells if cell.model == model
        )
        for model in models
        for name, times in TIMES.items()
    }


def _blocks(cell: Cell, observations: Sequence[Observation], times: Times, shared: bool) -> dict[int, BlockTimes]:
    return {seen.round: made for seen in observations if (made := times(cell, seen, shared))}


def _whole(_: Cell, observation: Observation, shared: bool) -> BlockTimes | None:
    return block_times(observation, shared=shared)


def _first_token(_: Cell, observation: Observation, shared: bool) -> BlockTimes | None:
    timing = observation.timing
    return times_of([made.first_ns for made in timing.generations], timing, shared=shared) if timing else None


TIMES: Mapping[str, Times] = {CALL: _whole, FIRST: _first_token, DECODE: generation.decode_times}
"""How the times of one block are read, by the name of a figure."""
