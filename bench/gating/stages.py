"""The stages of a gate's decision: every cell is screened, suspects are confirmed, the null control vouches (pure).

Each stage is a function of the pairs so far, and asks for the pairs that it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bench.gating import text
from bench.gating.rules import Decided, PairVerdict, Rules, Seen, Want
from bench.gating.scatter import Estimate, at_least, detectable, moderated, own, pooled, quantile, screen_shows
from bench.records import Interval, Note, NullControl, note

# --- screening --------------------------------------------------------------------------------------------------------


class Screened(Struct, frozen=True):
    """How far the screen has come; where it wants nothing more, every cell is decided or suspect."""

    wants: tuple[Want, ...]
    decided: dict[str, Decided]
    suspects: tuple[str, ...]
    scatter: float
    """Standard deviation of a pair, over all cells and null pairs …"""
    freedom: int
    """… and its degrees of freedom; 0 where it is not known yet."""


def screen(cells: Sequence[str], seen: Seen, null: Sequence[float], rules: Rules) -> Screened:
    """Judge what the screen can, with as many pairs of a cell as show a slowdown of `rules.hidden`.

    Each stage judges from the pairs up to it and from the null pairs, whatever came later. A cell whose pairs scatter
    too much for its stage goes on to the next; only then does it matter how slow it looks, since half of all cells look
    slow where the noise is large, and confirming one costs three times as much as two more screening pairs.
    """
    decided: dict[str, Decided] = {}
    suspects: list[str] = []
    left, scatter, freedom = list(cells), 0.0, 0
    for pairs in _stages(rules):
        if wants := _lacking(left, pairs, seen):
            return Screened(wants, decided, tuple(suspects), scatter, freedom)
        values = {cell: seen.screen.get(cell, [])[:pairs] for cell in left}
        if pairs == rules.screen_pairs:  # while all have as many: later those have the most that scatter the most
            scatter, freedom = pooled([*values.values(), null])
        verdicts = {cell: _screened(cell, found, pairs, scatter, freedom, rules) for cell, found in values.items()}
        decided |= {cell: verdict for cell, verdict in verdicts.items() if isinstance(verdict, Decided)}
        suspects += [cell for cell, verdict in verdicts.items() if verdict == "suspect"]
        left = [cell for cell, verdict in verdicts.items() if verdict is None]
    return Screened((), decided, tuple(suspects), scatter, freedom)


def _stages(rules: Rules) -> tuple[int, ...]:
    return (rules.screen_pairs, *rules.more_screening)


def _screened(
    cell: str, values: Sequence[float], pairs: int, scatter: float, freedom: int, rules: Rules
) -> Decided | Literal["suspect"] | None:
    """The verdict on one cell after `pairs` pairs; None where more of them have to tell."""
    if len(values) < pairs:
        return _short_screen(cell, values, scatter, freedom, pairs, rules)
    estimate = moderated(values, scatter, freedom, rules)
    shows, last = screen_shows(estimate, rules), pairs == _stages(rules)[-1]
    if (shows or last) and estimate.mean > math.log1p(rules.suspect):
        return "suspect"
    if shows:
        return _passed(cell, estimate, rules)
    return _hidden(cell, estimate, rules) if last else None


def _lacking(cells: Sequence[str], pairs: int, seen: Seen) -> tuple[Want, ...]:
    """The screening pairs that cells lack to `pairs`, of those that can still be had."""
    lacks = {cell: pairs - len(seen.screen.get(cell, ())) for cell in cells if cell not in seen.ended}
    return tuple(Want(cell, "screen", count) for cell, count in lacks.items() if count > 0)


def _passed(cell: str, estimate: Estimate, rules: Rules) -> Decided:
    change = estimate.change()
    reason = note("not-slower", **ends(change), pairs=estimate.pairs, fresh=False)
    return Decided(cell, "pass", (reason,), "screen", change, estimate.pairs, _detectable(estimate, rules))


def _hidden(cell: str, estimate: Estimate, rules: Rules) -> Decided:
    reason = note("scatter-hides", pairs=estimate.pairs, scatter=estimate.scatter, hidden=rules.hidden)
    found = _detectable(estimate, rules)
    return Decided(cell, "inconclusive", (reason,), "screen", estimate.change(), estimate.pairs, found)


def _short_screen(
    cell: str, values: Sequence[float], scatter: float, freedom: int, wanted: int, rules: Rules
) -> Decided:
    """A cell of which no more came; its interval needs a scatter, which other cells may lend."""
    reason = _missing_pairs(len(values), wanted, "screening")
    if not values or freedom + len(values) <= 1:
        return Decided(cell, "inconclusive", (reason,), "screen" if values else "", None, len(values), None)
    estimate = moderated(values, scatter, freedom, rules)
    found = _detectable(estimate, rules)
    return Decided(cell, "inconclusive", (reason,), "screen", estimate.change(), len(values), found)


def _detectable(estimate: Estimate, rules: Rules) -> float:
    return detectable(estimate.scatter, rules, estimate.pairs, rules.looks[-1])


def _missing_pairs(pairs: int, wanted: int, stage: Literal["screening", "fresh"]) -> Note:
    """No more pairs came: the time was used up, or a side failed."""
    return note("pairs-missing", pairs=pairs, wanted=wanted, stage=stage)


def ends(change: Interval) -> dict[str, float | None]:
    """The parameters of a note that hold an interval."""
    return {"value": change.value, "low": change.low, "high": change.high}


# --- confirming -------------------------------------------------------------------------------------------------------


class Confirmed(Struct, frozen=True):
    """How far confirming has come; where it wants nothing more, every suspect is decided."""

    wants: tuple[Want, ...]
    decided: dict[str, Decided]
    looks: tuple[int, ...]
    """The looks that are reached, or under way."""


def confirm(suspects: Sequence[str], seen: Seen, rules: Rules) -> Confirmed:
    """Judge the suspects at each look from the fresh pairs up to it, whatever came later.

    Benjamini–Hochberg counts all suspects at every look: one that is decided, or has ended, keeps the p-value of its
    last look, so that clearing some does not make the others easier to fail.
    """
    decided: dict[str, Decided] = {}
    p_values = dict.fromkeys(suspects, 1.0)
    reached: list[int] = []
    for look in rules.looks:
        left = [cell for cell in suspects if cell not in decided]
        if not left:
            break
        reached.append(look)
        if wants := _unconfirmed(left, look, seen):
            return Confirmed(wants, decided, tuple(reached))
        values = {cell: seen.confirm.get(cell, [])[:look] for cell in left}
        p_values |= {cell: own(found).p_value() for cell, found in values.items() if len(found) == look}
        rejected = benjamini_hochberg(p_values, rules.q / len(rules.looks))
        verdicts = (_judged(cell, found, look, cell in rejected, rules) for cell, found in values.items())
        decided |= {verdict.cell: verdict for verdict in verdicts if verdict}
    return Confirmed((), decided, tuple(reached))


def benjamini_hochberg(p_values: Mapping[str, float], q: float) -> set[str]:
    """Whose p-value is rejected at a false discovery rate of `q` (Benjamini and Hochberg, 1995)."""
    ranked = sorted(p_values, key=lambda name: p_values[name])
    passing = [rank for rank, name in enumerate(ranked, 1) if p_values[name] <= q * rank / len(ranked)]
    return set(ranked[: max(passing, default=0)])


def _unconfirmed(cells: Sequence[str], look: int, seen: Seen) -> tuple[Want, ...]:
    """The fresh pairs that suspects lack to a look, of those that can still be had."""
    lacks = {cell: look - len(seen.confirm.get(cell, ())) for cell in cells if cell not in seen.ended}
    return tuple(Want(cell, "confirm", count) for cell, count in lacks.items() if count > 0)


def _judged(cell: str, values: Sequence[float], look: int, rejected: bool, rules: Rules) -> Decided | None:
    """The verdict of one look at one suspect; None where another look has to tell."""
    if len(values) < 2:
        reason = _missing_pairs(len(values), look, "fresh")
        return Decided(cell, "inconclusive", (reason,), "confirm", None, len(values), None)
    judged = _look(values, look, rejected, rules)
    if judged is None:
        return None
    verdict, reason = judged
    estimate = own(values)
    found = detectable(estimate.scatter, rules, 0, len(values))
    return Decided(cell, verdict, (reason,), "confirm", estimate.change(), len(values), found)


def _look(values: Sequence[float], look: int, rejected: bool, rules: Rules) -> tuple[PairVerdict, Note] | None:
    """What one look says of a suspect, and why; None where another look has to tell.

    A suspect is cleared below `rules.clear`, as long as the slowdown that no pass may hide is ruled out; or where it is
    surely not as slow as fails a gate, so that a small slowdown of every cell does not cost every cell all its looks.
    """
    estimate = own(values)
    change = estimate.change()
    if len(values) < look:
        return "inconclusive", _missing_pairs(len(values), look, "fresh")
    if rejected and change.value > rules.regression:
        slower = sum(value > 0 for value in values)
        return "regression", note("slower", **ends(change), slower=slower, pairs=len(values))
    most = estimate.bound(rules.certainty)
    if change.value < rules.clear and most < math.log1p(rules.hidden):
        return "pass", note("not-slower", **ends(change), pairs=look, fresh=True)
    if most < math.log1p(rules.regression):
        return "pass", note("under-limit", **ends(change), pairs=look, limit=rules.regression)
    return None if look < rules.looks[-1] else ("inconclusive", _undecided(change, look, rules))


def _undecided(change: Interval, pairs: int, rules: Rules) -> Note:
    """The last look is over, and cannot tell."""
    if change.value > rules.regression:
        return note("not-sure-enough", **ends(change), pairs=pairs)
    return note("cannot-tell", **ends(change), pairs=pairs, limit=rules.regression)


# --- base against base ------------------------------------------------------------------------------------------------


def null_pairs(cells: int, rules: Rules) -> int:
    """Null pairs of a gate before anything is confirmed."""
    return rules.null_pairs if cells >= rules.many_cells else rules.few_null_pairs


def null_wants(cells: Sequence[str], count: int, seen: Seen) -> tuple[Want, ...]:
    """The null pairs that are missing to `count`, spread over the cells that still give some."""
    able = [cell for cell in cells if cell not in seen.ended | seen.null_ended]
    if not able:
        return ()
    # The k-th pair falls on a cell by k alone, so that a gate which is cut short and goes on asks for the same ones.
    apart = max(1, len(able) // max(1, count))
    turns = [able[number * apart % len(able)] for number in range(len(seen.null), count)]
    return tuple(Want(cell, "null", turns.count(cell)) for cell in dict.fromkeys(turns))


def control(values: Sequence[float], scatter: float, freedom: int, rules: Rules) -> NullControl:
    """What the null pairs say of the machine; `scatter` is the standard deviation of a pair over all cells.

    Too scattered is only what surely is, at `rules.certainty` and the scatter's degrees of freedom: cells whose own
    pairs show too little are inconclusive anyway, so this saves the time of a gate that could tell nothing.
    """
    if len(values) < rules.few_null_pairs:
        change = own(values).change() if len(values) > 1 else None
        return null_control(len(values), change, note("few-null-pairs", pairs=len(values), needed=rules.few_null_pairs))
    estimate = own(values)
    change = estimate.change()
    most = quantile(estimate.freedom, 1 - rules.null_chance / 2) * estimate.error
    if abs(estimate.mean) > max(most, math.log1p(rules.null_bias)):
        return null_control(len(values), change, note("null-differs", **ends(change)))
    looks = rules.looks[-1]
    if detectable(at_least(scatter, freedom, rules.certainty), rules, 0, looks) > rules.hidden:
        reason = note("null-scatters", scatter=scatter, pairs=looks, hidden=rules.hidden)
        return null_control(len(values), change, reason)
    return null_control(len(values), change, note("null-fine"), fine=True)


def null_control(pairs: int, change: Interval | None, reason: Note, *, fine: bool = False) -> NullControl:
    """A null control with its reason, in words too."""
    return NullControl(pairs, change, fine, text.say(reason), (reason,))
