"""Simulate runs of blocks that stop when their comparisons are decided, and count what their intervals are worth.

A block holds one process of every cell of a model. The time of a burst has four parts: a constant of its process
(memory layout, placement), which is of two kinds on some machines; the drift of the machine, which the bursts of a turn
share as far as they are near each other; and its own jitter with spikes. The intervals, and the rule that stops a run,
are those of the product.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from bench.judge.bursts import BlockTimes
from bench.judge.ratios import Ratios

TURNS = 12
"""Bursts of a cell in a block; the product makes sixteen, which scatter less."""
FEW, MANY = 2, 24
"""The fewest and the most blocks of a run."""
TAILS = 4
"""Degrees of freedom of the jitter of a burst: Student's t has more outliers than a normal distribution."""
AT_ONCE = 10
"""Runs in one piece of work of a process."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """The disturbances of one kind of machine, in log time: 0.01 is 1 %."""

    name: str
    process: tuple[float, float]
    """The range of the standard deviation of a process's constant: each cell has its own, drawn log-uniformly."""
    jitter: float
    """Standard deviation of the ratio of two bursts inside a block, of a typical cell."""
    mode: tuple[float, float] = (0.0, 0.0)
    """The probability that a process is in a slow mode, and the slowdown of that mode."""
    drift: float = 0.0
    memory: float = 0.9875
    """Correlation of the drift from one burst to the next."""


QUIET = Kind("quiet", process=(0.002, 0.004), jitter=0.008)
UNLIKE = Kind("cells scatter by 1 to 5 %", process=(0.007, 0.035), jitter=0.04)
BIMODAL = Kind("two kinds of processes", process=(0.004, 0.008), jitter=0.04, mode=(0.1, 0.06))
DRIFTING = Kind("drift of 6 %", process=(0.005, 0.02), jitter=0.04, drift=0.06)
KINDS = (QUIET, UNLIKE, BIMODAL, DRIFTING)


@dataclass(frozen=True)
class Scenario:
    """Runs of one model."""

    kind: Kind
    cells: int
    resolution: float
    """The half width at which a comparison is decided."""
    spread: float = 0.0
    """Standard deviation of a cell's true speed, in log time; 0 where all cells are equal."""
    differs: float = 0.0
    """The true difference of the first cell from all others."""
    until_decided: bool = True
    """Whether a run ends when all comparisons are decided; else the time ends it after 2 to 24 blocks."""


@dataclass
class Counts:
    """The counted results of runs; counts of several sets can be added."""

    runs: int = 0
    blocks: int = 0
    comparisons: int = 0
    covered: int = 0
    """Intervals that hold the truth."""
    differing: int = 0
    """Intervals of the first cell's comparisons that do not contain 1."""
    firsts: int = 0
    """The first cell's comparisons."""
    shown: int = 0
    """Intervals that do not contain 1."""
    decided: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of other runs."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def log_times(scenario: Scenario, rng: np.random.Generator) -> tuple[Array, Array]:
    """The true log times of the cells, and those of their bursts, of shape (cells, blocks, turns)."""
    kind, cells = scenario.kind, scenario.cells
    truth = rng.normal(size=cells) * scenario.spread
    truth[0] += math.log1p(scenario.differs)
    shape = (cells, MANY)
    low, high = (math.log(scatter) for scatter in kind.process)
    process = np.exp(rng.uniform(low, high, size=(cells, 1))) * rng.normal(size=shape)
    chance, cost = kind.mode
    # The mean of the modes is a part of the truth of each cell alike.
    process += (rng.random(shape) < chance) * cost
    # A ratio has the jitter of two bursts. Student's t has the variance n / (n - 2).
    scale = kind.jitter * np.exp(0.35 * rng.normal(size=(cells, 1, 1))) / math.sqrt(2 * TAILS / (TAILS - 2))
    jitter = rng.standard_t(TAILS, size=(*shape, TURNS)) * scale
    spikes = (rng.random(jitter.shape) < 0.03) * rng.exponential(5 * kind.jitter, jitter.shape)
    return truth, truth[:, None, None] + process[..., None] + jitter + spikes + _drift(scenario, rng)


def _drift(scenario: Scenario, rng: np.random.Generator) -> Array:
    """The drift of the machine at each burst: a Gaussian series over the bursts of a block, in the order of turns."""
    kind, cells = scenario.kind, scenario.cells
    shocks = rng.normal(size=(MANY, TURNS * cells)) * math.sqrt(1 - kind.memory**2)
    series = signal.lfilter([1.0], [1.0, -kind.memory], shocks, axis=1, zi=kind.memory * rng.normal(size=(MANY, 1)))[0]
    order = rng.permuted(np.tile(np.arange(cells), (MANY, TURNS, 1)), axis=2)
    in_turns: Array = np.take_along_axis(series.reshape(MANY, TURNS, cells), order, axis=2)
    return kind.drift * in_turns.transpose(2, 0, 1)


def counted(scenario: Scenario, runs: int, seed: int, first: int = 0) -> Counts:
    """Simulate and count runs from the number `first` on. A run depends on the seed and its number alone."""
    total = Counts()
    for number in range(first, first + runs):
        total.add(_run_counts(scenario, np.random.default_rng([seed, number])))
    return total


def all_counted(work: Sequence[tuple[Scenario, int]], seed: int, processes: int) -> list[Counts]:
    """The counts of several scenarios with their numbers of runs, in the same order, computed in parallel."""
    totals = [Counts() for _ in work]
    pieces = [
        (place, scenario, min(AT_ONCE, runs - first), seed, first)
        for place, (scenario, runs) in enumerate(work)
        for first in range(0, runs, AT_ONCE)
    ]
    # Forking a process that has threads of numeric libraries may hang.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for place, counts in pool.map(_piece, pieces):
            totals[place].add(counts)
    return totals


def _piece(piece: tuple[int, Scenario, int, int, int]) -> tuple[int, Counts]:
    place, *what = piece
    return place, counted(*what)


def _run_counts(scenario: Scenario, rng: np.random.Generator) -> Counts:
    """Measure one run block after block, as `bench.measure.schedule` does with one model, and count its intervals."""
    truth, logs = log_times(scenario, rng)
    names = [str(cell) for cell in range(scenario.cells)]
    times = [[BlockTimes(math.exp(float(np.median(turns))), _turns(turns)) for turns in cell] for cell in logs]
    pairs = list(combinations(names, 2))
    most = MANY if scenario.until_decided else int(rng.integers(FEW, MANY + 1))
    for blocks in range(FEW, most + 1):
        ratios = Ratios([{name: dict(enumerate(cell[:blocks])) for name, cell in zip(names, times, strict=True)}])
        decided = [ratios.is_decided(*pair, scenario.resolution) for pair in pairs]
        if all(decided):
            break
    counts = Counts(runs=1, blocks=blocks, comparisons=len(pairs), decided=sum(decided), firsts=scenario.cells - 1)
    for ours, theirs in pairs:
        interval = ratios.ratio(ours, theirs)
        assert interval is not None
        counts.covered += not interval.excludes(math.exp(truth[int(theirs)] - truth[int(ours)]))
        counts.shown += interval.excludes(1.0)
        counts.differing += ours == names[0] and interval.excludes(1.0)
    return counts


def _turns(logs: Array) -> dict[int, float]:
    return dict(enumerate(np.exp(logs).tolist()))


# --- the table --------------------------------------------------------------------------------------------------------

CELLS = (2, 3, 5, 8, 16)
RESOLUTIONS = (0.05, 0.02, 0.01)
HOLD = (0.93, 0.97)
EQUAL_DIFFER = 0.05
"""The largest share of equal cells that may show a difference."""
DIFFERENT = 0.05
"""The true difference whose power is shown."""
HEAD = ("cells", "asked", "blocks", "equal differ", "hold truth", "any differ", "hold truth", "5 % found", "reached")
WIDTHS = (6, 14, 7, 13, 11, 11, 11, 10, 0)


@dataclass(frozen=True)
class Row:
    """The figures of a model of some cells at one resolution: of equal cells, of unlike ones, and of a known one."""

    scenario: Scenario
    equal: Counts
    unlike: Counts
    known: Counts

    def missed(self) -> list[str]:
        """The figures that these runs show to be outside what is required."""
        named = {"equal cells": self.equal, "unlike cells": self.unlike}
        low = [what for what, counts in named.items() if _surely(counts.covered, counts, below=HOLD[0])]
        high = [what for what, counts in named.items() if _surely(counts.covered, counts, above=HOLD[1])]
        return [
            *(["equal cells differ"] if _surely(self.equal.shown, self.equal, above=EQUAL_DIFFER) else []),
            *(f"intervals of {what} hold the truth too rarely" for what in low),
            *(f"intervals of {what} are too wide" for what in high),
        ]


def work(kind: Kind, resolutions: Sequence[float] = RESOLUTIONS) -> Iterator[tuple[Scenario, Scenario, Scenario]]:
    """The scenarios of the rows of one kind of machine."""
    for cells in CELLS:
        bases = [Scenario(kind, cells, resolution) for resolution in resolutions]
        bases.append(Scenario(kind, cells, resolutions[-1], until_decided=False))
        for base in bases:
            options = (base.kind, base.cells, base.resolution)
            yield (
                base,
                Scenario(*options, spread=0.04, until_decided=base.until_decided),
                Scenario(*options, differs=DIFFERENT, until_decided=base.until_decided),
            )


def rows(kind: Kind, runs: int, seed: int, processes: int) -> list[Row]:
    """Simulate the rows of one kind of machine."""
    scenarios = list(work(kind))
    flat = [scenario for row in scenarios for scenario in row]
    # A run of many cells has many comparisons, and takes long.
    counts = iter(all_counted([(made, max(10, 2 * runs // made.cells)) for made in flat], seed, processes))
    return [Row(base, next(counts), next(counts), next(counts)) for base, *_ in scenarios]


def lines(kind: Kind, found: Sequence[Row]) -> list[str]:
    """The table of one kind of machine."""
    return [f"\nblocks: {kind.name}", _line(HEAD), *(_line(_cells(row)) for row in found)]


def _cells(row: Row) -> tuple[str, ...]:
    asked = f"{100 * row.scenario.resolution:g} %" if row.scenario.until_decided else "the time ends"
    return (
        str(row.scenario.cells),
        asked,
        f"{row.equal.blocks / row.equal.runs:.1f}",
        _percent(row.equal.shown, row.equal.comparisons),
        _percent(row.equal.covered, row.equal.comparisons),
        _percent(row.unlike.shown, row.unlike.comparisons),
        _percent(row.unlike.covered, row.unlike.comparisons),
        _percent(row.known.differing, row.known.firsts),
        "no" if row.missed() else "yes",
    )


def _line(cells: Sequence[str]) -> str:
    return "  " + " ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _surely(count: int, counts: Counts, *, below: float = 0.0, above: float = 1.0) -> bool:
    """Whether the true share is outside a limit with 95 % confidence; the comparisons of one run count as one."""
    share = count / counts.comparisons
    margin = 1.645 * math.sqrt(share * (1 - share) / counts.runs)
    return share + margin < below or share - margin > above
