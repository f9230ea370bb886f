"""Measure the coverage of 95 % intervals by drawing small runs from a recorded run of many rounds.

The rounds of a cell are the population: their geometric mean is the true value. Runs are made by drawing as many rounds
at random as the standard budget would measure. This shows whether intervals are right about variation between rounds;
it cannot show drift between hours. Disturbed rounds are left out, since a run with one is flagged `busy machine`, and
its interval promises nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import store
from bench.declare.budgets import effort_named
from bench.judge import statistics
from bench.judge.flags import busy
from bench.judge.speed import controls, round_medians
from bench.records import Effort, Interval, Observation

MIN_ROUNDS = 30
DRAWS = 2000
LOW, HIGH = 0.93, 0.97


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
    """The coverage of each cell's latency and of its ratio to the control, if enough rounds were recorded."""
    run, observations = store.read(folder)
    effort, control = effort_named("standard"), controls(run.cells)
    quiet = [observation for observation in observations if not busy(observation, run.threads)]
    medians = {cell.id: round_medians(_cell_observations(cell.id, quiet)) for cell in run.cells if not cell.emulated}
    for cell, cell_medians in medians.items():
        if len(cell_medians) < MIN_ROUNDS:
            continue
        # Seeded by cell, so that another choice of cells does not change its draws.
        rng = np.random.default_rng([seed, *cell.encode()])
        yield _covered(cell, "latency", cell_medians, {}, effort, rng, draws)
        control_medians = medians.get(control[cell].id, {}) if cell in control and control[cell].id != cell else {}
        both = {number: ms for number, ms in cell_medians.items() if number in control_medians}
        if len(both) >= MIN_ROUNDS:
            yield _covered(cell, "ratio to control", both, control_medians, effort, rng, draws)


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


def _covered(
    cell: str,
    what: str,
    cell_medians: Mapping[int, float],
    control_medians: Mapping[int, float],
    effort: Effort,
    rng: np.random.Generator,
    draws: int,
) -> Covered:
    """Count over many runs; `theirs` is empty for the latency itself."""
    latency = np.log(list(cell_medians.values()))
    values = np.array(statistics.paired_logs(cell_medians, control_medians)) if control_medians else latency
    truth = math.exp(float(values.mean()))
    covering = 0
    for _ in range(draws):
        drawn = rng.integers(0, len(values), size=effort.max_rounds)
        interval = statistics.interval(values[drawn[: _rounds(latency[drawn], effort)]].tolist())
        covering += _holds(interval, truth)
    return Covered(cell, what, len(values), float(values.std(ddof=1)), covering, draws)


def _rounds(latency: np.ndarray, effort: Effort) -> int:
    """The number of rounds that a budget would measure: more while the latency's interval is too wide."""
    assert effort.half_width is not None
    enough = (n for n in range(effort.min_rounds, effort.max_rounds) if _width(latency[:n]) <= effort.half_width)
    return next(enough, effort.max_rounds)


def _width(latency: np.ndarray) -> float:
    width = statistics.half_width(latency.tolist())
    assert width is not None
    return width


def _holds(interval: Interval, truth: float) -> bool:
    # If all rounds are equal, the interval has no width, and rounding may move it off the true value.
    assert interval.low is not None
    assert interval.high is not None
    return interval.low * (1 - 1e-12) <= truth <= interval.high * (1 + 1e-12)
