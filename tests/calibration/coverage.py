"""Measure the coverage of 95 % intervals by drawing small runs from a recorded run of many blocks.

The blocks of a model are the population: their geometric mean is the true value. Runs are made by drawing blocks at
random, until the comparisons are decided as the standard budget would decide them. This shows whether intervals are
right about variation between blocks; it cannot show drift between hours. Disturbed blocks are left out, since a run
with one is flagged `busy machine`, and its interval promises nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from bench import store
from bench.declare.budgets import effort_named
from bench.judge import statistics
from bench.judge.bursts import BlockTimes, block_times, is_shared
from bench.judge.flags import busy
from bench.judge.ratios import Ratios
from bench.judge.speed import controls, round_medians
from bench.records import Cell, Effort, Interval, Observation

MIN_ROUNDS = 30
DRAWS = 400
LOW, HIGH = 0.93, 0.97

Times = Mapping[str, Mapping[int, BlockTimes]]
"""The times of each cell by block, by the cell's id."""


@dataclass(frozen=True)
class Covered:
    """How often one kind of interval of one cell contained the true value."""

    cell: str
    what: str
    rounds: int
    """Number of recorded rounds."""
    scatter: float
    """Standard deviation of the recorded rounds' logs."""
    covering: int
    """Number of drawn runs whose interval contains the true value."""
    draws: int

    @property
    def share(self) -> float:
        """The share of intervals that contain the true value."""
        return self.covering / self.draws


def replayed(folder: Path, seed: int = 0, draws: int = DRAWS) -> Iterator[Covered]:
    """The coverage of each cell's latency and of its ratio to the control, if enough blocks were recorded."""
    run, observations = store.read(folder)
    effort, control = effort_named("standard"), {cell: chosen.id for cell, chosen in controls(run.cells).items()}
    quiet = [observation for observation in observations if not busy(observation, run.threads)]
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in run.cells:
        blocks = round_medians(_cell_observations(cell.id, quiet))
        if not cell.emulated and len(blocks) >= MIN_ROUNDS:
            places.setdefault((cell.model, cell.workload), []).append(cell)
    for place, cells in places.items():
        by_id = {cell.id: _cell_observations(cell.id, quiet) for cell in cells}
        population = Population(
            medians={cell: round_medians(seen) for cell, seen in by_id.items()},
            times={
                cell: {o.round: times for o in seen if (times := block_times(o, shared=is_shared(run.machine)))}
                for cell, seen in by_id.items()
            },
        )
        # Seeded by model and workload, so that another choice of models does not change the draws.
        rng = np.random.default_rng([seed, *"/".join(place).encode()])
        yield from population.covered(control, effort, rng, draws)


@dataclass(frozen=True)
class Population:
    """The recorded blocks of the cells of a model and a workload."""

    medians: Mapping[str, Mapping[int, float]]
    times: Times

    def covered(
        self, control: Mapping[str, str], effort: Effort, rng: np.random.Generator, draws: int
    ) -> Iterator[Covered]:
        """Count over many runs that are drawn from the blocks."""
        every = Ratios([self.times])
        numbers = sorted({number for blocks in self.medians.values() for number in blocks})
        logs = {cell: {number: math.log(ms) for number, ms in blocks.items()} for cell, blocks in self.medians.items()}
        pairs = [(cell, control[cell]) for cell in self.times if control.get(cell, cell) in set(self.times) - {cell}]
        truth = {pair: ratio.value for pair in pairs if (ratio := every.ratio(*pair))}
        holding: Counter[str | tuple[str, str]] = Counter()
        for _ in range(draws):
            drawn, ratios = self._run(rng.choice(numbers, size=effort.max_rounds).tolist(), effort)
            for cell, blocks in logs.items():
                mean = math.exp(sum(blocks.values()) / len(blocks))
                holding[cell] += _holds(
                    statistics.interval([blocks[number] for number in drawn if number in blocks]), mean
                )
            for pair, value in truth.items():
                holding[pair] += _holds(ratios.ratio(*pair), value)
        for cell, blocks in logs.items():
            yield _row(cell, "latency", list(blocks.values()), holding[cell], draws)
        for pair in truth:
            yield _row(pair[0], "ratio to control", every.logs_of(*pair), holding[pair], draws)

    def _run(self, numbers: Sequence[int], effort: Effort) -> tuple[list[int], Ratios]:
        """The blocks that a run measures, and the ratios that it prints."""
        pairs = list(combinations(self.times, 2))
        for count in range(effort.min_rounds, effort.max_rounds + 1):
            drawn = numbers[:count]
            # Numbered anew, because a block may be drawn twice.
            ratios = Ratios(
                [
                    {
                        cell: {place: blocks[number] for place, number in enumerate(drawn) if number in blocks}
                        for cell, blocks in self.times.items()
                    }
                ]
            )
            if all(ratios.is_decided(*pair, effort.half_width) for pair in pairs):
                break
        return list(drawn), ratios


def _row(cell: str, what: str, logs: Sequence[float], covering: int, draws: int) -> Covered:
    return Covered(cell, what, len(logs), float(np.std(logs, ddof=1)), covering, draws)


def lines(rows: Sequence[Covered]) -> list[str]:
    """One line for each cell and interval, and the share over all."""
    cell_lines = [f"{row.cell}: {row.what}: {100 * row.share:.1f} % ({_recorded(row)})" for row in rows]
    return [*cell_lines, f"all: {100 * total(rows):.1f} % of nominal 95 % intervals hold the truth; 93 to 97 % asked"]


def total(rows: Sequence[Covered]) -> float:
    """The share over all cells."""
    return sum(row.covering for row in rows) / sum(row.draws for row in rows)


def reached(rows: Sequence[Covered]) -> bool:
    """Whether the share over all is within the required range."""
    return LOW <= total(rows) <= HIGH


def _cell_observations(cell: str, observations: Sequence[Observation]) -> list[Observation]:
    return [observation for observation in observations if observation.cell == cell and observation.failure is None]


def _recorded(row: Covered) -> str:
    return f"{row.rounds} rounds that scatter by {100 * row.scatter:.1f} %"


def _holds(interval: Interval | None, truth: float) -> bool:
    # If all blocks are equal, the interval has no width, and rounding may move it off the true value.
    if interval is None or interval.low is None or interval.high is None:
        return False
    return interval.low * (1 - 1e-12) <= truth <= interval.high * (1 + 1e-12)
