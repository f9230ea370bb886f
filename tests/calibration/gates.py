"""Run many gates of a scenario through the real decision code on simulated pairs, and count the results."""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from bench.gating.decision import RULES, Decision, Rules, gate
from bench.gating.sampling import PATIENCE, REPEATS
from bench.records import PairKind
from tests.calibration.noise import Kind, Noise

UNLIKE = 0.35
"""Cells scatter differently: the standard deviation of the log of their scale."""
AT_ONCE = 25
"""Gates in one piece of work of a process."""


@dataclass(frozen=True)
class Scenario:
    """One kind of gates: the machine, the number of cells, how many are slower and by how much."""

    kind: Kind
    cells: int = 100
    slow_cells: int = 0
    slower: float = 0.0
    """The slowdown of the slow cells; 0.03 is 3 %."""
    spread: float = 0.0
    """Standard deviation of an additional change of every cell in log time, faster or slower."""
    louder: float = 1.0
    """The scatter of the slow cells relative to the others."""
    bias: float = 0.0
    """A bias of the measurement: it is added to the new side, in log time."""
    budget_pairs: int | None = None
    """How many pairs the time allows; None for as many as the rules ask for."""
    rules: Rules = RULES


@dataclass
class Counts:
    """The counted results of gates; counts of several sets can be added."""

    gates: int = 0
    false_alarms: int = 0
    """Gates with a regression of an unchanged cell."""
    green: int = 0
    red: int = 0
    slow_cells: int = 0
    found: int = 0
    """Slow cells that were called regressions."""
    slow_inconclusive: int = 0
    null_bad: int = 0
    pairs: int = 0
    cells: int = 0
    inconclusive: int = 0
    intervals: Counter[str] = field(default_factory=Counter)
    """Number of printed intervals, by stage."""
    covered: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Add the counts of other gates."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)


class Machine:
    """A sampler of simulated pairs. Every cell has its own scatter, and slow cells have their slowdown."""

    def __init__(self, scenario: Scenario, seed: tuple[int, ...]) -> None:
        self.names = [f"cell-{number}" for number in range(scenario.cells)]
        self.noise = Noise(scenario.kind, seed, ahead=max(32, 3 * scenario.cells))
        scales = np.exp(self.noise.rng.normal(size=scenario.cells) * UNLIKE)
        self.scales = dict(zip(self.names, scales.tolist(), strict=True))
        self.slower = set(self.noise.rng.choice(self.names, size=scenario.slow_cells, replace=False).tolist())
        changes = self.noise.rng.normal(size=scenario.cells) * scenario.spread
        self.changes = dict(zip(self.names, changes.tolist(), strict=True))
        for name in self.slower:
            self.changes[name] += math.log1p(scenario.slower)
            self.scales[name] *= scenario.louder
        self.bias, self.pairs, self.disturbed = scenario.bias, 0, 0
        self.budget_pairs = math.inf if scenario.budget_pairs is None else scenario.budget_pairs
        share, self.chance, self.gap = scenario.kind.bimodal
        self.bimodal = {name for name in self.names if share and self.noise.rng.random() < share}

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The next pair; None when the time is used up."""
        value = self._undisturbed()
        if value is None:
            return None
        change = 0.0 if kind == "null" else self.changes[cell]
        return value * self.scales[cell] + self._modes(cell) + change + self.bias

    def _undisturbed(self) -> float | None:
        """The next pair that is not set aside, by the rule of `bench.gating.sampling.Processes`."""
        for _ in range(REPEATS + 1):
            if self.pairs >= self.budget_pairs:
                return None
            self.pairs += 1
            value, is_reported = self.noise.pair()
            self.disturbed = self.disturbed + 1 if is_reported else 0
            if not is_reported or self.disturbed > PATIENCE:
                break
        return value

    def _modes(self, cell: str) -> float:
        """What the modes of the two processes of a pair add, if the cell has two."""
        if cell not in self.bimodal:
            return 0.0
        base, new = self.noise.rng.random(2) < self.chance
        return self.gap * (float(new) - float(base))


def counted(scenario: Scenario, gates: int, seed: int, first: int = 0) -> Counts:
    """Simulate and count gates from the number `first` on. A gate depends on the seed and its number alone."""
    total = Counts()
    for number in range(first, first + gates):
        # Seeded by number, so that the result does not depend on how the work is divided.
        machine = Machine(scenario, (seed, number))
        decision = gate(machine.names, machine, scenario.rules, seed=number)
        total.add(_gate_counts(decision, machine))
    return total


def all_counted(work: Sequence[tuple[Scenario, int]], seed: int, processes: int) -> list[Counts]:
    """The counts of several scenarios with their numbers of gates, in the same order, computed in parallel."""
    totals = [Counts() for _ in work]
    pieces = [
        (place, scenario, min(AT_ONCE, gates - first), seed, first)
        for place, (scenario, gates) in enumerate(work)
        for first in range(0, gates, AT_ONCE)
    ]
    # Forking a process that has threads of numeric libraries may hang.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        for place, counts in pool.map(_piece, pieces):
            totals[place].add(counts)
    return totals


def _piece(piece: tuple[int, Scenario, int, int, int]) -> tuple[int, Counts]:
    place, *what = piece
    return place, counted(*what)


def _gate_counts(decision: Decision, machine: Machine) -> Counts:
    """The counts of one gate."""
    verdicts = {decided.cell: decided.verdict for decided in decision.cells}
    slow = Counter(verdicts[cell] for cell in machine.slower)
    counts = Counts(gates=1, pairs=machine.pairs, cells=len(verdicts), slow_cells=len(machine.slower))
    counts.red = int("regression" in verdicts.values())
    counts.green = int(set(verdicts.values()) == {"pass"})
    counts.false_alarms = int(any(v == "regression" for c, v in verdicts.items() if c not in machine.slower))
    counts.found, counts.slow_inconclusive = slow["regression"], slow["inconclusive"]
    counts.inconclusive = sum(verdict == "inconclusive" for verdict in verdicts.values())
    counts.null_bad = int(not decision.null.fine)
    for decided in decision.cells:
        if decided.change and decided.change.low is not None and decided.change.high is not None:
            truth = math.expm1(machine.changes[decided.cell])
            counts.intervals[decided.stage] += 1
            counts.covered[decided.stage] += decided.change.low <= truth <= decided.change.high
    return counts
