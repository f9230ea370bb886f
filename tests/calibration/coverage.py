"""A recorded run of many rounds in; how often the intervals that a run of few of them prints hold the truth, out.

The rounds of a cell stand for all rounds there could be: their geometric mean is the truth, and runs are made of them
by drawing rounds at random, as many as the standard budget would have asked for. What the rounds of one hour have in
common, another hour would show; this says whether the intervals are right about the rounds they know. Rounds that
others disturbed are left out: a run with one of them is flagged `busy machine`, and its interval is no promise.
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
    """How often one kind of interval of one cell held the truth."""

    cell: str
    what: str
    rounds: int
    """Recorded."""
    scatter: float
    """Standard deviation of the recorded rounds' logs."""
    covering: int
    draws: int

    @property
    def share(self) -> float:
        """Of the intervals that held the truth."""
        return self.covering / self.draws


def replayed(folder: Path, seed: int = 0, draws: int = DRAWS) -> Iterator[Covered]:
    """The coverage of each cell's latency, and of its ratio to its control, where enough rounds were recorded."""
    run, observations = store.read(folder)
    effort, control = effort_named("standard"), controls(run.cells)
    quiet = [observation for observation in observations if not busy(observation, run.threads)]
    medians = {cell.id: round_medians(_cell_observations(cell.id, quiet)) for cell in run.cells if not cell.emulated}
    for cell, cell_medians in medians.items():
        if len(cell_medians) < MIN_ROUNDS:
            continue
        rng = np.random.default_rng([seed, *cell.encode()])
        yield _covered(cell, "latency", cell_medians, {}, effort, rng, draws)
        control_medians = medians.get(control[cell].id, {}) if cell in control and control[cell].id != cell else {}
        both = {number: ms for number, ms in cell_medians.items() if number in control_medians}
        if len(both) >= MIN_ROUNDS:
            yield _covered(cell, "ratio to control", both, control_medians, effort, rng, draws)


def lines(rows: Sequence[Covered]) -> list[str]:
    """One line a cell and interval, and the share over all."""
    cell_lines = [f"{row.cell}: {row.what}: {100 * row.share:.1f} % ({_recorded(row)})" for row in rows]
    return [*cell_lines, f"all: {100 * total(rows):.1f} % of nominal 95 % intervals hold the truth; 93 to 97 % asked"]


def total(rows: Sequence[Covered]) -> float:
    """The share over all cells."""
    return sum(row.covering for row in rows) / sum(row.draws for row in rows)


def reached(rows: Sequence[Covered]) -> bool:
    """Whether the share over all is where it should be."""
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
    """The rounds that a budget would have asked for: more while the latency's interval is too wide."""
    assert effort.half_width is not None
    enough = (n for n in range(effort.min_rounds, effort.max_rounds) if _width(latency[:n]) <= effort.half_width)
    return next(enough, effort.max_rounds)


def _width(latency: np.ndarray) -> float:
    width = statistics.half_width(latency.tolist())
    assert width is not None
    return width


def _holds(interval: Interval, truth: float) -> bool:
    # Rounds that are all alike have an interval without width, which rounding may put beside the truth.
    assert interval.low is not None
    assert interval.high is not None
    return interval.low * (1 - 1e-12) <= truth <= interval.high * (1 + 1e-12)
