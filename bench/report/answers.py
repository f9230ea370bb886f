"""Answers what a reader asks first of each model: the fastest right choice, the smallest, and what did not work."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from bench.judge.margins import Pairs, comparable, main_rate, main_ratio, margin
from bench.records import NOT_TRIED, Comparison, Interval, Note, Outcome, Record, Speed, Status
from bench.report import generation, numbers, text

WORKED: tuple[Status, ...] = ("ok", "partial")
"""The statuses whose cells are ranked; `approximate` joins them where the reader asks for it."""
SILENT: tuple[Status, ...] = (*WORKED, "unchecked", *NOT_TRIED)
"""The statuses that are no setback: they worked, or were not tried on this machine."""


class Margin(Record, frozen=True):
    """How many times as fast one cell is as another."""

    other: str
    """The id of the other cell."""
    ratio: Interval
    shown: bool
    """Whether the interval shows a difference: as it is printed, it does not contain 1."""


class Fastest(Record, frozen=True):
    """The fastest right cell of one workload, and how sure that is."""

    cell: str
    figure: Interval
    unit: str
    """`ms` of a call, or `tok/s` of decoding."""
    over_next: Margin | None
    """None where no other cell is right."""
    over_control: Margin | None
    """None where the cell is the control, or there is none."""
    undecided: tuple[str, ...]
    """The ids of all other right cells to which an interval shows no difference, the fastest first."""


class Smallest(Record, frozen=True):
    """The right cell of one workload that needs the least memory."""

    cell: str
    bytes: int
    """What engine and model took above the empty worker, and the memory of the device."""
    fastest_bytes: int | None
    """The same of the fastest cell."""


class WorkloadAnswer(Record, frozen=True):
    """The answers for one workload of a model; None where no cell of it is right."""

    workload: str
    fastest: Fastest | None
    smallest: Smallest | None
    ranking: tuple[str, ...]
    """The ids of all right cells, the fastest first."""


class Setback(Record, frozen=True):
    """Cells that did not work, or whose answers are visibly others, for one reason."""

    status: Status
    cells: tuple[str, ...]
    reason: Note
    remedy: Note | None


class ModelAnswer(Record, frozen=True):
    """The answers for one model."""

    model: str
    workloads: tuple[WorkloadAnswer, ...]
    setbacks: tuple[Setback, ...]


def answers(
    outcomes: Sequence[Outcome], comparisons: Sequence[Comparison] = (), *, rank_approximate: bool = False
) -> tuple[ModelAnswer, ...]:
    """The answers for each model that was tried on this machine, in the order of the outcomes.

    The outcomes of emulated cells have no times, and are in no ranking. `comparisons` are those of the run.
    """
    known = {(comparison.a, comparison.b): comparison.ratio for comparison in comparisons}
    tried = [outcome for outcome in outcomes if outcome.status not in NOT_TRIED]
    models = dict.fromkeys(outcome.cell.model for outcome in tried)
    return tuple(
        _model(name, [outcome for outcome in tried if outcome.cell.model == name], known, rank_approximate)
        for name in models
    )


def ranked(outcomes: Sequence[Outcome], known: Pairs | None = None, *, rank_approximate: bool = False) -> list[Outcome]:
    """The right outcomes of one model and workload that have a speed, the fastest first.

    They are ordered by their ratios to the control where all have the same one, because a ratio does not depend on how
    fast the machine was in a round; else by the ratios of `known`, and by their speeds where it has none.
    """
    statuses = (*WORKED, "approximate") if rank_approximate else WORKED
    timed = [(outcome, outcome.speed) for outcome in outcomes if outcome.status in statuses and outcome.speed]
    by_ratio = all(comparable(speed, timed[0][1]) for _, speed in timed)

    def fast(entry: tuple[Outcome, Speed]) -> float:
        ratio = main_ratio(entry[1]) if by_ratio else None
        return (ratio or main_rate(entry[1])).value

    ordered = [outcome for outcome, _ in sorted(timed, key=fast, reverse=True)]
    if by_ratio:
        return ordered

    def behind(ours: Outcome, theirs: Outcome) -> int:
        ratio = margin(ours, theirs, known or {})
        return 0 if ratio is None else (ratio.value < 1) - (ratio.value > 1)

    # The margins that stand beside the ranking must not contradict it.
    return sorted(ordered, key=functools.cmp_to_key(behind))


def memory(outcome: Outcome) -> int | None:
    """Bytes that engine and model took of the host and of the device; None where the host's are not known."""
    if outcome.model_rss_bytes is None:
        return None
    return outcome.model_rss_bytes + (outcome.device_memory_bytes or 0)


def _model(name: str, own: Sequence[Outcome], known: Pairs, rank_approximate: bool) -> ModelAnswer:
    workloads = dict.fromkeys(outcome.cell.workload for outcome in own)
    parts = (
        _workload(workload, [outcome for outcome in own if outcome.cell.workload == workload], known, rank_approximate)
        for workload in workloads
    )
    worked = {*SILENT, "approximate"} if rank_approximate else set(SILENT)
    setbacks = _setbacks([outcome for outcome in own if outcome.status not in worked])
    return ModelAnswer(name, tuple(parts), setbacks)


def _setbacks(outcomes: Sequence[Outcome]) -> tuple[Setback, ...]:
    """One for each status and reason, in the order of `STATUSES`; the workloads of a cell share the first's reason."""
    alike: dict[tuple[str, str, Status], list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault((outcome.cell.target, outcome.cell.precision, outcome.status), []).append(outcome)
    by_reason: dict[tuple[int, str], list[Outcome]] = {}
    for (_, _, status), own in alike.items():
        place = list(text.STATUSES).index(status)
        # A note holds a dictionary, so its text is the key.
        by_reason.setdefault((place, str(own[0].reason)), []).extend(own)
    groups = [by_reason[key] for key in sorted(by_reason, key=lambda key: key[0])]
    return tuple(
        Setback(own[0].status, tuple(outcome.cell.id for outcome in own), own[0].reason, own[0].remedy)
        for own in groups
    )


def _workload(name: str, own: Sequence[Outcome], known: Pairs, rank_approximate: bool) -> WorkloadAnswer:
    ranking = ranked(own, known, rank_approximate=rank_approximate)
    return WorkloadAnswer(
        name, _fastest(ranking, known), _smallest(ranking), tuple(outcome.cell.id for outcome in ranking)
    )


def _fastest(ranking: Sequence[Outcome], known: Pairs) -> Fastest | None:
    if not ranking or ranking[0].speed is None:
        return None
    first, others = ranking[0], ranking[1:]
    margins = [_margin(first, other, known) for other in others]
    figure = generation.figure(ranking[0].speed)
    control = ranking[0].speed.control
    return Fastest(
        cell=first.cell.id,
        figure=figure.interval,
        unit=figure.unit,
        over_next=next(iter(margins), None),
        over_control=next((each for each in margins if each and each.other == control), None),
        undecided=tuple(each.other for each in margins if each and each.ratio.low is not None and not each.shown),
    )


def _margin(ours: Outcome, theirs: Outcome, known: Pairs) -> Margin | None:
    ratio = margin(ours, theirs, known)
    return None if ratio is None else Margin(theirs.cell.id, ratio, numbers.is_difference(ratio))


def _smallest(ranking: Sequence[Outcome]) -> Smallest | None:
    sizes = [(size, outcome.cell.id) for outcome in ranking if (size := memory(outcome)) is not None]
    if not sizes:
        return None
    size, cell = min(sizes, key=lambda entry: entry[0])
    return Smallest(cell, size, memory(ranking[0]))
