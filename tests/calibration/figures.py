"""Define the required error rates of the gate, and compute their shares and intervals from counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import special

from bench.gating.budget import enough_pairs
from bench.gating.decision import RULES, Rules
from tests.calibration.gates import Counts, Scenario
from tests.calibration.noise import BUSY, Kind, reporting

ROOM = 1.3
"""The upper bound of a share must be below this times its limit: 1.3 % for a limit of 1 %."""
POWER = {0.03: 0.8, 0.05: 0.95, 0.10: 0.99}
"""The required share of found slow cells, by their slowdown."""
Count = Callable[[Counts], int]


@dataclass(frozen=True)
class Figure:
    """A share of counted events with its required range; 0 to 1 means that nothing is required."""

    what: str
    scenario: Scenario
    share: Count
    total: Count
    least: float = 0.0
    most: float = 1.0
    for_busy: bool = False
    """Whether it is required of a busy machine too, which may be inconclusive at any rate."""


@dataclass(frozen=True)
class Row:
    """A figure with its counts."""

    figure: Figure
    count: int
    total: int

    @property
    def rate(self) -> float:
        """The measured share."""
        return self.count / self.total

    def ends(self, level: float = 0.95) -> tuple[float, float]:
        """The Clopper–Pearson interval of the share."""
        tail, others = (1 - level) / 2, self.total - self.count
        low = float(special.betaincinv(self.count, others + 1, tail)) if self.count else 0.0
        high = float(special.betaincinv(self.count + 1, others, 1 - tail)) if others else 1.0
        return low, high

    def reached(self) -> Literal["yes", "no", "too few gates", ""]:
        """Whether the requirement is met; empty if there is none. For rare events the upper bound must be low too."""
        figure = self.figure
        if (figure.least, figure.most) == (0.0, 1.0):
            return ""
        if not figure.least <= self.rate <= figure.most:
            return "no"
        _, upper = self.ends(0.90)  # two-sided 90 %: its upper end is the one-sided 95 % bound
        return "too few gates" if figure.most <= 0.01 and upper > ROOM * figure.most else "yes"


def row(figure: Figure, counts: Counts) -> Row:
    """Make the row of a figure from counts."""
    return Row(figure, figure.share(counts), figure.total(counts))


def figures(kind: Kind, rules: Rules = RULES) -> list[Figure]:
    """The figures of one kind of machine. A busy one may be inconclusive, so it has fewer requirements."""
    kind_figures = [*_no_change(kind, rules), *_power(kind, rules), *_intervals(kind, rules), *_small(kind, rules)]
    if kind is not BUSY:
        return kind_figures
    # The figures are still shown, without a required range.
    return [figure if figure.for_busy else replace(figure, least=0.0, most=1.0) for figure in kind_figures] + list(
        _busy(rules)
    )


def _no_change(kind: Kind, rules: Rules) -> Iterator[Figure]:
    same = _timed(kind, rules=rules)
    yield Figure("no change: false alarm", same, _number("false_alarms"), _number("gates"), most=0.01, for_busy=True)
    yield Figure("no change: cannot tell (exit 3)", same, _undecided, _number("gates"), most=0.05)
    if kind.loads:
        seen = _timed(reporting(kind), rules=rules)
        yield Figure("… where the system reports the loads", seen, _undecided, _number("gates"), most=0.05)
    yield Figure("no change: the null control fails", same, _number("null_bad"), _number("gates"), most=0.01)


def _power(kind: Kind, rules: Rules) -> Iterator[Figure]:
    for slower, least in POWER.items():
        scenario = _timed(kind, slow_cells=1, slower=slower, rules=rules)
        what = f"1 of 100 slower by {100 * slower:g} %"
        yield Figure(f"{what}: found", scenario, _number("found"), _number("slow_cells"), least=least)
    yield Figure(f"{what}: green", scenario, _number("green"), _number("gates"), most=0.01, for_busy=True)
    for louder in (3, 5, 8):
        outlier = _timed(kind, slow_cells=1, slower=0.10, louder=louder, rules=rules)
        yield Figure(f"… if it scatters {louder} times as much: green", outlier, _number("green"), _number("gates"))
    clear = _timed(kind, slow_cells=1, slower=2.0, louder=15, rules=rules)
    yield Figure(
        "1 of 100 slower by 200 %, 15 times the scatter: found", clear, _number("found"), _number("slow_cells")
    )
    several = _timed(kind, slow_cells=5, slower=0.05, rules=rules)
    yield Figure("5 of 100 slower by 5 %: each found", several, _number("found"), _number("slow_cells"), least=0.95)
    yield Figure(
        "5 of 100 slower by 5 %: false alarm",
        several,
        _number("false_alarms"),
        _number("gates"),
        most=0.02,
        for_busy=True,
    )


def _intervals(kind: Kind, rules: Rules) -> Iterator[Figure]:
    """Coverage of the printed intervals, in gates where every cell changes by about 3 %.

    An unchanged cell passes only with an estimate under 1.5 %, which removes half of the intervals that miss: gates
    without any change would show a coverage of 97.5 %.
    """
    spread = Scenario(kind, spread=0.03, rules=rules)
    yield Figure(
        "95 % intervals hold the change",
        spread,
        _intervals_of("covered"),
        _intervals_of("intervals"),
        0.93,
        0.97,
        for_busy=True,
    )
    for stage in ("screen", "confirm"):
        what, covered = f"… decided by {stage}", _intervals_of("covered", stage)
        yield Figure(what, spread, covered, _intervals_of("intervals", stage))
    biased = Scenario(kind, bias=0.03, rules=rules)
    yield Figure("a side favoured by 3 %: noticed", biased, _number("null_bad"), _number("gates"), least=0.95)


def _small(kind: Kind, rules: Rules) -> Iterator[Figure]:
    """Gates of a few cells, which have little data on the scatter."""
    for cells in (1, 5):
        same, what = _timed(kind, cells, rules=rules), f"1 of {cells} slower by 10 %"
        slow = _timed(kind, cells, 1, 0.10, rules=rules)
        yield Figure(
            f"no change, {cells} in all: false alarm",
            same,
            _number("false_alarms"),
            _number("gates"),
            most=0.01,
            for_busy=True,
        )
        yield Figure(f"no change, {cells} in all: cannot tell", same, _undecided, _number("gates"), most=0.05)
        yield Figure(f"{what}: found", slow, _number("found"), _number("slow_cells"), least=0.99)
        yield Figure(f"{what}: green", slow, _number("green"), _number("gates"), most=0.01, for_busy=True)


def _busy(rules: Rules) -> Iterator[Figure]:
    for cells in (100, 5, 1):
        slow = Scenario(BUSY, cells, 1, 0.10, rules=rules)
        yield Figure(
            f"1 of {cells} slower by 10 %: found or exit 3", slow, _red_or_undecided, _number("gates"), least=0.9
        )


def _timed(kind: Kind, cells: int = 100, slow_cells: int = 0, slower: float = 0.0, **changes: Any) -> Scenario:
    """A scenario with as much time as a gate calls enough; a busy machine has as much as its pairs need."""
    # Without a limit, because the decisions of a busy machine could not be seen if its time were always up.
    budget = None if kind is BUSY else enough_pairs(cells, changes["rules"])
    return Scenario(kind, cells, slow_cells, slower, budget_pairs=budget, **changes)


def _number(name: str) -> Count:
    return lambda counts: getattr(counts, name)


def _undecided(counts: Counts) -> int:
    return counts.gates - counts.green - counts.red


def _red_or_undecided(counts: Counts) -> int:
    return counts.gates - counts.green


def _intervals_of(name: str, stage: str | None = None) -> Count:
    def count(counts: Counts) -> int:
        by_stage = getattr(counts, name)
        return by_stage[stage] if stage else by_stage.total()

    return count
