"""Judges the labelled samples of a cell: its task metric, and the loss against the FP32 reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from bench.judge import task_values
from bench.records import Cell, Note, Observation, Run, TaskReference, TaskResult, TaskScores, note

Scored = tuple[Cell, TaskScores]


def results(run: Run, rounds: Mapping[str, Sequence[Observation]]) -> dict[str, TaskResult]:
    """By group: the task metric of its cells; groups whose model has no labelled samples are left out."""
    if not run.tasks:
        return {}
    scored, first = by_group(run, rounds), {cell.group: cell for cell in reversed(run.cells)}
    judged = {group: result(run, cell, scored.get(group)) for group, cell in first.items()}
    return {group: known for group, known in judged.items() if known is not None}


def by_group(run: Run, rounds: Mapping[str, Sequence[Observation]]) -> dict[str, Scored]:
    """By group: the cell that ran the labelled samples, and the latest scores. One workload stands for all others."""
    latest: dict[str, Scored] = {}
    for cell in run.cells:
        for observation in rounds.get(cell.id, ()):
            if observation.task is not None:
                latest[cell.group] = (cell, observation.task)
    return latest


def result(run: Run, cell: Cell, scored: Scored | None) -> TaskResult | None:
    """The task metric of a cell; None where its model has no labelled samples."""
    reference = _reference(run, cell, scored)
    if reference is None:
        return None
    metric, samples = reference.scores.metric, _samples(reference.scores)
    if scored is None:
        return TaskResult(metric, samples, fault=note("task-not-run"))
    return replace(compared(reference.scores, scored[1]), notes=reference.notes)


def _reference(run: Run, cell: Cell, scored: Scored | None) -> TaskReference | None:
    if scored is not None:
        return run.tasks.get(f"{scored[0].model}/{scored[0].workload}")
    return next((task for name, task in run.tasks.items() if name.partition("/")[0] == cell.model), None)


def compared(reference: TaskScores, ours: TaskScores) -> TaskResult:
    """The metric of some scores and their loss against a reference on the same samples."""
    metric, samples = reference.metric, _samples(reference)
    if fault := _fault(reference, ours):
        return TaskResult(metric, samples, fault=fault)
    own, known = (task_values.value(metric, side.columns) for side in (ours, reference))
    loss = task_values.paired(metric, reference.columns, ours.columns)
    return TaskResult(
        metric=metric,
        samples=samples,
        value=own,
        reference=known,
        loss=task_values.shown(metric, loss) if loss else None,
        needed=task_values.needed(metric, loss) if loss else None,
    )


def _fault(reference: TaskScores, ours: TaskScores) -> Note | None:
    if ours.failure is not None:
        return note("task-failed", status=ours.failure.status, text=ours.failure.message)
    if ours.digest != reference.digest or ours.metric != reference.metric or _samples(ours) != _samples(reference):
        return note("task-other-samples")
    usable = all(task_values.has_columns(side.metric, side.columns) for side in (reference, ours))
    return None if usable else note("task-not-finite")


def _samples(scores: TaskScores) -> int:
    return max(map(len, scores.columns.values()), default=0)
