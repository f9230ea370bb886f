"""Make every cell's row from what a gate measured, and the notes about how it was measured (pure).

If a base cannot be run again, its stored numbers are compared. They were measured on another day, so the drift of the
machine is part of the difference. Therefore they usually only warn, and fail a cell only if the whole interval is above
the usual drift (`bench.judge.stored_change`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from bench.gating import task_loss, text
from bench.gating.cells import Support, cell_row, paired, support, supported
from bench.gating.choice import Choice, CommonCell
from bench.gating.decision import CellDecision, Rules
from bench.gating.task_loss import TaskPair
from bench.judge import statistics
from bench.judge.outcome import judge
from bench.judge.speed import Medians, logs, round_medians
from bench.judge.stored_change import DRIFT, change
from bench.records import Failure, GateCell, GateVerdict, Interval, Note, Observation, Outcome, Pair, Run, note

ROUNDS = 6
"""Fresh rounds of the new side against stored numbers: with fewer, the interval is too wide on a noisy machine."""
TARGET = "target"
"""The stage of failures of the machine; other failures of preparing mean that the base cannot be rebuilt."""


class SideResult(Struct, frozen=True):
    """One side: its run, its observations, and the failures of cells that could not be prepared."""

    run: Run
    observations: tuple[Observation, ...]
    failures: Mapping[str, Failure] = {}

    def outcomes(self) -> dict[str, Outcome]:
        """The outcomes of the cells that have an observation, by cell id."""
        known = {observation.cell for observation in self.observations}
        return {outcome.cell.id: outcome for outcome in judge(self.run, self.observations) if outcome.cell.id in known}


class GateObservations(Struct, frozen=True):
    """Everything that a gate has measured."""

    choice: Choice
    base: SideResult
    """The base as recorded."""
    new: SideResult
    remeasured_base: SideResult | None
    """The rebuilt base; None if it cannot be rebuilt."""
    not_remeasured: Note | None
    """The reason why the base cannot be rebuilt."""
    decided: tuple[CellDecision, ...]
    pairs: tuple[Pair, ...]
    labelled: Mapping[str, TaskPair] = {}
    """By cell: the scores of labelled samples."""

    def missing_reason(self, cell: str) -> Note | None:
        """The reason why the base of a cell cannot be run again; None if it can."""
        failure = self.remeasured_base.failures.get(cell) if self.remeasured_base else None
        return note("text", text=failure.message) if failure else self.not_remeasured


def rows(observed: GateObservations, rules: Rules) -> tuple[GateCell, ...]:
    """The rows of all cells, in the order of the choice, then of those that are not judged."""
    recorded, now = observed.base.outcomes(), observed.new.outcomes()
    remeasured = _remeasured(observed.remeasured_base)
    speeds = {decided.cell: paired(decided, observed.pairs) for decided in observed.decided}
    answers = task_loss.decide(observed.labelled, rules)
    cells = []
    for both in observed.choice.both:
        row = speeds.get(both.id) or _without_pairs(observed, both, rules)
        # A cell without an observation was not reached in time: it has not lost support.
        new = now.get(both.id)
        lost = support(recorded[both.id], remeasured.get(both.id), new) if new else Support()
        cells.append(task_loss.judged(supported(row, lost, recorded[both.id], new), answers.get(both.id)))
    return (*cells, *observed.choice.rest)


def _remeasured(side: SideResult | None) -> dict[str, Outcome]:
    """The outcomes of the rebuilt base today, without the cells that could not be rebuilt."""
    if side is None:
        return {}
    # A target that the machine lacks today is no fault of rebuilding: it shows that the base has lost it too.
    unmade = {cell for cell, failure in side.failures.items() if failure.stage != TARGET}
    return {cell: outcome for cell, outcome in side.outcomes().items() if cell not in unmade}


def _without_pairs(observed: GateObservations, both: CommonCell, rules: Rules) -> GateCell:
    # An emulator's times mean nothing, so the cell passes by its support, which `supported` adds.
    if both.new.emulated:
        return cell_row(both.id, "pass", note("emulated-times"), stage="support")
    if both.id in observed.new.failures:
        return cell_row(both.id, "inconclusive", note("new-side-unprepared"))
    base, new = _medians(observed.base.observations, both.id), _medians(observed.new.observations, both.id)
    return stored(both.id, base, new, observed.missing_reason(both.id), rules)


def _medians(observations: Iterable[Observation], cell: str) -> dict[int, float]:
    return round_medians([observation for observation in observations if observation.cell == cell])


def stored(cell: str, base: Medians, new: Medians, missing: Note | None, rules: Rules) -> GateCell:
    """Judge one cell from stored medians in milliseconds by round; `missing` is why its base was not run again."""
    slowdown = change(logs(base), logs(new)) if base and new else None
    verdict, reason = _stored_verdict(slowdown, rules)
    facts = (reason, note("against-stored", reason=text.say(missing) if missing else None))
    return GateCell(
        cell=cell,
        verdict=verdict,
        reason=text.joined(facts),
        stage="stored",
        change=slowdown,
        pairs=0,
        # Stored numbers cannot show less than the machine drifts between two runs.
        detectable=DRIFT if verdict == "pass" else None,
        base_ms=statistics.typical(base.values()),
        new_ms=statistics.typical(new.values()),
        reason_facts=facts,
    )


def _stored_verdict(slowdown: Interval | None, rules: Rules) -> tuple[GateVerdict, Note]:
    if slowdown is None or slowdown.low is None or slowdown.high is None:
        return "inconclusive", note("too-few-rounds")
    # In this order: a certain slowdown, a likely one, a possible one. Scatter that could hide 10 % is no pass.
    if slowdown.low > DRIFT:
        return "regression", note("slower-than-drift", low=slowdown.low)
    if slowdown.low > 0 and slowdown.value > rules.suspect:
        return "warning", note("slower-or-drift", value=slowdown.value)
    if slowdown.high > DRIFT:
        return "inconclusive", note("slowdown-possible", high=slowdown.high)
    return "pass", note("no-slowdown-over", limit=DRIFT)


def notes(observed: GateObservations, noticed: Sequence[Note]) -> tuple[Note, ...]:
    """The notes collected during the gate without duplicates, and the numbers of stored cells and discarded pairs."""
    in_pairs = {decided.cell for decided in observed.decided}
    stored_cells = [
        both.id
        for both in observed.choice.both
        if both.id not in in_pairs and not both.new.emulated and both.id not in observed.new.failures
    ]
    distinct: list[Note] = []
    # Not a set: the order of the notes is the order in which they came up.
    for fact in noticed:
        if fact not in distinct:
            distinct.append(fact)
    if stored_cells:
        distinct.append(note("stored-cells", count=len(stored_cells), cells=len(observed.choice.both), limit=DRIFT))
    if disturbed := sum(pair.set_aside for pair in observed.pairs):
        distinct.append(note("disturbed-pairs", count=disturbed, pairs=len(observed.pairs)))
    return tuple(distinct)


def too_short(cells: Sequence[GateCell], budget_minutes: float, took_s: float, screened: int) -> Note | None:
    """The note on a budget that was too short to decide any cell, and on one that is enough; None if a cell is decided.

    `took_s` is the time of the slowest pair in seconds, 0 without pairs; `screened` is the number of cells to screen.
    """
    # Stored numbers and support need no pairs, so they do not show that the budget was enough.
    if any(cell.verdict in {"pass", "regression"} and cell.stage in {"screen", "confirm"} for cell in cells):
        return None
    # Every cell is screened with two pairs at least.
    minutes = max(1.0, 2 * screened * took_s / 60) if took_s else None
    return note("too-short", budget_minutes=budget_minutes, cells=screened, minutes=minutes)
