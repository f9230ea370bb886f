"""Base against base in; whether a machine that sees a difference there may be believed elsewhere, out (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.gating.reasons import limit, of, percent, with_ends
from bench.gating.rules import Rules, Seen, Want
from bench.gating.scatter import at_least, detectable, own, quantile
from bench.records import NullControl


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
        few = f"only {of(len(values), 'pair')} of base against base, and {rules.few_null_pairs} are needed"
        return NullControl(len(values), own(values).change() if len(values) > 1 else None, False, few)
    estimate = own(values)
    change = estimate.change()
    most = quantile(estimate.freedom, 1 - rules.null_chance / 2) * estimate.error
    if abs(estimate.mean) > max(most, math.log1p(rules.null_bias)):
        reason = f"base against base differs by {with_ends(change)}: the measurement favours a side"
        return NullControl(len(values), change, False, reason)
    looks = rules.looks[-1]
    if detectable(at_least(scatter, freedom, rules.certainty), rules, 0, looks) > rules.hidden:
        reason = f"pairs scatter by {percent(scatter)}: {looks} of them may miss a slowdown of {limit(rules.hidden)}"
        return NullControl(len(values), change, False, reason)
    return NullControl(len(values), change, True, "base against base shows no difference")
