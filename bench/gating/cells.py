"""Each cell's verdict from its speed and its support, and the gate's answer from all cells (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from bench.gating import text
from bench.gating.decision import Decided
from bench.judge import placement, statistics
from bench.judge.outcome import ANSWERED
from bench.records import GateCell, GateVerdict, Note, NullControl, Outcome, Pair, Status, note

Tally = Counter[GateVerdict]
FINE, REGRESSION, INCONCLUSIVE, NOTHING = 0, 1, 3, 4
"""Exit codes of a gate (DESIGN)."""
RANK: dict[Status, int] = {"ok": 2, "partial": 1}
"""Every other status is no answer at all."""


class Answer(Struct, frozen=True):
    """What a gate says: its exit code, and why."""

    exit_code: int
    facts: tuple[Note, ...]

    @property
    def sentence(self) -> str:
        """Why, in one sentence."""
        return text.answer(self.facts)


class Support(Struct, frozen=True):
    """What is lost, None for nothing; `blamed` is False where the base has lost it too: the change is not why."""

    lost: Note | None = None
    blamed: bool = True


def support(recorded: Outcome, remeasured: Outcome | None, new: Outcome) -> Support:
    """Compare what was recorded of the base, what the base comes to today (None where it was not run), and the new.

    Lost is a status of a lower rank (ok, partial, no answer), or more nodes than before on other providers than the
    target: however fast, it is a regression.
    """
    lost = _lost(recorded, new)
    if lost is None:
        return Support()
    blamed = remeasured is None or bool(_lost(remeasured, new)) or not _lost(recorded, remeasured)
    return Support(lost, blamed)


def _lost(before: Outcome, after: Outcome) -> Note | None:
    if RANK.get(after.status, 0) < RANK.get(before.status, 0):
        return note("lost-status", before=before.status, after=after.status, reason=text.outcome_reason(after))
    if before.status not in ANSWERED:
        return None
    was, now = _fallen(before), _fallen(after)
    if was is None or now is None or now <= was:
        return None
    ops = tuple(after.fallback_ops)
    return note("lost-nodes", provider=after.cell.provider, before=was, after=now, operators=ops)


def _fallen(outcome: Outcome) -> int | None:
    """Working nodes that are not on the provider; None for an engine that is none, or where it is not known."""
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
    """The row of a cell that was not measured in pairs, with its reasons in words too."""
    return GateCell(
        cell=cell,
        verdict=verdict,
        reason=text.joined(facts),
        remedy=text.say(remedy) if remedy else "",
        stage=stage,
        base_status=base_status,
        reason_facts=facts,
    )


def paired(decided: Decided, pairs: Sequence[Pair]) -> GateCell:
    """The verdict on a cell's speed, from its pairs; null pairs are the base's alone."""
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
        base_ms=statistics.typical(median(pair.base_ms) for pair in own if pair.base_ms),
        new_ms=statistics.typical(median(pair.new_ms) for pair in own if pair.new_ms),
        seconds=sum(pair.seconds for pair in own),
        reason_facts=facts,
    )


def supported(cell: GateCell, found: Support, recorded: Outcome, new: Outcome | None) -> GateCell:
    """The verdict with its support: what is lost outranks every speed; `new` is None where nothing was seen of it."""
    cell = replace(cell, base_status=recorded.status, new_status=new.status if new else None)
    if found.lost is None or new is None:
        return cell
    if found.blamed:
        facts: tuple[Note, ...] = (found.lost,)
        verdict: GateVerdict = "lost-support"
        remedy = text.outcome_remedy(new)
    else:
        facts, verdict, remedy = (found.lost, note("base-lost-too")), "inconclusive", text.say(note("new-baseline"))
    reason = text.joined(facts)
    return replace(cell, verdict=verdict, reason=reason, stage="support", remedy=remedy, reason_facts=facts)


def answer(cells: Sequence[GateCell], null: NullControl, too_short: Note | None = None) -> Answer:
    """The exit code: 1 for what is confirmed, 3 for what cannot be told, 4 for what should have been judged.

    `too_short` says why the time was too short to decide anything.
    """
    counts: Tally = Counter(cell.verdict for cell in cells)
    if counts["regression"] or counts["lost-support"]:
        return Answer(REGRESSION, (_red(cells, counts),))
    if why := _unsure(counts, null, too_short):
        return Answer(INCONCLUSIVE, (note("inconclusive"), *why))
    if counts["gone"]:
        return Answer(NOTHING, (note("cells-gone", count=counts["gone"]),))
    if not counts["pass"] and not counts["warning"]:
        return Answer(NOTHING, (note("nothing-to-judge"),))
    return Answer(FINE, (note("no-regression", passed=counts["pass"], warned=counts["warning"]),))


def _unsure(counts: Tally, null: NullControl, too_short: Note | None) -> tuple[Note, ...]:
    """Why the answer cannot be told; empty where it can."""
    if too_short:
        return (too_short,)
    if not null.fine:
        return null.reason_facts
    unsure = counts["inconclusive"]
    if not unsure:
        return ()
    return (note("cells-inconclusive", count=unsure, passed=counts["pass"], warned=counts["warning"]),)


def _red(cells: Sequence[GateCell], counts: Tally) -> Note:
    """How many are red, and the worst by name."""
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
        inconclusive=counts["inconclusive"],
    )
