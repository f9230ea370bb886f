"""What a cell came to in the base and what it comes to now in; whether it lost support, in a sentence, out (pure)."""

from __future__ import annotations

from msgspec import Struct

from bench.judge import placement
from bench.judge.outcome import ANSWERED
from bench.records import Outcome, Status
from bench.report import text

RANK: dict[Status, int] = {"ok": 2, "partial": 1}
"""Every other status is no answer at all."""


class Support(Struct, frozen=True):
    """What is lost, or nothing; `blamed` is False where the base has lost it too, so that the change is not why."""

    lost: str = ""
    blamed: bool = True


def support(recorded: Outcome, again: Outcome | None, new: Outcome) -> Support:
    """Compare what was recorded of the base, what the base comes to today (None where it was not run), and the new.

    Lost is a status of a lower rank (ok, partial, no answer), or more nodes than before on other providers than the
    target: however fast, it is a regression.
    """
    lost = _lost(recorded, new)
    if not lost:
        return Support()
    blamed = again is None or bool(_lost(again, new)) or not _lost(recorded, again)
    return Support(lost, blamed)


def _lost(before: Outcome, after: Outcome) -> str:
    if RANK.get(after.status, 0) < RANK.get(before.status, 0):
        return f"was {before.status}, is {after.status}: {text.reason(after)}"
    if before.status not in ANSWERED:
        return ""
    was, now = _fallen(before), _fallen(after)
    if was is None or now is None or now <= was:
        return ""
    ops = ", ".join(after.fallback_ops)
    return f"{now} nodes fell back from {after.cell.provider}, and {was} did before: {ops}"


def _fallen(outcome: Outcome) -> int | None:
    """Working nodes that are not on the provider; None for an engine that is none, or where it is not known."""
    provider, placed = outcome.cell.provider, outcome.placement
    return placement.split(placed, provider).fallback_nodes if provider and placed else None
