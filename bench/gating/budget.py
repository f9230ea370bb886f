"""Estimate, before the first pair, what the time for measuring suffices for (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, median

from msgspec import Struct
from msgspec.structs import replace

from bench.declare.budgets import BURST_S, GATE, TURNS
from bench.errors import UsageError
from bench.gating.rules import Rules
from bench.gating.stages import null_pairs
from bench.measure.blocks import LEAST_TURNS, TURNS_S
from bench.records import Note, Observation, Timing, note

START_S = 1.0
"""Seconds to start an interpreter, to read the inputs, to check the answers, and to end."""
USUAL_PAIR_S = 6.0
"""Seconds of a pair of a small model, for cells whose base has no times (docs/gate.md)."""
# By `nox -s calibrate`: with so many pairs at most 5 of 100 gates without a change are undecided, on a shared VM or a
# laptop with shifts and loads.
PAIRS_A_CELL = 3.6
"""Pairs that a cell takes on average, with those that confirm or clear suspects."""


class BudgetPlan(Struct, frozen=True):
    """What a budget suffices for; times are in seconds."""

    cells: int
    pair_s: float
    """Expected time of a pair, the mean over the cells."""
    budget_s: float
    least_pairs: int
    """Pairs that every gate of so many cells makes: the screen and the null control."""
    enough_pairs: int
    """Pairs that nearly every gate of so many cells can be decided with."""

    @property
    def is_short(self) -> bool:
        """Whether the time ends before the least number of pairs, so that no cell can be decided."""
        return self.budget_s < self.least_pairs * self.pair_s

    @property
    def is_tight(self) -> bool:
        """Whether the time may end before suspects are decided."""
        return self.budget_s < self.enough_pairs * self.pair_s

    def rules(self, rules: Rules) -> Rules:
        """The rules for this budget: where it is short, null pairs wait for the screen, which shows lost support."""
        return replace(rules, null_last=True) if self.is_short else rules

    def note(self) -> Note:
        """What the budget suffices for, as a note."""
        pair_s, budget_minutes = round(self.pair_s, 1), self.budget_s / 60
        least, enough = (_minutes(pairs * self.pair_s) for pairs in (self.least_pairs, self.enough_pairs))
        minutes = {"budget_minutes": budget_minutes, "least_minutes": least, "enough_minutes": enough}
        if not self.is_tight:
            return note("budget-enough", cells=self.cells, pair_s=pair_s, **minutes)
        pairs = int(self.budget_s // self.pair_s)
        if not self.is_short:
            return note("budget-tight", cells=self.cells, pair_s=pair_s, pairs=pairs, **minutes)
        return note(
            "budget-short",
            cells=self.cells,
            pair_s=pair_s,
            pairs=pairs,
            least_pairs=self.least_pairs,
            **minutes,
        )


def checked(minutes: float) -> float:
    """The budget in minutes. Raises `UsageError` if it is no positive number."""
    if not (math.isfinite(minutes) and minutes > 0):
        message = f"a gate cannot measure for {minutes:g} minutes"
        raise UsageError(message, "give --budget-minutes a number above 0, such as 40")
    return minutes


def plan(pairs_s: Mapping[str, float], budget_s: float, rules: Rules) -> BudgetPlan:
    """Plan a gate of at least one cell; `pairs_s` has the expected seconds of a pair by cell."""
    cells = len(pairs_s)
    return BudgetPlan(
        cells=cells,
        pair_s=fmean(pairs_s.values()),
        budget_s=budget_s,
        least_pairs=rules.screen_pairs * cells + null_pairs(cells, rules),
        enough_pairs=enough_pairs(cells, rules),
    )


def enough_pairs(cells: int, rules: Rules) -> int:
    """The number of pairs with which nearly every gate of so many cells is decided."""
    # A single suspect may take all pairs of the usual look, however small the gate is.
    return math.ceil(PAIRS_A_CELL * cells) + null_pairs(cells, rules) + rules.usual_look


def expected_pair_s(observations: Iterable[Observation]) -> float:
    """Expected seconds of a pair of a cell, from the base's observations: two processes start, warm up and burst."""
    sides = [_side_s(observation, observation.timing) for observation in observations if observation.timing]
    return 2 * median(sides) if sides else USUAL_PAIR_S


def _side_s(observation: Observation, timing: Timing) -> float:
    starting_s = sum(part or 0 for part in (observation.import_ns, observation.load_ns, timing.first_call_ns)) / 1e9
    call_s = median(timing.samples_ns or (timing.first_call_ns,)) / 1e9
    warming_s = min(max(GATE.warmup_s, GATE.warmup_calls * call_s), GATE.warmup_limit_s)
    # A burst has at least one call, and so has a warm-up. Both sides share the time of the turns.
    turns_s = min(TURNS * max(BURST_S, call_s), max(TURNS_S / 2, LEAST_TURNS * call_s))
    return START_S + starting_s + max(warming_s, call_s) + turns_s


def _minutes(seconds: float) -> float:
    """Minutes to recommend, rounded up to half a minute, or to whole minutes from ten."""
    minutes = seconds / 60
    return math.ceil(2 * minutes) / 2 if minutes < 10 else float(math.ceil(minutes))
