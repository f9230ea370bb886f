"""Lists every comparison between the cells of a run that people read, by model and workload, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.judge.margins import quotient
from bench.records import Comparison, Interval, Outcome
from bench.report import numbers, text_answers

Finding = Literal["difference", "no difference shown", "open"]
FINDINGS: tuple[Finding, ...] = ("difference", "no difference shown", "open")
"""What an interval says: it does not contain 1; it does, and is as narrow as asked for; it does, and is wider."""
HOW_TO_READ = (
    "Each cell with its control, any two targets in one precision, and any two precisions of one target. The faster "
    "cell comes first. The ratio is from bursts that alternate in the same blocks, with a 95 % interval. Open means "
    "that the interval contains 1 and is wider than the resolution of the budget, or that there is none yet: more "
    "minutes decide it. Of models that generate, whole generations are compared."
)


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One comparison, with the faster cell first."""

    first: Outcome
    second: Outcome
    ratio: Interval
    """How many times as fast `first` is as `second`: at least 1."""
    finding: Finding
    run: str

    @property
    def names(self) -> tuple[str, str]:
        """`cpu · int8` and `torch-eager · fp32`."""
        return text_answers.name(self.first), text_answers.name(self.second)

    @property
    def factor(self) -> str:
        """`1.15×, ± 3 %`; where no difference is shown the ends alone, since the ratio would read as one."""
        if self.ratio.low is None or self.finding == "difference":
            return numbers.factor(self.ratio)
        return numbers.shown(self.ratio).range

    @property
    def sentence(self) -> str:
        """`cpu · int8 is 1.15× cpu · fp32, ± 3 %`, or `cpu · int8 is 0.98–1.04× cpu · fp32: no difference shown`."""
        first, second = self.names
        if self.ratio.low is None or self.finding == "difference":
            return f"{first} is {numbers.factor(self.ratio, second)}"
        return f"{first} is {self.factor}× {second}: {self.finding}"

    @property
    def half_width(self) -> float | None:
        """Half of the interval as a share of the ratio, 0.03 for 3 %; None without an interval."""
        low, high = self.ratio.low, self.ratio.high
        return None if low is None or high is None else (high - low) / 2 / self.ratio.value

    @property
    def is_approximate(self) -> bool:
        """Whether a cell has visibly other answers than the reference, so that it is in no ranking by itself."""
        return "approximate" in (self.first.status, self.second.status)


@dataclass(frozen=True, slots=True)
class WorkloadComparisons:
    """The comparisons of one workload of a model, in the order of the plan."""

    model: str
    workload: str
    rows: tuple[ComparisonRow, ...]


def parts(outcomes: Mapping[str, Outcome], comparisons: Iterable[Comparison]) -> tuple[WorkloadComparisons, ...]:
    """The comparisons of each model and workload; those of cells without an outcome are left out."""
    places: dict[tuple[str, str], list[ComparisonRow]] = {}
    for comparison in comparisons:
        made = _row(outcomes, comparison)
        if made is not None:
            places.setdefault((made.first.cell.model, made.first.cell.workload), []).append(made)
    return tuple(WorkloadComparisons(*place, tuple(rows)) for place, rows in places.items())


def tally(rows: Sequence[ComparisonRow], model: str) -> str:
    """`All 31 comparisons of minilm: 12 differences, 10 no difference shown, 9 open`."""
    counts = Counter(row.finding for row in rows)
    counted = [
        f"{counts[finding]} {finding}{'s' if finding == 'difference' and counts[finding] > 1 else ''}"
        for finding in FINDINGS
        if counts[finding]
    ]
    whole = f"All {len(rows)} comparisons of {model}" if len(rows) > 1 else f"Comparison of {model}"
    return f"{whole}: {', '.join(counted) or 'none is ranked'}"


def _row(outcomes: Mapping[str, Outcome], comparison: Comparison) -> ComparisonRow | None:
    first, second, ratio = outcomes.get(comparison.a), outcomes.get(comparison.b), comparison.ratio
    # A file from elsewhere may hold anything.
    if first is None or second is None or not ratio.value > 0:
        return None
    if ratio.value < 1 and (turned := quotient(Interval(1.0, 1.0, 1.0), ratio)) is not None:
        first, second, ratio = second, first, turned
    return ComparisonRow(first, second, ratio, _finding(ratio, comparison.decided), comparison.run)


def _finding(ratio: Interval, decided: bool) -> Finding:
    if ratio.low is not None and numbers.is_difference(ratio):
        return "difference"
    return "no difference shown" if decided else "open"
