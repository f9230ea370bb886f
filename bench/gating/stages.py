"""Compute the stages of a gate's decision: screening, confirmation of suspects, and the null control (pure).

Each stage is a function of the pairs so far, and requests the pairs that it still needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from bench.gating import text
from bench.gating.rules import CellDecision, CollectedPairs, PairRequest, PairVerdict, Rules
from bench.gating.scatter import Estimate, at_least, detectable, moderated, own, pooled, quantile, screen_shows
from bench.records import Interval, Note, NullControl, note

# --- screening --------------------------------------------------------------------------------------------------------


class ScreenState(Struct, frozen=True):
    """The state of the screen. If it requests nothing more, every cell is decided or suspect."""

    requests: tuple[PairRequest, ...]
    decided: dict[str, CellDecision]
    suspects: tuple[str, ...]
    clear: tuple[str, ...]
    """The suspects that are certainly slower by the screen's own interval: they are confirmed at once."""
    undecided: int
    """How many cells may still become suspects."""
    scatter: float
    """Standard deviation of a pair, pooled over all cells and null pairs."""
    freedom: int
    """Degrees of freedom of `scatter`; 0 if it is not known yet."""


def screen(cells: Sequence[str], collected: CollectedPairs, null: Sequence[float], rules: Rules) -> ScreenState:
    """Screen the cells, each with as many pairs as it needs to show a slowdown of `rules.hidden`.

    Each stage uses its own number of pairs and the null pairs, even if more pairs exist. A cell whose pairs scatter too
    much for a stage goes to the next one, unless it is certainly slower: with large noise half of all cells look slow,
    and confirming a cell costs three times as much as two more screening pairs.
    """
    decided: dict[str, CellDecision] = {}
    suspects: list[str] = []
    clear: list[str] = []
    undecided, scatter, freedom = list(cells), 0.0, 0
    for pairs in _stages(rules):
        if requests := _missing_screening(undecided, pairs, collected):
            return ScreenState(requests, decided, tuple(suspects), tuple(clear), len(undecided), scatter, freedom)
        values = {cell: collected.screen.get(cell, [])[:pairs] for cell in undecided}
        # Pooled while all cells have equally many pairs: later the noisiest cells have the most.
        if pairs == rules.screen_pairs:
            scatter, freedom = pooled([*values.values(), null])
        verdicts = {
            cell: _screen_verdict(cell, log_ratios, pairs, scatter, freedom, rules)
            for cell, log_ratios in values.items()
        }
        decided |= {cell: verdict for cell, verdict in verdicts.items() if isinstance(verdict, CellDecision)}
        suspects += [cell for cell, verdict in verdicts.items() if verdict in {"suspect", "clear"}]
        clear += [cell for cell, verdict in verdicts.items() if verdict == "clear"]
        undecided = [cell for cell, verdict in verdicts.items() if verdict is None]
    return ScreenState((), decided, tuple(suspects), tuple(clear), 0, scatter, freedom)


def _stages(rules: Rules) -> tuple[int, ...]:
    return (rules.screen_pairs, *rules.more_screening)


def _screen_verdict(
    cell: str, values: Sequence[float], pairs: int, scatter: float, freedom: int, rules: Rules
) -> CellDecision | Literal["suspect", "clear"] | None:
    """The decision on one cell after `pairs` pairs; None if it needs more."""
    if len(values) < pairs:
        return _incomplete_screen(cell, values, scatter, freedom, pairs, rules)
    if _is_clear(values, scatter, freedom, rules):
        return "clear"
    estimate = moderated(values, scatter, freedom, rules)
    shows, last = screen_shows(estimate, rules), pairs == _stages(rules)[-1]
    # After the last stage a slow cell is confirmed even if its scatter is large: fresh pairs may decide it.
    if (shows or last) and estimate.mean > math.log1p(rules.suspect):
        return "suspect"
    if shows:
        return _passed(cell, estimate, rules)
    return _too_scattered(cell, estimate, rules) if last else None


def _is_clear(values: Sequence[float], scatter: float, freedom: int, rules: Rules) -> bool:
    """Whether a cell is certainly slower than `rules.suspect` by its screen."""
    # With the pooled scatter even if the cell's own is larger: two pairs alone show nothing with certainty, and a cell
    # that is slower by 200 % scatters more than the others. Only fresh pairs call a regression: no alarm comes of it.
    estimate = moderated(values, scatter, freedom, replace(rules, outlying=0.0))
    return 2 * estimate.mean - estimate.bound(rules.certainty) > math.log1p(rules.suspect)


def _missing_screening(cells: Sequence[str], pairs: int, collected: CollectedPairs) -> tuple[PairRequest, ...]:
    """Requests for the screening pairs that cells lack to reach `pairs`; ended cells give no more."""
    lacks = {cell: pairs - len(collected.screen.get(cell, ())) for cell in cells if cell not in collected.ended}
    return tuple(PairRequest(cell, "screen", count) for cell, count in lacks.items() if count > 0)


def _passed(cell: str, estimate: Estimate, rules: Rules) -> CellDecision:
    change = estimate.change()
    reason = note("not-slower", **interval_values(change), pairs=estimate.pairs, fresh=False)
    return CellDecision(cell, "pass", (reason,), "screen", change, estimate.pairs, _detectable(estimate, rules))


def _too_scattered(cell: str, estimate: Estimate, rules: Rules) -> CellDecision:
    reason = note("scatter-hides", pairs=estimate.pairs, scatter=estimate.scatter, hidden=rules.hidden)
    smallest = _detectable(estimate, rules)
    return CellDecision(cell, "inconclusive", (reason,), "screen", estimate.change(), estimate.pairs, smallest)


def _incomplete_screen(
    cell: str, values: Sequence[float], scatter: float, freedom: int, needed: int, rules: Rules
) -> CellDecision:
    """The decision on a cell that ended early. Its interval needs a scatter, which may come from other cells."""
    reason = _missing_pairs(len(values), needed, "screening")
    # With a single pair and no other cell there is no scatter at all.
    if not values or freedom + len(values) <= 1:
        return CellDecision(cell, "inconclusive", (reason,), "screen" if values else "", None, len(values), None)
    estimate = moderated(values, scatter, freedom, rules)
    smallest = _detectable(estimate, rules)
    return CellDecision(cell, "inconclusive", (reason,), "screen", estimate.change(), len(values), smallest)


def _detectable(estimate: Estimate, rules: Rules) -> float:
    return _detectable_by(estimate.scatter, estimate.pairs, rules)


# Each step of a gate decides every cell again from the same pairs.
@lru_cache(maxsize=1024)
def _detectable_by(scatter: float, pairs: int, rules: Rules) -> float:
    return detectable(scatter, rules, pairs, rules.usual_look)


def _missing_pairs(pairs: int, needed: int, stage: Literal["screening", "fresh"]) -> Note:
    """The note for a cell that ended early: the time was used up, or a side failed."""
    return note("pairs-missing", pairs=pairs, wanted=needed, stage=stage)


def interval_values(change: Interval) -> dict[str, float | None]:
    """An interval as parameters of a note."""
    return {"value": change.value, "low": change.low, "high": change.high}


# --- confirming -------------------------------------------------------------------------------------------------------


class ConfirmState(Struct, frozen=True):
    """The state of the confirmation. If it requests nothing more, every suspect is decided."""

    requests: tuple[PairRequest, ...]
    decided: dict[str, CellDecision]
    looks: tuple[int, ...]
    """The looks that are complete or in progress."""


def confirm(suspects: Sequence[str], collected: CollectedPairs, rules: Rules, others: int = 0) -> ConfirmState:
    """Judge the suspects at each look from the fresh pairs up to it, even if more pairs exist.

    Benjamini-Hochberg uses all suspects at every look. A suspect that is decided or ended keeps the p-value of its last
    look: if it were dropped, the others would be rejected more easily. `others` is the number of cells that are or may
    become suspects too: they count as not significant, so that what is rejected now stays rejected with them.
    """
    decided: dict[str, CellDecision] = {}
    # A suspect that has not reached its first look counts as not significant, but it counts.
    p_values = dict.fromkeys(suspects, 1.0)
    reached: list[int] = []
    for look in rules.looks:
        undecided = [cell for cell in suspects if cell not in decided]
        if not undecided:
            break
        reached.append(look)
        if requests := _missing_confirming(undecided, look, collected):
            return ConfirmState(requests, decided, tuple(reached))
        values = {cell: collected.confirm.get(cell, [])[:look] for cell in undecided}
        p_values |= {cell: own(log_ratios).p_value() for cell, log_ratios in values.items() if len(log_ratios) == look}
        # Each look spends an equal share of the permitted false alarms (Bonferroni over looks).
        rejected = benjamini_hochberg(p_values, rules.q / len(rules.looks), others)
        verdicts = (
            _decide_at_look(cell, log_ratios, look, cell in rejected, rules) for cell, log_ratios in values.items()
        )
        decided |= {verdict.cell: verdict for verdict in verdicts if verdict}
    return ConfirmState((), decided, tuple(reached))


def benjamini_hochberg(p_values: Mapping[str, float], q: float, others: int = 0) -> set[str]:
    """The names whose null hypothesis is rejected at a false discovery rate of `q` (Benjamini and Hochberg, 1995).

    `others` is a number of further hypotheses with a p-value of 1.
    """
    # Written out, because importing `scipy.stats` takes half a second; a test compares it with SciPy's.
    ranked = sorted(p_values, key=lambda name: p_values[name])
    count = len(ranked) + others
    passing = [rank for rank, name in enumerate(ranked, 1) if p_values[name] <= q * rank / count]
    # Step-up: all ranks below the highest that passes are rejected, even if one of them alone does not pass.
    return set(ranked[: max(passing, default=0)])


def _missing_confirming(cells: Sequence[str], look: int, collected: CollectedPairs) -> tuple[PairRequest, ...]:
    """Requests for the fresh pairs that suspects lack to reach a look; ended cells give no more."""
    lacks = {cell: look - len(collected.confirm.get(cell, ())) for cell in cells if cell not in collected.ended}
    return tuple(PairRequest(cell, "confirm", count) for cell, count in lacks.items() if count > 0)


def _decide_at_look(cell: str, values: Sequence[float], look: int, rejected: bool, rules: Rules) -> CellDecision | None:
    """The decision on one suspect at one look; None if it needs the next look."""
    # One pair has no scatter, so it gives no interval.
    if len(values) < 2:
        reason = _missing_pairs(len(values), look, "fresh")
        return CellDecision(cell, "inconclusive", (reason,), "confirm", None, len(values), None)
    judged = _verdict_at_look(values, look, rejected, rules)
    if judged is None:
        return None
    verdict, reason = judged
    estimate = own(values)
    smallest = detectable(estimate.scatter, rules, 0, len(values))
    return CellDecision(cell, verdict, (reason,), "confirm", estimate.change(), len(values), smallest)


def _verdict_at_look(
    values: Sequence[float], look: int, rejected: bool, rules: Rules
) -> tuple[PairVerdict, Note] | None:
    """The verdict on a suspect at one look, and the reason; None if it needs the next look.

    A suspect is cleared if its estimate is below `rules.clear` and a slowdown of `rules.hidden` is ruled out. It is
    also cleared if it is surely below `rules.regression`: else a small slowdown of all cells would cost all looks.
    """
    estimate = own(values)
    change = estimate.change()
    if len(values) < look:
        return "inconclusive", _missing_pairs(len(values), look, "fresh")
    # Both are needed: a significant slowdown of 1 % fails no gate, nor does an uncertain one of 5 %.
    if rejected and change.value > rules.regression:
        slower = sum(value > 0 for value in values)
        return "regression", note("slower", **interval_values(change), slower=slower, pairs=len(values))
    most = estimate.bound(rules.certainty)
    if change.value < rules.clear and most < math.log1p(rules.hidden):
        return "pass", note("not-slower", **interval_values(change), pairs=look, fresh=True)
    if estimate.bound(rules.under_certainty) < math.log1p(rules.regression):
        return "pass", note("under-limit", **interval_values(change), pairs=look, limit=rules.regression)
    return None if look < rules.looks[-1] else ("inconclusive", _undecided(change, look, rules))


def _undecided(change: Interval, pairs: int, rules: Rules) -> Note:
    """The reason for a suspect that is undecided after the last look."""
    if change.value > rules.regression:
        return note("not-sure-enough", **interval_values(change), pairs=pairs)
    return note("cannot-tell", **interval_values(change), pairs=pairs, limit=rules.regression)


# --- base against base ------------------------------------------------------------------------------------------------


def null_pairs(cells: int, rules: Rules) -> int:
    """The number of null pairs that a gate needs before anything is confirmed."""
    return rules.null_pairs if cells >= rules.many_cells else rules.few_null_pairs


def null_requests(cells: Sequence[str], count: int, collected: CollectedPairs) -> tuple[PairRequest, ...]:
    """Requests for the null pairs that are missing to `count`, spread over the cells that still give some."""
    able = [cell for cell in cells if cell not in collected.ended | collected.null_ended]
    if not able:
        return ()
    # The cell of the k-th pair depends on k alone, so that repeated calls with more pairs request the same ones.
    # Spread evenly, so that all models take part and not only the first ones.
    apart = max(1, len(able) // max(1, count))
    turns = [able[number * apart % len(able)] for number in range(len(collected.null), count)]
    return tuple(PairRequest(cell, "null", turns.count(cell)) for cell in dict.fromkeys(turns))


def control(values: Sequence[float], scatter: float, freedom: int, rules: Rules) -> NullControl:
    """Judge the null pairs; `scatter` is the pooled standard deviation of a pair, with `freedom` degrees of freedom.

    The control fails if base differs from base, or if the scatter is certainly (`rules.certainty`) too large to show a
    slowdown of `rules.hidden`. The second case only saves time: noisy cells would be inconclusive anyway.
    """
    # With fewer pairs the machine is not trusted: without a null control nothing may pass.
    if len(values) < rules.few_null_pairs:
        change = own(values).change() if len(values) > 1 else None
        return null_control(len(values), change, note("few-null-pairs", pairs=len(values), needed=rules.few_null_pairs))
    estimate = own(values)
    change = estimate.change()
    # Two-sided, because a base that is faster than itself is as suspicious as one that is slower.
    most = quantile(estimate.freedom, 1 - rules.null_chance / 2) * estimate.error
    if abs(estimate.mean) > max(most, math.log1p(rules.null_bias)):
        return null_control(len(values), change, note("null-differs", **interval_values(change)))
    last_look = rules.looks[-1]
    # The lower bound of the scatter: the gate is given up only where it certainly cannot succeed.
    if detectable(at_least(scatter, freedom, rules.certainty), rules, 0, last_look) > rules.hidden:
        reason = note("null-scatters", scatter=scatter, pairs=last_look, hidden=rules.hidden)
        return null_control(len(values), change, reason)
    return null_control(len(values), change, note("null-fine"), fine=True)


def null_control(pairs: int, change: Interval | None, reason: Note, *, fine: bool = False) -> NullControl:
    """Make a null control with its reason, also in words."""
    return NullControl(pairs, change, fine, text.say(reason), (reason,))
