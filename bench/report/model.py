"""Builds the model of a report from runs and their outcomes: the tables that every format prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.records import Cell, Comparison, Outcome, Run, Status
from bench.report import (
    answers,
    comparison_table,
    emulation,
    matrix_table,
    model_tables,
    problem_groups,
    side_by_side,
    targets,
    text,
)
from bench.report.answers import ModelAnswer
from bench.report.comparison_table import ComparisonRow, WorkloadComparisons
from bench.report.emulation import EmulatorTimes
from bench.report.matrix_table import MatrixRow
from bench.report.metric import CellResult
from bench.report.model_tables import ModelPart
from bench.report.problem_groups import ProblemGroup
from bench.report.side_by_side import AcrossRow, VersionGroup
from bench.report.targets import Lacking, TargetPart


@dataclass(frozen=True, slots=True)
class Resolvable:
    """The smallest relative differences that a run can distinguish from noise, as shares of 1."""

    typical: float
    """The median over cells."""
    worst: float
    """That of the noisiest cell."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The tables of one run."""

    run: Run
    outcomes: tuple[Outcome, ...]
    """In the order of the plan; those of emulated cells have no times."""
    emulator_times: dict[str, EmulatorTimes]
    """By the id of each emulated cell: its times in the emulator."""
    unreached: tuple[Cell, ...]
    """Planned cells without an outcome, because the run was interrupted."""
    targets: tuple[TargetPart, ...]
    version_groups: tuple[VersionGroup, ...]
    every_row: tuple[MatrixRow, ...]
    models: tuple[ModelPart, ...]
    problems: tuple[ProblemGroup, ...]
    resolvable: Resolvable | None
    comparisons: tuple[Comparison, ...]
    """Of the cells that people compare, each pair once."""
    compared: tuple[WorkloadComparisons, ...]
    """The same as rows of tables, by model and workload."""
    answers: tuple[ModelAnswer, ...]
    """What a reader asks first of each model that was tried."""
    rank_approximate: bool = False
    """Whether the reader asks for approximate cells in rankings."""

    @property
    def by_id(self) -> dict[str, Outcome]:
        """The outcomes by the ids of their cells."""
        return {outcome.cell.id: outcome for outcome in self.outcomes}

    def is_ranked(self, outcome: Outcome) -> bool:
        """Whether an outcome with a speed is in the tables of speeds; random models are in none of them."""
        return self.rank_approximate or outcome.status != "approximate"

    def result(self, outcome: Outcome) -> CellResult:
        """An outcome of this run in the form that the rows of `metrics` read."""
        times = self.emulator_times.get(outcome.cell.id)
        return CellResult(self.run, outcome, times.speed if times else None)

    def is_compared(self, row: ComparisonRow) -> bool:
        """Whether a comparison is shown where rankings are: as for rankings, unless the reader asks for others too."""
        return self.rank_approximate or not row.is_approximate

    @property
    def columns(self) -> tuple[TargetPart, ...]:
        """The targets with a column in the matrix: those that could run, or all if none could."""
        return _columns(self.targets)

    @property
    def rows(self) -> tuple[MatrixRow, ...]:
        """The rows that the matrix shows: those that rules do not exclude, or all if every row is excluded."""
        return tuple(row for row in self.every_row if not row.excluded) or self.every_row

    @property
    def excluded_rows(self) -> tuple[str, ...]:
        """Names of models that rules exclude as a whole, and of single excluded rows: `qwen`, `minilm int4`."""
        models, shown = {row.model for row in self.rows}, {(row.model, row.precision) for row in self.rows}
        hidden = [row for row in self.every_row if (row.model, row.precision) not in shown]
        return tuple(dict.fromkeys(f"{r.model} {r.precision}" if r.model in models else r.model for r in hidden))

    @property
    def absent(self) -> tuple[TargetPart, ...]:
        """The targets that are not available on this machine."""
        return tuple(target for target in self.targets if target.absent)

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """The targets without a column that are not on this machine, with what would enable them."""
        return targets.lacking(self.run, [target for target in self.absent if target not in self.columns])

    @property
    def excluded(self) -> tuple[TargetPart, ...]:
        """The targets of which rules of the matrix exclude every cell."""
        return tuple(target for target in self.targets if target.excluded)

    @property
    def tally(self) -> tuple[tuple[Status, int], ...]:
        """Each status of the run with the number of its cells."""
        return matrix_table.tally(self.outcomes)

    @property
    def total(self) -> int:
        """How many cells were planned."""
        return len(self.outcomes) + len(self.unreached)

    @property
    def flags(self) -> tuple[str, ...]:
        """The kind of every flag that a cell has, in its rounds or in its sustained run."""
        # A sustained run has flags of its own, which need their explanation too.
        both = ((*outcome.flags, *(outcome.sustained.flags if outcome.sustained else ())) for outcome in self.outcomes)
        return tuple(dict.fromkeys(flag.kind for flags in both for flag in flags))

    @property
    def scored(self) -> tuple[Outcome, ...]:
        """One outcome with labelled samples for each model, precision and target: workloads share the scores."""
        distinct = {outcome.cell.group: outcome for outcome in reversed(self.outcomes) if outcome.task is not None}
        return tuple(reversed(distinct.values()))

    @property
    def placed(self) -> tuple[Outcome, ...]:
        """One outcome for each distinct placement of nodes that is known.

        The workloads of one session share a placement; sessions with fixed shapes may differ. Placements also count as
        distinct if their profiles differ in copies or time. An outcome without a profile is left out if an outcome with
        the same placement has one.
        """
        known = [outcome for outcome in self.outcomes if outcome.nodes_on_target is not None]
        profiled = {_nodes(outcome) for outcome in known if _cost(outcome)}
        distinct: dict[tuple[object, ...], Outcome] = {}
        for outcome in known:
            if _cost(outcome) or _nodes(outcome) not in profiled:
                distinct.setdefault((*_nodes(outcome), _cost(outcome)), outcome)
        return tuple(distinct.values())


def _nodes(outcome: Outcome) -> tuple[object, ...]:
    return (*matrix_table.place(outcome.cell), str(outcome.placement and outcome.placement.nodes))


def _cost(outcome: Outcome) -> tuple[int | None, float | None] | None:
    placed = outcome.placement
    if placed is None or (placed.copies is None and placed.time_elsewhere is None):
        return None
    return placed.copies, placed.time_elsewhere


class Summary(NamedTuple):
    """A run in words: how many cells are ok, the counts of the others, and the smallest visible difference."""

    ok: str
    others: str
    resolution: str


@dataclass(frozen=True, slots=True)
class Report:
    """The tables of every run, and the comparison across runs."""

    sheets: tuple[RunReport, ...]
    across: tuple[AcrossRow, ...]
    rank_approximate: bool = False
    """Whether the reader asks for approximate cells in rankings."""

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Every status that at least one cell has, in the order of `STATUSES`."""
        return tuple(
            status for status, _ in matrix_table.tally([outcome for sheet in self.sheets for outcome in sheet.outcomes])
        )

    @property
    def generates(self) -> bool:
        """Whether at least one of the models generates."""
        return any(model.generates for sheet in self.sheets for model in sheet.models)

    @property
    def sustained(self) -> bool:
        """Whether at least one cell has a sustained run."""
        return any(outcome.sustained for sheet in self.sheets for outcome in sheet.outcomes)

    @property
    def scored(self) -> bool:
        """Whether at least one cell has labelled samples."""
        return any(sheet.scored for sheet in self.sheets)

    @property
    def flags(self) -> tuple[str, ...]:
        """The kind of every flag that at least one cell has."""
        return tuple(dict.fromkeys(flag for sheet in self.sheets for flag in sheet.flags))


def build(
    runs_and_outcomes: Sequence[tuple[Run, Sequence[Outcome]]],
    comparisons: Sequence[Sequence[Comparison]] = (),
    *,
    rank_approximate: bool = False,
) -> Report:
    """The tables of one or more runs; an interrupted run may have fewer outcomes than planned cells.

    `comparisons` are those of each run, in the same order, as far as they are known. `rank_approximate` also ranks the
    cells whose answers are within tolerance and visibly others.
    """
    sheets = tuple(
        _sheet(run, outcomes, comparisons[number] if number < len(comparisons) else (), rank_approximate)
        for number, (run, outcomes) in enumerate(runs_and_outcomes)
    )
    return Report(sheets, side_by_side.across_runs(sheets) if len(sheets) > 1 else (), rank_approximate)


def summary(sheet: RunReport) -> Summary:
    """The result of a run in one or two sentences."""
    counts = dict(sheet.tally)
    # Excluded cells are not meant to run, so they are not part of the total.
    excluded = counts.pop("excluded", 0)
    others = [f"{number} {status}" for status, number in counts.items() if status != "ok"]
    if sheet.unreached:
        others.append(f"{len(sheet.unreached)} not reached")
    if excluded:
        others.append(f"and {excluded} more that rules leave out")
    resolvable = sheet.resolvable
    return Summary(
        ok=f"{counts.get('ok', 0)} of {sheet.total - excluded} cells ok",
        others=", ".join(others),
        resolution=text.resolution(resolvable.typical, resolvable.worst) if resolvable else text.NO_RESOLUTION,
    )


def _sheet(
    run: Run, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison], rank_approximate: bool
) -> RunReport:
    order = {cell.id: place for place, cell in enumerate(run.cells)}
    # An outcome that is in no plan, as a file from elsewhere may have, comes last.
    ordered = tuple(sorted(outcomes, key=lambda outcome: order.get(outcome.cell.id, len(order))))
    # All tables use outcomes without the times of emulators; `emulator_times` keeps these times apart.
    shown = tuple(map(emulation.without_times, ordered))
    reached = {outcome.cell.id for outcome in ordered}
    unreached = tuple(cell for cell in run.cells if cell.id not in reached)
    cells = _cells(run, ordered)
    target_parts = targets.parts(run, cells, shown)
    columns = [target.name for target in _columns(target_parts)]
    return RunReport(
        run=run,
        outcomes=shown,
        emulator_times=emulation.times(ordered),
        unreached=unreached,
        targets=target_parts,
        version_groups=side_by_side.across_versions(target_parts, shown),
        every_row=matrix_table.rows(run, cells, shown, unreached, columns),
        models=model_tables.parts(run, shown, unreached),
        problems=problem_groups.groups(shown),
        resolvable=_resolvable(shown),
        comparisons=tuple(comparisons),
        compared=comparison_table.parts({outcome.cell.id: outcome for outcome in shown}, comparisons),
        answers=answers.answers(shown, comparisons, rank_approximate=rank_approximate),
        rank_approximate=rank_approximate,
    )


def _columns(target_parts: tuple[TargetPart, ...]) -> tuple[TargetPart, ...]:
    return tuple(target for target in target_parts if not (target.absent or target.excluded)) or target_parts


def _cells(run: Run, outcomes: Iterable[Outcome]) -> tuple[Cell, ...]:
    """The planned cells, then those of outcomes that are not in the plan."""
    return tuple({cell.id: cell for cell in (*run.cells, *(outcome.cell for outcome in outcomes))}.values())


def _resolvable(outcomes: Sequence[Outcome]) -> Resolvable | None:
    resolvable = [o.speed.resolvable for o in outcomes if o.speed is not None and o.speed.resolvable is not None]
    return Resolvable(statistics.median(resolvable), max(resolvable)) if resolvable else None
