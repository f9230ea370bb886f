"""Decide whether the labelled samples of a cell are scored worse than those of the base (pure).

Both sides run the same samples, which are compared one by one. A loss fails a gate if it is certain, with the same
control of false alarms over all cells as for speed, and above the limit.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from bench.gating import text
from bench.gating.rules import Rules
from bench.gating.stages import benjamini_hochberg
from bench.judge import task, task_values
from bench.records import GateCell, GateVerdict, Note, NoteValue, TaskResult, TaskScores, note


class TaskPair(Struct, frozen=True):
    """The scores of one cell's labelled samples on both sides; None where a side has none."""

    recorded: TaskScores | None
    """Of the base's own run."""
    remeasured: TaskScores | None
    """Of the base today."""
    new: TaskScores | None

    def base(self) -> TaskScores | None:
        """The scores to compare with: those of today, else the recorded ones, of the same samples as the new side's."""
        sides = [side for side in (self.remeasured, self.recorded) if side is not None]
        same = [side for side in sides if self.new is not None and side.digest == self.new.digest]
        usable = [side for side in same if side.failure is None]
        return next(iter([*usable, *same, *sides]), None)


class TaskDecision(Struct, frozen=True):
    """The decision on one cell's labelled samples; `verdict` is None where they give no reason to fail or doubt."""

    verdict: GateVerdict | None
    facts: tuple[Note, ...] = ()
    result: TaskResult | None = None
    """The metric of the new side, with that of the base as its reference."""
    remedy: Note | None = None


def decide(pairs: Mapping[str, TaskPair], rules: Rules) -> dict[str, TaskDecision]:
    """The decision on each cell by its id."""
    comparable = {cell: both for cell, pair in pairs.items() if (both := _comparable(pair)) is not None}
    losses = {
        cell: loss
        for cell, (base, new) in comparable.items()
        if (loss := task_values.paired(new.metric, base.columns, new.columns)) is not None
    }
    certain = benjamini_hochberg({cell: loss.worse for cell, loss in losses.items()}, rules.q)
    decided = {}
    for cell, pair in pairs.items():
        if cell in losses:
            base, new = comparable[cell]
            decided[cell] = _decided(task.compared(base, new), cell in certain, rules)
        else:
            decided[cell] = _without_loss(pair)
    return decided


def _comparable(pair: TaskPair) -> tuple[TaskScores, TaskScores] | None:
    """Base and new scores of the same samples; None where a metric cannot be computed of both."""
    base, new = pair.base(), pair.new
    if base is None or new is None:
        return None
    return (base, new) if task.compared(base, new).fault is None else None


def _decided(result: TaskResult, certain: bool, rules: Rules) -> TaskDecision:
    assert result.loss is not None
    if result.loss.value <= rules.task_loss:
        return TaskDecision(None, (), result)
    figures: dict[str, NoteValue] = {
        "metric": result.metric,
        "base": result.reference,
        "value": result.value,
        "loss": result.loss.value,
        "low": result.loss.low,
        "high": result.loss.high,
        "samples": result.samples,
    }
    if certain:
        return TaskDecision("worse-answers", (note("worse-answers", **figures),), result)
    fact = note("maybe-worse-answers", **figures)
    return TaskDecision("inconclusive", (fact,), result, note("more-samples", needed=result.needed))


def _without_loss(pair: TaskPair) -> TaskDecision:
    """The decision where the metric of one side is missing."""
    base, new = pair.base(), pair.new
    if new is None:
        return TaskDecision("inconclusive", (note("samples-gone"),), None, note("new-baseline"))
    # The base has no labels, or could not run them itself: the change under test has lost nothing.
    if base is None or base.failure is not None:
        return TaskDecision(None)
    if base.digest == new.digest and new.failure is not None:
        return TaskDecision("lost-support", (note("samples-failed", text=new.failure.message),))
    result = task.compared(base, new)
    if result.fault is not None and result.fault.kind == "task-not-finite":
        return TaskDecision("inconclusive", (note("samples-not-finite"),), result)
    if result.fault is not None:
        return TaskDecision("inconclusive", (note("other-samples"),), result, note("new-baseline"))
    return TaskDecision("inconclusive", (note("one-sample"),), result)


def judged(cell: GateCell, decision: TaskDecision | None) -> GateCell:
    """Add the decision to the row of a cell. Lost support outranks it; it outranks speed, which stays among the facts.

    A doubt about the answers replaces a pass only.
    """
    if decision is None:
        return cell
    cell = replace(cell, task=decision.result, notes=(*cell.notes, *_note(decision)))
    replaces = {
        "worse-answers": cell.verdict != "lost-support",
        "lost-support": cell.verdict != "lost-support",
        "inconclusive": cell.verdict in ("pass", "warning"),
    }
    if decision.verdict is None or not replaces[decision.verdict]:
        return cell
    # A pass says nothing that a reader of a failure needs.
    facts = decision.facts if cell.verdict == "pass" else (*decision.facts, *cell.reason_facts)
    remedy = text.say(decision.remedy) if decision.remedy else cell.remedy
    return replace(
        cell, verdict=decision.verdict, reason=text.joined(facts), stage="labels", remedy=remedy, reason_facts=facts
    )


def _note(decision: TaskDecision) -> tuple[str, ...]:
    """The metric of both sides in words, where the reason does not say it."""
    if decision.verdict is not None or decision.result is None:
        return ()
    return (text.task_line(decision.result),)
