"""The words of what a gate's budget suffices for (pure)."""

from __future__ import annotations

from bench.report.text_notes import Words


def _minutes(number: float) -> str:
    return f"{number:g} minute{'' if number == 1 else 's'}"


def _cells(number: int) -> str:
    return f"{number:,} cell{'' if number == 1 else 's'}"


def _pairs(number: int, pair_s: float) -> str:
    return f"about {number:,} pair{'' if number == 1 else 's'} of {pair_s:g} s"


def _budget_short(
    cells: int,
    pair_s: float,
    pairs: int,
    least_pairs: int,
    least_minutes: float,
    budget_minutes: float,
    enough_minutes: float,
) -> str:
    return (
        f"--budget-minutes {budget_minutes:g} is too short: it suffices for {_pairs(pairs, pair_s)}"
        f", and {_cells(cells)} need {least_pairs} at least ({_minutes(least_minutes)}); "
        f"{_minutes(enough_minutes)} are enough. Lost support is looked for first, and null pairs are made last"
    )


def _budget_tight(
    cells: int, pair_s: float, pairs: int, least_minutes: float, budget_minutes: float, enough_minutes: float
) -> str:
    return (
        f"--budget-minutes {budget_minutes:g} suffices for {_pairs(pairs, pair_s)}: enough to "
        f"screen {_cells(cells)} ({_minutes(least_minutes)}), but suspects may stay undecided; "
        f"{_minutes(enough_minutes)} are enough"
    )


def _budget_enough(
    cells: int, pair_s: float, least_minutes: float, budget_minutes: float, enough_minutes: float
) -> str:
    return (
        f"{_cells(cells)}, about {pair_s:g} s a pair: {_minutes(least_minutes)} if nothing is suspect, and rarely more "
        f"than {enough_minutes:g}; the budget is {budget_minutes:g}"
    )


WORDS: dict[str, Words] = {
    "budget-short": _budget_short,
    "budget-tight": _budget_tight,
    "budget-enough": _budget_enough,
}
"""The words of each kind, by the parameters of its note."""
