"""The fresh pairs of all suspects in; who is slower, who is not, and who needs more of them out (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.gating import reasons
from bench.gating.rules import Decided, Rules, Seen, Verdict, Want
from bench.gating.scatter import detectable, own


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
        if wants := _missing(left, look, seen):
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


def _missing(cells: Sequence[str], look: int, seen: Seen) -> tuple[Want, ...]:
    """The fresh pairs that suspects lack to a look, of those that can still be had."""
    lacks = {cell: look - len(seen.confirm.get(cell, ())) for cell in cells if cell not in seen.ended}
    return tuple(Want(cell, "confirm", count) for cell, count in lacks.items() if count > 0)


def _judged(cell: str, values: Sequence[float], look: int, rejected: bool, rules: Rules) -> Decided | None:
    """The verdict of one look at one suspect; None where another look has to tell."""
    if len(values) < 2:
        reason = reasons.ended(len(values), look, "fresh")
        return Decided(cell, "inconclusive", reason, "confirm", None, len(values), None)
    verdict, reason = _said(values, look, rejected, rules)
    if verdict is None:
        return None
    estimate = own(values)
    found = detectable(estimate.scatter, rules, 0, len(values))
    return Decided(cell, verdict, reason, "confirm", estimate.change(), len(values), found)


def _said(values: Sequence[float], look: int, rejected: bool, rules: Rules) -> tuple[Verdict | None, str]:
    """What one look says of a suspect, and why.

    A suspect is cleared below `rules.clear`, as long as the slowdown that no pass may hide is ruled out; or where it is
    surely not as slow as fails a gate, so that a small slowdown of every cell does not cost every cell all its looks.
    """
    estimate = own(values)
    change = estimate.change()
    if len(values) < look:
        return "inconclusive", reasons.ended(len(values), look, "fresh")
    if rejected and change.value > rules.regression:
        return "regression", reasons.slower(change, values)
    most = estimate.bound(rules.certainty)
    if change.value < rules.clear and most < math.log1p(rules.hidden):
        return "pass", reasons.not_slower(change, look, fresh=True)
    if most < math.log1p(rules.regression):
        return "pass", reasons.too_little(change, look, rules)
    if look == rules.looks[-1]:
        return "inconclusive", reasons.undecided(change, look, rules)
    return None, ""
