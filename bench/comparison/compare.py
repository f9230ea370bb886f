"""Two stored runs in; cell beside cell, what changed and what may be concluded of it, out (pure).

Stored runs are not paired: each change has an interval from the rounds of both as two independent samples (Welch), and
how far the machine drifted between the runs is in none of them. So a time that changed by less than `DRIFT` is called
unclear, and across machines times are not compared at all: only ratios to one control, taken in the same rounds, are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from scipy import special

from bench.comparison import conclusions as compare_words
from bench.comparison.figures import Figure, figures
from bench.judge import placement
from bench.judge.changes import changed, differ
from bench.judge.differences import differences
from bench.judge.outcome import ANSWERED, judge
from bench.judge.statistics import CONFIDENCE
from bench.records import Interval, Observation, Outcome, Run, Status
from bench.report import text_flags

DRIFT = 0.10
"""How far a machine's times drift from one run to a later one: stored numbers prove nothing under it (MEASUREMENT)."""
Verdict = Literal["slower", "faster", "unclear", "no difference shown", "not compared"]
Support = Literal["same", "changed", "lost", "gained", "lost nodes", "gained nodes", "gone", "added", "not measured"]


class Judged(Struct, frozen=True):
    """A run with its outcomes and figures, without its raw samples."""

    run: Run
    outcomes: dict[str, Outcome]
    figures: dict[str, tuple[Figure, ...]]


class Nodes(Struct, frozen=True):
    """Where the nodes of a cell ran."""

    on_target: int
    fell_back: int
    """Those elsewhere that compute; shape and constant bookkeeping is not among them."""


class FigureChange(Struct, frozen=True):
    """One kind of time of one cell in both runs."""

    name: str
    base_ms: Interval | None
    new_ms: Interval | None
    change: Interval | None
    """Relative change of the time with its 95 % interval, 0.05 for 5 % slower; None across machines."""
    base_ratio: Interval | None
    new_ratio: Interval | None
    """Times the control's speed, in the rounds of each run."""
    ratio_change: Interval | None
    """Relative change of that ratio, 0.05 for 5 % faster against the control; None without one control in both."""
    verdict: Verdict
    conclusion: str


class CellChange(Struct, frozen=True):
    """One cell in both runs."""

    cell: str
    base_status: Status | None
    new_status: Status | None
    """None where the run's plan does not have the cell."""
    support: Support
    base_nodes: Nodes | None
    new_nodes: Nodes | None
    emulated: bool
    is_control: bool
    """Whether ratios are against this cell."""
    figures: tuple[FigureChange, ...]
    conclusion: str
    """Of the verdict; each figure has a conclusion of its own."""
    changed: tuple[str, ...]
    """What of the cell itself differs, beside its speed: versions, recipe, threads, weights."""
    flags: tuple[str, ...]
    """What warns of the numbers: `both: noisy`, `new: busy machine`."""


class Comparison(Struct, frozen=True):
    """Two runs side by side."""

    base: Run
    new: Run
    same_machine: bool
    differences: tuple[str, ...]
    conclusions: tuple[str, ...]
    """What may and what may not be concluded from the whole."""
    cells: tuple[CellChange, ...]

    @property
    def common(self) -> int:
        """How many cells both runs planned to measure."""
        return sum(one.support not in {"gone", "added"} for one in self.cells)


def judged(run: Run, observations: Sequence[Observation]) -> Judged:
    """Judge a run's observations, and keep what a comparison needs of them."""
    outcomes = judge(run, observations)
    return Judged(run, {one.cell.id: one for one in outcomes}, figures(run, outcomes, observations))


def compare(base: Judged, new: Judged, only: Sequence[str] | None = None) -> Comparison:
    """Every cell that a run planned to measure, in the new run's order, then those that only the base has.

    `only` holds the ids of the cells to show; None shows all.
    """
    same = base.run.machine.key == new.run.machine.key
    ids = dict.fromkeys((*new.outcomes, *base.outcomes))
    wanted = [cell for cell in ids if only is None or cell in only]
    cells = [_cell(cell, base, new, same) for cell in wanted if _planned(cell, base) or _planned(cell, new)]
    found = differences(base.run, new.run)
    return Comparison(
        base=base.run,
        new=new.run,
        same_machine=same,
        differences=found,
        conclusions=compare_words.whole(base.run, new.run, cells, found, DRIFT),
        cells=tuple(cells),
    )


def change(base: Sequence[float], new: Sequence[float]) -> Interval | None:
    """The relative change of the geometric mean from one sample of logs to another, with Welch's 95 % t-interval.

    None without a value on either side; without ends where a side has but one, as that tells nothing of its scatter.
    """
    if not base or not new:
        return None
    shift = float(np.mean(new) - np.mean(base))
    margin = _welch_margin(base, new)
    if margin is None:
        return Interval(math.expm1(shift), None, None)
    return Interval(*(math.expm1(min(end, 700.0)) for end in (shift, shift - margin, shift + margin)))


def _welch_margin(base: Sequence[float], new: Sequence[float]) -> float | None:
    """Half the length of the interval in log units, with Welch's and Satterthwaite's degrees of freedom."""
    if len(base) < 2 or len(new) < 2:
        return None
    parts = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (base, new)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)


def _planned(cell: str, side: Judged) -> bool:
    return cell in side.outcomes and side.outcomes[cell].status != "excluded"


def _cell(cell: str, base: Judged, new: Judged, same: bool) -> CellChange:
    old, now = (side.outcomes.get(cell) for side in (base, new))
    known = now or old
    assert known is not None
    before, after = (None if one is None else _nodes(one) for one in (old, now))
    support = _support(old, now, before, after)
    both = _planned(cell, base) and _planned(cell, new)
    emulated = any(one.cell.emulated for one in (old, now) if one)
    found = _figures(cell, base, new, same) if both and not emulated else ()
    return CellChange(
        cell=cell,
        base_status=old.status if old else None,
        new_status=now.status if now else None,
        support=support,
        base_nodes=before,
        new_nodes=after,
        emulated=emulated,
        is_control=known.cell.control,
        figures=found,
        conclusion=compare_words.cell(support, old, now, emulated, same) or ("" if found else compare_words.NO_SPEED),
        changed=_changed(base, new, old, now) if both and old and now else (),
        flags=_flags(old, now),
    )


def _nodes(outcome: Outcome) -> Nodes | None:
    if outcome.placement is None or outcome.cell.provider is None:
        return None
    parts = placement.split(outcome.placement, outcome.cell.provider)
    return Nodes(parts.on_target, parts.fallback_nodes)


def _support(old: Outcome | None, now: Outcome | None, before: Nodes | None, after: Nodes | None) -> Support:
    """What became of the verdict; a run that ended before its turn says nothing of a cell."""
    if old is None or old.status == "excluded":
        return "added"
    if now is None or now.status == "excluded":
        return "gone"
    if any(one.failure is not None and one.failure.kind == "not-measured" for one in (old, now)):
        return "not measured"
    was, works = old.status in ANSWERED, now.status in ANSWERED
    if was != works:
        return "gained" if works else "lost"
    if before and after and before.fell_back != after.fell_back:
        return "lost nodes" if after.fell_back > before.fell_back else "gained nodes"
    return "same" if old.status == now.status else "changed"


def _figures(cell: str, base: Judged, new: Judged, same: bool) -> tuple[FigureChange, ...]:
    """Every figure that either run has of the cell."""
    old, now = ({one.name: one for one in side.figures.get(cell, ())} for side in (base, new))
    return tuple(figure_change(cell, name, old.get(name), now.get(name), same) for name in dict.fromkeys((*old, *now)))


def figure_change(cell: str, name: str, old: Figure | None, now: Figure | None, same: bool) -> FigureChange:
    """One kind of time of one cell in two runs, of one machine or not; None for a run that has none."""
    both = old is not None and now is not None
    time = change(old.logs, now.logs) if old and now and same else None
    alike = bool(old and now and old.control == now.control)
    ratio = change(old.ratios, now.ratios) if old and now and alike else None
    is_control = bool(now and now.control == cell)
    verdict = _verdict(time, ratio, same)
    return FigureChange(
        name=name,
        base_ms=old.latency if old else None,
        new_ms=now.latency if now else None,
        change=time,
        base_ratio=old.ratio if old else None,
        new_ratio=now.ratio if now else None,
        ratio_change=ratio,
        verdict=verdict,
        conclusion=compare_words.figure(
            name=name,
            verdict=verdict,
            time=direction(time),
            ratio=direction(ratio, faster_is_more=True),
            both=both,
            same=same,
            compared=compare_words.Compared(is_control, alike, ratio is not None),
        ),
    )


def _verdict(time: Interval | None, ratio: Interval | None, same: bool) -> Verdict:
    """Across machines by the ratio alone; on one machine by a time beyond drift that the ratio does not contradict."""
    against = direction(ratio, faster_is_more=True)
    if not same:
        return "not compared" if ratio is None or ratio.low is None else against or "no difference shown"
    if time is None or time.low is None:
        return "not compared"
    found = direction(time)
    if found is None and against is None:
        return "no difference shown"
    if found is None or not _beyond(time) or (ratio is not None and ratio.low is not None and against != found):
        return "unclear"
    return found


def direction(change: Interval | None, faster_is_more: bool = False) -> Literal["slower", "faster"] | None:
    """What an interval that leaves out 0 says; None for one that does not, or has no ends."""
    if change is None or change.low is None or change.high is None or change.low <= 0 <= change.high:
        return None
    return "faster" if (change.low > 0) == faster_is_more else "slower"


def _beyond(change: Interval) -> bool:
    """Whether the whole interval is farther from no change than drift goes."""
    assert change.low is not None
    assert change.high is not None
    return change.low > DRIFT or change.high < 1 / (1 + DRIFT) - 1


def _flags(old: Outcome | None, now: Outcome | None) -> tuple[str, ...]:
    """Those of both, then those of one side; that a cell is emulated is said in other words."""
    sides = [set(text_flags.names(one.flags)) - {"emulated"} if one else set() for one in (old, now)]
    parts = (("both", sides[0] & sides[1]), ("base", sides[0] - sides[1]), ("new", sides[1] - sides[0]))
    return tuple(f"{name}: {', '.join(sorted(flags))}" for name, flags in parts if flags)


def _changed(base: Judged, new: Judged, old: Outcome, now: Outcome) -> tuple[str, ...]:
    """What differs between the two cells beside their speed."""
    model = now.cell.model
    said = [changed(name, old.versions[name], now.versions[name]) for name in old.versions if name in now.versions]
    said += [changed("provider", old.cell.provider, now.cell.provider), changed("device", old.device, now.device)]
    if old.cell.recipe != now.cell.recipe:
        said.append("another recipe")
    if differ(base.run.source_digests, new.run.source_digests, model):
        said.append("another source of the model")
    said += [changed("weights", old.weights, now.weights)]
    if None not in {old.threads, now.threads}:
        said.append(changed("threads", old.threads, now.threads))
    return tuple(filter(None, said))
