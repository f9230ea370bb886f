"""The screening pairs of all cells in; who passes, who is suspect, and who needs more of them out (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bench.gating import reasons
from bench.gating.rules import Decided, Rules, Seen, Want
from bench.gating.scatter import Estimate, detectable, moderated, pooled, screen_shows


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
        if wants := _missing(left, pairs, seen):
            return Screened(wants, decided, tuple(suspects), scatter, freedom)
        values = {cell: seen.screen.get(cell, [])[:pairs] for cell in left}
        if pairs == rules.screen_pairs:  # while all have as many: later those have the most that scatter the most
            scatter, freedom = pooled([*values.values(), null])
        verdicts = {cell: _judged(cell, found, pairs, scatter, freedom, rules) for cell, found in values.items()}
        decided |= {cell: verdict for cell, verdict in verdicts.items() if isinstance(verdict, Decided)}
        suspects += [cell for cell, verdict in verdicts.items() if verdict == "suspect"]
        left = [cell for cell, verdict in verdicts.items() if verdict is None]
    return Screened((), decided, tuple(suspects), scatter, freedom)


def _stages(rules: Rules) -> tuple[int, ...]:
    return (rules.screen_pairs, *rules.more_screening)


def _judged(
    cell: str, values: Sequence[float], pairs: int, scatter: float, freedom: int, rules: Rules
) -> Decided | Literal["suspect"] | None:
    """The verdict on one cell after `pairs` pairs; None where more of them have to tell."""
    if len(values) < pairs:
        return _ended(cell, values, scatter, freedom, pairs, rules)
    estimate = moderated(values, scatter, freedom, rules)
    shows, last = screen_shows(estimate, rules), pairs == _stages(rules)[-1]
    if (shows or last) and estimate.mean > math.log1p(rules.suspect):
        return "suspect"
    if shows:
        return _passed(cell, estimate, rules)
    return _hidden(cell, estimate, rules) if last else None


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


def _ended(cell: str, values: Sequence[float], scatter: float, freedom: int, wanted: int, rules: Rules) -> Decided:
    """A cell of which no more came; its interval needs a scatter, which other cells may lend."""
    reason = reasons.ended(len(values), wanted, "screening")
    if not values or freedom + len(values) <= 1:
        return Decided(cell, "inconclusive", reason, "screen" if values else "", None, len(values), None)
    estimate = moderated(values, scatter, freedom, rules)
    found = _detectable(estimate, rules)
    return Decided(cell, "inconclusive", reason, "screen", estimate.change(), len(values), found)


def _detectable(estimate: Estimate, rules: Rules) -> float:
    return detectable(estimate.scatter, rules, estimate.pairs, rules.looks[-1])
