"""Every cell's row from what a gate measured, and what a reader must know of how it came about (pure).

Where a base cannot be run again, its stored numbers are compared. They are not paired with anything: what the machine
did on another day is in the difference. So they warn, and they fail a cell only where the whole interval lies above
what a machine drifts by (see MEASUREMENT, "The gate").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from bench.gating import text
from bench.gating.cells import Support, cell_row, paired, support, supported
from bench.gating.choice import Both, Choice
from bench.gating.decision import Decided, Rules
from bench.judge import statistics
from bench.judge.outcome import judge
from bench.judge.speed import Medians, logs, round_medians
from bench.judge.stored_change import DRIFT, change
from bench.records import Failure, GateCell, GateVerdict, Interval, Note, Observation, Outcome, Pair, Run, note

ROUNDS = 6
"""Fresh rounds of the new side against stored numbers: under six, an interval of a noisy machine says nothing."""
TARGET = "target"
"""The stage of a failure that speaks of the machine; others at preparing say that the base could not be made again."""


class SideResult(Struct, frozen=True):
    """What is known of one side: its run, what was seen of its cells, and which could not be prepared."""

    run: Run
    seen: tuple[Observation, ...]
    failures: Mapping[str, Failure] = {}

    def outcomes(self) -> dict[str, Outcome]:
        """Those of the cells of which anything was seen."""
        known = {observation.cell for observation in self.seen}
        return {outcome.cell.id: outcome for outcome in judge(self.run, self.seen) if outcome.cell.id in known}


class GateObservations(Struct, frozen=True):
    """All that a gate has seen."""

    choice: Choice
    base: SideResult
    """As it was recorded."""
    new: SideResult
    remeasured_base: SideResult | None
    """The base made again; None where that cannot be."""
    not_remeasured: Note | None
    """… and why not."""
    decided: tuple[Decided, ...]
    pairs: tuple[Pair, ...]

    def missing_reason(self, cell: str) -> Note | None:
        """Why the base's side of a cell cannot be run again; None where it can."""
        failure = self.remeasured_base.failures.get(cell) if self.remeasured_base else None
        return note("text", text=failure.message) if failure else self.not_remeasured


def rows(observed: GateObservations, rules: Rules) -> tuple[GateCell, ...]:
    """Every cell's row, in the order of the choice, then those that are not judged."""
    recorded, now = observed.base.outcomes(), observed.new.outcomes()
    remeasured = _remeasured(observed.remeasured_base)
    speeds = {decided.cell: paired(decided, observed.pairs) for decided in observed.decided}
    found = []
    for both in observed.choice.both:
        row = speeds.get(both.id) or _without_pairs(observed, both, rules)
        new = now.get(both.id)
        lost = support(recorded[both.id], remeasured.get(both.id), new) if new else Support()
        found.append(supported(row, lost, recorded[both.id], new))
    return (*found, *observed.choice.rest)


def _remeasured(side: SideResult | None) -> dict[str, Outcome]:
    """What the base comes to today, where that can be known: not of cells that could not be made again."""
    if side is None:
        return {}
    unmade = {cell for cell, failure in side.failures.items() if failure.stage != TARGET}
    return {cell: outcome for cell, outcome in side.outcomes().items() if cell not in unmade}


def _without_pairs(observed: GateObservations, both: Both, rules: Rules) -> GateCell:
    if both.new.emulated:
        return cell_row(both.id, "pass", note("emulated-times"), stage="support")
    if both.id in observed.new.failures:
        return cell_row(both.id, "inconclusive", note("new-side-unprepared"))
    base, new = _medians(observed.base.seen, both.id), _medians(observed.new.seen, both.id)
    return stored(both.id, base, new, observed.missing_reason(both.id), rules)


def _medians(seen: Iterable[Observation], cell: str) -> dict[int, float]:
    return round_medians([observation for observation in seen if observation.cell == cell])


def stored(cell: str, base: Medians, new: Medians, missing: Note | None, rules: Rules) -> GateCell:
    """The verdict on one cell from stored medians; `missing` says why its base was not run again."""
    found = change(logs(base), logs(new)) if base and new else None
    verdict, reason = _stored_verdict(found, rules)
    facts = (reason, note("against-stored", reason=text.say(missing) if missing else None))
    return GateCell(
        cell=cell,
        verdict=verdict,
        reason=text.joined(facts),
        stage="stored",
        change=found,
        pairs=0,
        detectable=DRIFT if verdict == "pass" else None,
        base_ms=statistics.typical(base.values()),
        new_ms=statistics.typical(new.values()),
        reason_facts=facts,
    )


def _stored_verdict(found: Interval | None, rules: Rules) -> tuple[GateVerdict, Note]:
    if found is None or found.low is None or found.high is None:
        return "inconclusive", note("too-few-rounds")
    if found.low > DRIFT:
        return "regression", note("slower-than-drift", low=found.low)
    if found.low > 0 and found.value > rules.suspect:
        return "warning", note("slower-or-drift", value=found.value)
    if found.high > DRIFT:
        return "inconclusive", note("slowdown-possible", high=found.high)
    return "pass", note("no-slowdown-over", limit=DRIFT)


def notes(observed: GateObservations, noticed: Sequence[Note]) -> tuple[Note, ...]:
    """What was noticed on the way, each thing once, and how many cells are compared with stored numbers."""
    in_pairs = {decided.cell for decided in observed.decided}
    stored_cells = [
        both.id
        for both in observed.choice.both
        if both.id not in in_pairs and not both.new.emulated and both.id not in observed.new.failures
    ]
    found: list[Note] = []
    for fact in noticed:
        if fact not in found:
            found.append(fact)
    if stored_cells:
        found.append(note("stored-cells", count=len(stored_cells), cells=len(observed.choice.both), limit=DRIFT))
    if disturbed := sum(pair.set_aside for pair in observed.pairs):
        found.append(note("disturbed-pairs", count=disturbed, pairs=len(observed.pairs)))
    return tuple(found)


def too_short(cells: Sequence[GateCell], budget_minutes: float, took_s: float, screened: int) -> Note | None:
    """Where the time was used up and nothing was decided: what would be enough. None where something was.

    `took_s` is what the slowest pair took, 0 where none was made; `screened` counts the cells to be screened.
    """
    if any(cell.verdict in {"pass", "regression"} and cell.stage in {"screen", "confirm"} for cell in cells):
        return None
    minutes = max(1.0, 2 * screened * took_s / 60) if took_s else None
    return note("too-short", budget_minutes=budget_minutes, cells=screened, minutes=minutes)
