"""What was decided of speeds and what became of support in; each cell's verdict, and the gate's answer, out (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from bench.gating.decision import Decided
from bench.gating.support import Support
from bench.judge import statistics
from bench.records import GateCell, GateVerdict, NullControl, Outcome, Pair
from bench.report import text as words

Tally = Counter[GateVerdict]
FINE, REGRESSION, INCONCLUSIVE, NOTHING = 0, 1, 3, 4
"""Exit codes of a gate (DESIGN)."""


class Answer(Struct, frozen=True):
    """What a gate says: its exit code, and why in one sentence."""

    exit_code: int
    sentence: str


def paired(decided: Decided, pairs: Sequence[Pair]) -> GateCell:
    """The verdict on a cell's speed, from its pairs; null pairs are the base's alone."""
    own = [one for one in pairs if one.cell == decided.cell and one.kind != "null" and not one.set_aside]
    failed = next((pair.failure for pair in own if pair.failure), "")
    return GateCell(
        cell=decided.cell,
        verdict=decided.verdict,
        reason=f"{decided.reason}; {failed}" if failed else decided.reason,
        stage=decided.stage,
        change=decided.change,
        pairs=decided.pairs,
        detectable=decided.detectable,
        base_ms=statistics.typical(median(pair.base_ms) for pair in own if pair.base_ms),
        new_ms=statistics.typical(median(pair.new_ms) for pair in own if pair.new_ms),
        seconds=sum(pair.seconds for pair in own),
    )


def supported(cell: GateCell, found: Support, recorded: Outcome, new: Outcome | None) -> GateCell:
    """The verdict with its support: what is lost outranks every speed; `new` is None where nothing was seen of it."""
    cell = replace(cell, base_status=recorded.status, new_status=new.status if new else None)
    if not found.lost or new is None:
        return cell
    if not found.blamed:
        reason = f"{found.lost}; but the base comes to the same today, so this change is not why"
        return replace(cell, verdict="inconclusive", reason=reason, stage="support", remedy="record a new baseline")
    return replace(cell, verdict="lost-support", reason=found.lost, stage="support", remedy=words.remedy(new))


def answer(cells: Sequence[GateCell], null: NullControl, too_short: str = "") -> Answer:
    """The exit code: 1 for what is confirmed, 3 for what cannot be told, 4 for what should have been judged.

    `too_short` says why the time was too short to decide anything.
    """
    counts: Tally = Counter(cell.verdict for cell in cells)
    if counts["regression"] or counts["lost-support"]:
        return Answer(REGRESSION, _red(cells, counts))
    if why := too_short or _untold(counts, null):
        return Answer(INCONCLUSIVE, f"inconclusive: {why}")
    if why := _unjudged(counts):
        return Answer(NOTHING, why)
    return Answer(FINE, f"no regression: {_rest(counts)}")


def _untold(counts: Tally, null: NullControl) -> str:
    if not null.fine:
        return null.reason
    return f"{_cells(counts['inconclusive'])} cannot be told; {_rest(counts)}" if counts["inconclusive"] else ""


def _unjudged(counts: Tally) -> str:
    if counts["gone"]:
        return f"not judged: the base measured {_cells(counts['gone'])} that the new matrix has not"
    if not counts["pass"] and not counts["warning"]:
        return "nothing to judge: no cell of the base has a valid speed"
    return ""


def _red(cells: Sequence[GateCell], counts: Tally) -> str:
    """How many are red, and the worst by name."""
    told = []
    if counts["regression"]:
        slower = [cell for cell in cells if cell.verdict == "regression" and cell.change]
        worst = max(slower, key=lambda cell: cell.change.value if cell.change else 0.0, default=None)
        named = f" ({worst.cell}: {worst.change.value:+.1%})" if worst and worst.change else ""
        told.append(f"{_cells(counts['regression'])} slower{named}")
    if counts["lost-support"]:
        first = next(cell.cell for cell in cells if cell.verdict == "lost-support")
        told.append(f"{_cells(counts['lost-support'])} lost support ({first})")
    others = f"; {_cells(counts['inconclusive'])} cannot be told" if counts["inconclusive"] else ""
    return f"regression: {' and '.join(told)}{others}"


def _rest(counts: Tally) -> str:
    warned = f", {_cells(counts['warning'])} warned of by stored numbers" if counts["warning"] else ""
    return f"{_cells(counts['pass'])} passed{warned}"


def _cells(number: int) -> str:
    return f"{number} cell{'' if number == 1 else 's'}"
