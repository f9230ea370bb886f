"""Decide each cell's verdict from its speed and support, and the gate's exit code from all cells (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from bench.gating import text
from bench.gating.decision import CellDecision
from bench.judge import placement, statistics
from bench.judge.outcome import ANSWERED
from bench.records import GateCell, GateVerdict, Note, NullControl, Outcome, Pair, Status, note

Tally = Counter[GateVerdict]
# Scripts and CI depend on these numbers (docs/gate.md).
FINE, REGRESSION, INCONCLUSIVE, NOTHING = 0, 1, 3, 4
"""Exit codes of a gate. `bench` exits with 2 for errors that the user can correct."""
RANK: dict[Status, int] = {"ok": 3, "partial": 2, "approximate": 1}
"""How well a cell works, by its status. A status that is not listed has rank 0: no usable output."""


class Answer(Struct, frozen=True):
    """The result of a gate: its exit code and the reasons."""

    exit_code: int
    facts: tuple[Note, ...]

    @property
    def sentence(self) -> str:
        """The reasons in one sentence."""
        return text.answer(self.facts)


class Support(Struct, frozen=True):
    """The support that a cell lost.

    `lost` is None if nothing was lost. `blamed` is False if the base has lost it today too, so that the change under
    test is not the cause.
    """

    lost: Note | None = None
    blamed: bool = True


def support(recorded: Outcome, remeasured: Outcome | None, new: Outcome) -> Support:
    """Compare the recorded outcome of the base, its outcome today (None if it was not run), and the new outcome.

    Support is lost if the status has a lower rank (ok, partial, approximate, any other), or if more nodes than before
    run on other providers than the target. This is a regression at any speed.
    """
    lost = _loss(recorded, new)
    if lost is None:
        return Support()
    # A base that is worse today than recorded shows a cause outside the change: a driver, a system, the machine.
    blamed = remeasured is None or bool(_loss(remeasured, new)) or not _loss(recorded, remeasured)
    return Support(lost, blamed)


def _loss(before: Outcome, after: Outcome) -> Note | None:
    # A gate that was interrupted before the cell's turn has seen no loss.
    if after.status == "not-measured":
        return None
    if RANK.get(after.status, 0) < RANK.get(before.status, 0):
        return note("lost-status", before=before.status, after=after.status, reason=text.outcome_reason(after))
    # Nodes of a cell without a valid answer say nothing about its support.
    if before.status not in ANSWERED:
        return None
    was, now = _fallback_count(before), _fallback_count(after)
    # An engine without providers has no nodes that could fall back.
    if was is None or now is None or now <= was:
        return None
    ops = tuple(after.fallback_ops)
    return note("lost-nodes", provider=after.cell.provider, before=was, after=now, operators=ops)


def _fallback_count(outcome: Outcome) -> int | None:
    """The number of computing nodes off the provider; None if the engine has no provider or it is unknown."""
    provider, placed = outcome.cell.provider, outcome.placement
    return placement.split(placed, provider).fallback_nodes if provider and placed else None


def cell_row(
    cell: str,
    verdict: GateVerdict,
    *facts: Note,
    remedy: Note | None = None,
    stage: Literal["support", ""] = "",
    base_status: Status | None = None,
) -> GateCell:
    """Make the row of a cell that was not measured in pairs."""
    return GateCell(
        cell=cell,
        verdict=verdict,
        reason=text.joined(facts),
        remedy=text.say(remedy) if remedy else "",
        stage=stage,
        base_status=base_status,
        reason_facts=facts,
    )


def paired(decided: CellDecision, pairs: Sequence[Pair]) -> GateCell:
    """Make the row of a cell from the decision on its speed and from its pairs."""
    # Null pairs measure the base twice, so they say nothing of the new side.
    own = [pair for pair in pairs if pair.cell == decided.cell and pair.kind != "null" and not pair.set_aside]
    failed = next((pair.failure for pair in own if pair.failure), "")
    facts = (*decided.reasons, note("text", text=failed)) if failed else decided.reasons
    return GateCell(
        cell=decided.cell,
        verdict=decided.verdict,
        reason=text.joined(facts),
        stage=decided.stage,
        change=decided.change,
        pairs=decided.pairs,
        detectable=decided.detectable,
        # The interval is over pairs, since the bursts of one pair share their processes.
        base_ms=statistics.typical(median(pair.base_ms) for pair in own if pair.base_ms),
        new_ms=statistics.typical(median(pair.new_ms) for pair in own if pair.new_ms),
        seconds=sum(pair.seconds for pair in own),
        reason_facts=facts,
    )


def supported(cell: GateCell, change: Support, recorded: Outcome, new: Outcome | None) -> GateCell:
    """Add the support to a row: lost support outranks every speed. `new` is None if the new side was not run."""
    # The name of a cell calls a user's own file by the recipe that leaves it as it is.
    own = text.file_format(new or recorded)
    notes = (*cell.notes, own) if own else cell.notes
    cell = replace(cell, base_status=recorded.status, new_status=new.status if new else None, notes=notes)
    if change.lost is None or new is None:
        return cell
    if change.blamed:
        facts: tuple[Note, ...] = (change.lost,)
        verdict: GateVerdict = "lost-support"
        remedy = text.outcome_remedy(new)
    else:
        facts, verdict, remedy = (
            (change.lost, note("base-lost-too")),
            "inconclusive",
            text.say(note("new-baseline")),
        )
    reason = text.joined(facts)
    return replace(cell, verdict=verdict, reason=reason, stage="support", remedy=remedy, reason_facts=facts)


def answer(cells: Sequence[GateCell], null: NullControl, too_short: Note | None = None) -> Answer:
    """Decide the exit code of a gate.

    1: a confirmed regression, lost support or worse answers. 3: too uncertain to decide. 4: cells could not be judged.
    0: no regression. `too_short` holds the reason if the time was too short to decide anything.
    """
    counts: Tally = Counter(cell.verdict for cell in cells)
    # A confirmed regression stays one when other cells are undecided, so it is checked first.
    if counts["regression"] or counts["lost-support"] or counts["worse-answers"]:
        return Answer(REGRESSION, (_regression_note(cells, counts),))
    if why := _doubts(counts, null, too_short):
        return Answer(INCONCLUSIVE, (note("inconclusive"), *why))
    # A missing cell must not pass silently: a matrix that lost its cells would be green.
    if counts["gone"]:
        return Answer(NOTHING, (note("cells-gone", count=counts["gone"]),))
    if not counts["pass"] and not counts["warning"]:
        return Answer(NOTHING, (note("nothing-to-judge"),))
    return Answer(FINE, (note("no-regression", passed=counts["pass"], warned=counts["warning"]),))


def _doubts(counts: Tally, null: NullControl, too_short: Note | None) -> tuple[Note, ...]:
    """The reasons why the gate is undecided; empty if it is decided."""
    if too_short:
        return (too_short,)
    # Without a valid null control no verdict can be trusted, whatever the cells say.
    if not null.fine:
        return null.reason_facts
    unsure = counts["inconclusive"]
    if not unsure:
        return ()
    return (note("cells-inconclusive", count=unsure, passed=counts["pass"], warned=counts["warning"]),)


def _regression_note(cells: Sequence[GateCell], counts: Tally) -> Note:
    """Count the failed cells, and name the worst."""
    slower = [cell for cell in cells if cell.verdict == "regression" and cell.change]
    worst = max(slower, key=lambda cell: cell.change.value if cell.change else 0.0, default=None)
    lost = next((cell.cell for cell in cells if cell.verdict == "lost-support"), None)
    return note(
        "regression",
        slower=counts["regression"],
        worst=worst.cell if worst else None,
        change=worst.change.value if worst and worst.change else None,
        lost=counts["lost-support"],
        first_lost=lost,
        worse=counts["worse-answers"],
        first_worse=next((cell.cell for cell in cells if cell.verdict == "worse-answers"), None),
        inconclusive=counts["inconclusive"],
    )
