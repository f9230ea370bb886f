"""The screening pairs of all cells in; who passes, who is suspect, and who needs more of them out (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from bench.judge import gate_reasons as reasons
from bench.judge.gate_rules import Decided, Rules, Seen, Want
from bench.judge.gate_scatter import Estimate, detectable, moderated, pooled, screen_shows


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
    stages = (rules.screen_pairs, *rules.more_screening)
    for pairs in stages:
        if wants := _missing(left, pairs, seen):
            return Screened(wants, decided, tuple(suspects), scatter, freedom)
        values = {cell: seen.screen.get(cell, [])[:pairs] for cell in cells}
        scatter, freedom = pooled([*values.values(), null])
        prior = min(rules.prior_pairs, freedom)
        for cell in left:
            if len(values[cell]) < pairs:
                decided[cell] = _ended(cell, values[cell], scatter, prior, pairs, rules)
                continue
            estimate = moderated(values[cell], scatter, prior)
            shows = screen_shows(estimate, rules)
            if (shows or pairs == stages[-1]) and estimate.mean > math.log1p(rules.suspect):
                suspects.append(cell)
            elif shows:
                decided[cell] = _passed(cell, estimate, rules)
            elif pairs == stages[-1]:
                decided[cell] = _hidden(cell, estimate, rules)
        left = [cell for cell in left if cell not in decided and cell not in suspects]
    return Screened((), decided, tuple(suspects), scatter, freedom)


def _missing(cells: Sequence[str], pairs: int, seen: Seen) -> tuple[Want, ...]:
    """The screening pairs that cells lack to `pairs`, of those that can still be had."""
    lacks = {cell: pairs - len(seen.screen.get(cell, ())) for cell in cells if cell not in seen.ended}
    return tuple(Want(cell, "screen", count) for cell, count in lacks.items() if count > 0)


def _passed(cell: str, estimate: Estimate, rules: Rules) -> Decided:
    change = estimate.change()
    reason = reasons.not_slower(change, estimate.pairs, fresh=False)
    return Decided(cell, "pass", reason, "screen", change, estimate.pairs, _detectable(estimate, rules))


def _hidden(cell: str, estimate: Estimate, rules: Rules) -> Decided:
    reason = reasons.hidden(estimate.scatter, estimate.pairs, rules)
    found = _detectable(estimate, rules)
    return Decided(cell, "inconclusive", reason, "screen", estimate.change(), estimate.pairs, found)


def _ended(cell: str, values: Sequence[float], scatter: float, prior: float, wanted: int, rules: Rules) -> Decided:
    """A cell of which no more came; its interval needs a scatter, which other cells may lend."""
    reason = reasons.ended(len(values), wanted, "screening")
    if not values or prior + len(values) <= 1:
        return Decided(cell, "inconclusive", reason, "screen" if values else "", None, len(values), None)
    estimate = moderated(values, scatter, prior)
    found = _detectable(estimate, rules)
    return Decided(cell, "inconclusive", reason, "screen", estimate.change(), len(values), found)


def _detectable(estimate: Estimate, rules: Rules) -> float:
    return detectable(estimate.scatter, rules, estimate.pairs, rules.looks[-1])
