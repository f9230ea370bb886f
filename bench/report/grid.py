"""Runs and their outcomes in, the tables that every format prints out (pure)."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.records import Cell, Interval, Outcome, Run, Status, Weights
from bench.report import text, words

RAN = ("ok", "partial", "inaccurate")


@dataclass(frozen=True, slots=True)
class Box:
    """Where a row of the matrix meets a column: one outcome for each workload, and the cells that were not reached."""

    target: str
    outcomes: tuple[Outcome, ...]
    unreached: tuple[Cell, ...]

    @property
    def planned(self) -> bool:
        """False where the matrix of the run has no such combination."""
        return bool(self.outcomes or self.unreached)

    @property
    def size(self) -> int:
        """How many workloads were planned here."""
        return len(self.outcomes) + len(self.unreached)

    @property
    def tally(self) -> tuple[tuple[Status, int], ...]:
        """Each status of the box with its count, in the order of `STATUSES`."""
        return _tally(self.outcomes)

    @property
    def headline(self) -> Outcome | None:
        """The outcome whose speed stands for the box: the first workload's, where the workloads agree on the status."""
        if self.unreached or len(self.tally) != 1 or self.outcomes[0].speed is None:
            return None
        return self.outcomes[0]


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One model in one precision, across all targets."""

    model: str
    precision: str
    recipe: str
    weights: Weights | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class WorkloadPart:
    """The outcomes of one model and workload that gave an answer: the ones whose speeds can be compared."""

    name: str
    sizes: dict[str, int]
    rates: tuple[str, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ModelPart:
    """What one model's tables show."""

    name: str
    family: str
    source: str
    weights: Weights | None
    workloads: tuple[WorkloadPart, ...]
    silent: int
    """Cells of the model without an answer, hence without a row in these tables."""

    @property
    def rates(self) -> tuple[str, ...]:
        """Every unit of throughput of the model, in order."""
        return tuple(dict.fromkeys(rate for part in self.workloads for rate in part.rates))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Every outcome of the model's tables."""
        return tuple(outcome for part in self.workloads for outcome in part.outcomes)

    @property
    def checked(self) -> tuple[Outcome, ...]:
        """The outcomes whose answers were compared with the reference."""
        return tuple(outcome for outcome in self.outcomes if outcome.parity is not None)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Cells that share one story of why they have no speed, or not the one that was asked for."""

    status: Status
    outcomes: tuple[Outcome, ...]

    @property
    def first(self) -> Outcome:
        """The outcome that tells the story."""
        return self.outcomes[0]


@dataclass(frozen=True, slots=True)
class Resolvable:
    """The smallest relative differences that a run could have told from noise: a typical cell's, and the noisiest's."""

    typical: float
    worst: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """One run: its tables."""

    run: Run
    outcomes: tuple[Outcome, ...]
    """In the order of the plan."""
    unreached: tuple[Cell, ...]
    """Planned cells without an outcome: the run was interrupted."""
    targets: tuple[str, ...]
    controls: tuple[str, ...]
    """The targets that ratios are against."""
    rows: tuple[MatrixRow, ...]
    models: tuple[ModelPart, ...]
    troubles: tuple[Trouble, ...]
    resolvable: Resolvable | None

    @property
    def tally(self) -> tuple[tuple[Status, int], ...]:
        """Each status of the run with its count."""
        return _tally(self.outcomes)

    @property
    def total(self) -> int:
        """How many cells were planned."""
        return len(self.outcomes) + len(self.unreached)

    @property
    def flags(self) -> tuple[str, ...]:
        """Every flag that some cell has."""
        return tuple(dict.fromkeys(flag for outcome in self.outcomes for flag in outcome.flags))

    @property
    def placed(self) -> tuple[Outcome, ...]:
        """One outcome for each placement that is known: the workloads of one session share it."""
        known = (outcome for outcome in reversed(self.outcomes) if outcome.nodes_on_target is not None)
        return tuple(reversed({_place(outcome.cell): outcome for outcome in known}.values()))


class Summary(NamedTuple):
    """A run in words: how much is ok, what the rest is, and how small a difference could have been seen."""

    ok: str
    others: str
    resolution: str


@dataclass(frozen=True, slots=True)
class AcrossRow:
    """One cell on every run, as its ratio to one control."""

    cell: str
    control: str
    weights: tuple[Weights | None, ...]
    ratios: tuple[Interval | None, ...]
    resolvable: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """One sheet a run, and what can be said across them."""

    sheets: tuple[Sheet, ...]
    across: tuple[AcrossRow, ...]

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Every status that some cell has, in the order of `STATUSES`."""
        return tuple(status for status, _ in _tally([outcome for sheet in self.sheets for outcome in sheet.outcomes]))

    @property
    def flags(self) -> tuple[str, ...]:
        """Every flag that some cell has."""
        return tuple(dict.fromkeys(flag for sheet in self.sheets for flag in sheet.flags))


def build(runs_and_outcomes: Sequence[tuple[Run, Sequence[Outcome]]]) -> Report:
    """The tables of one or more runs; an outcome for every planned cell is not needed, an interrupted run has fewer."""
    sheets = tuple(_sheet(run, outcomes) for run, outcomes in runs_and_outcomes)
    return Report(sheets, _across(sheets) if len(sheets) > 1 else ())


def summary(sheet: Sheet) -> Summary:
    """What a run found in a sentence or two."""
    counts = dict(sheet.tally)
    others = [f"{number} {status}" for status, number in sheet.tally if status != "ok"]
    if sheet.unreached:
        others.append(f"{len(sheet.unreached)} not reached")
    found = sheet.resolvable
    return Summary(
        ok=f"{counts.get('ok', 0)} of {sheet.total} cells ok",
        others=", ".join(others),
        resolution=words.resolution(found.typical, found.worst) if found else words.NO_RESOLUTION,
    )


def weights_of(run: Run, outcome: Outcome) -> Weights | None:
    """The weights behind a number: what the outcome says, else what the run found for the model."""
    return outcome.weights or run.weights.get(outcome.cell.model)


def _sheet(run: Run, outcomes: Sequence[Outcome]) -> Sheet:
    order = {cell.id: place for place, cell in enumerate(run.cells)}
    ordered = tuple(sorted(outcomes, key=lambda outcome: order.get(outcome.cell.id, len(order))))
    reached = {outcome.cell.id for outcome in ordered}
    unreached = tuple(cell for cell in run.cells if cell.id not in reached)
    cells = _cells(run, ordered)
    return Sheet(
        run=run,
        outcomes=ordered,
        unreached=unreached,
        targets=tuple(dict.fromkeys(cell.target for cell in cells)),
        controls=tuple(dict.fromkeys(cell.target for cell in cells if cell.control)),
        rows=_rows(run, ordered, unreached),
        models=_models(run, ordered, unreached),
        troubles=_troubles(ordered),
        resolvable=_resolvable(ordered),
    )


def _cells(run: Run, outcomes: Iterable[Outcome]) -> tuple[Cell, ...]:
    """Planned cells first; an outcome that the plan does not know still counts."""
    return tuple({cell.id: cell for cell in (*run.cells, *(outcome.cell for outcome in outcomes))}.values())


def _rows(run: Run, outcomes: Sequence[Outcome], unreached: Sequence[Cell]) -> tuple[MatrixRow, ...]:
    cells = _cells(run, outcomes)
    targets = tuple(dict.fromkeys(cell.target for cell in cells))
    found: dict[tuple[str, str, str], list[Outcome]] = {}
    missed: dict[tuple[str, str, str], list[Cell]] = {}
    for outcome in outcomes:
        found.setdefault(_place(outcome.cell), []).append(outcome)
    for cell in unreached:
        missed.setdefault(_place(cell), []).append(cell)
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        for precision in dict.fromkeys(cell.precision for cell in cells if cell.model == model):
            places = [(model, precision, target) for target in targets]
            boxes = tuple(Box(p[2], tuple(found.get(p, ())), tuple(missed.get(p, ()))) for p in places)
            recipes = dict.fromkeys(
                words.recipe(cell) for cell in cells if (cell.model, cell.precision) == (model, precision)
            )
            weights = _weights(run, [outcome for box in boxes for outcome in box.outcomes], model)
            rows.append(MatrixRow(model, precision, ", ".join(filter(None, recipes)), weights, boxes))
    return tuple(rows)


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.precision, cell.target


def _weights(run: Run, outcomes: Sequence[Outcome], model: str) -> Weights | None:
    """Random if any of them is: a number must never look better founded than it is."""
    every = {weights_of(run, outcome) for outcome in outcomes} or {run.weights.get(model)}
    return "random" if "random" in every else next(iter(every - {None}), None)


def _models(run: Run, outcomes: Sequence[Outcome], unreached: Sequence[Cell]) -> tuple[ModelPart, ...]:
    parts = []
    for model in dict.fromkeys(outcome.cell.model for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.cell.model == model]
        ran = [outcome for outcome in own if outcome.status in RAN]
        cell = own[0].cell
        silent = len(own) - len(ran) + sum(missed.model == model for missed in unreached)
        workloads = tuple(_workload(name, ran) for name in dict.fromkeys(outcome.cell.workload for outcome in ran))
        parts.append(ModelPart(model, cell.family, cell.source, _weights(run, own, model), workloads, silent))
    return tuple(parts)


def _workload(name: str, ran: Sequence[Outcome]) -> WorkloadPart:
    own = tuple(outcome for outcome in ran if outcome.cell.workload == name)
    rates = dict.fromkeys(rate for outcome in own for rate in outcome.cell.rates)
    return WorkloadPart(name, own[0].cell.sizes, tuple(rates), own)


def _troubles(outcomes: Sequence[Outcome]) -> tuple[Trouble, ...]:
    """Outcomes that tell the same story stand together: a target that is missing is missing for every model."""
    stories: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status != "ok":
            stories.setdefault(_story(outcome), []).append(outcome)
    order = list(words.STATUSES)
    told = sorted(stories.values(), key=lambda group: order.index(group[0].status))
    return tuple(Trouble(group[0].status, tuple(group)) for group in told)


def _story(outcome: Outcome) -> tuple[object, ...]:
    failure = outcome.failure
    shared = (outcome.status, text.line(outcome.reason), text.line(outcome.remedy))
    if failure is None:
        return shared
    return (*shared, failure.stage, failure.kind, failure.message, failure.exit_code, failure.signal)


def _resolvable(outcomes: Sequence[Outcome]) -> Resolvable | None:
    found = [o.speed.resolvable for o in outcomes if o.speed is not None and o.speed.resolvable is not None]
    return Resolvable(statistics.median(found), max(found)) if found else None


def _tally(outcomes: Sequence[Outcome]) -> tuple[tuple[Status, int], ...]:
    counts = Counter(outcome.status for outcome in outcomes)
    return tuple((status, counts[status]) for status in words.STATUSES if counts[status])


def _across(sheets: Sequence[Sheet]) -> tuple[AcrossRow, ...]:
    """Machines are compared by ratios only, and only by ratios against one control."""
    found: dict[tuple[str, str], dict[int, Outcome]] = {}
    for number, sheet in enumerate(sheets):
        for outcome in sheet.outcomes:
            speed = outcome.speed
            if speed and speed.ratio_to_control and speed.control and speed.control != outcome.cell.id:
                found.setdefault((outcome.cell.id, speed.control), {})[number] = outcome
    return tuple(_across_row(cell, control, by_sheet, sheets) for (cell, control), by_sheet in found.items())


def _across_row(cell: str, control: str, by_sheet: dict[int, Outcome], sheets: Sequence[Sheet]) -> AcrossRow:
    outcomes = [by_sheet.get(number) for number in range(len(sheets))]
    speeds = [outcome.speed if outcome else None for outcome in outcomes]
    return AcrossRow(
        cell=cell,
        control=control,
        weights=tuple(weights_of(s.run, o) if o else None for s, o in zip(sheets, outcomes, strict=True)),
        ratios=tuple(speed.ratio_to_control if speed else None for speed in speeds),
        resolvable=tuple(speed.resolvable if speed else None for speed in speeds),
    )
