"""What a gate says of its budget before the first pair."""

from __future__ import annotations

import math

import pytest
from builders import an_observation
from stored_runs import FP32

from bench.errors import UsageError
from bench.gating import budget, text
from bench.gating.rules import RULES


def planned(minutes: float, cells: int = 100, pair_s: float = 6.0) -> budget.BudgetPlan:
    return budget.plan({f"cell-{number}": pair_s for number in range(cells)}, 60 * minutes, RULES)


def test_the_least_is_the_screen_and_the_null_control():
    assert planned(40).least_pairs == 2 * 100 + RULES.null_pairs
    assert planned(40, cells=3).least_pairs == 2 * 3 + RULES.few_null_pairs


@pytest.mark.parametrize(
    ("minutes", "kind", "says"),
    [
        (
            5,
            "budget-short",
            "--budget-minutes 5 is too short: it suffices for about 50 pairs of 6 s, and 100 cells need ",
        ),
        (30, "budget-tight", "--budget-minutes 30 suffices for about 300 pairs of 6 s: enough to screen 100 cells"),
        (60, "budget-enough", "100 cells, about 6 s a pair: 22 minutes if nothing is suspect"),
    ],
)
def test_a_budget_is_short_tight_or_enough(minutes, kind, says):
    fact = planned(minutes).note()
    assert fact.kind == kind
    assert text.say(fact).startswith(says)
    assert "40" in text.say(fact), "what is enough"


def test_what_is_said_to_be_enough_is_enough():
    short = planned(1, cells=7, pair_s=11.0)
    enough = short.note().values["enough_minutes"]
    assert isinstance(enough, float)
    assert not planned(enough, cells=7, pair_s=11.0).is_tight
    assert planned(enough - 1, cells=7, pair_s=11.0).is_tight


def test_null_pairs_wait_only_where_the_budget_is_short():
    assert planned(5).rules(RULES).null_last
    assert not planned(30).rules(RULES).null_last


def test_a_pair_is_expected_to_take_as_long_as_the_base_started_and_bursts():
    seen = [an_observation(FP32, number, load_ns=2 * 10**9, samples_ns=[500_000_000] * 3) for number in range(3)]
    # Two sides of 1 s to start, 2 s to load, 3 s of warm-up at most, and sixteen bursts of a call of 0.5 s.
    assert budget.expected_pair_s(seen) == pytest.approx(2 * (1 + 2 + 3 + 8), rel=0.15)
    long = [an_observation(FP32, 1, load_ns=2 * 10**9, samples_ns=[10 * 10**9] * 3)]
    # Two turns of two calls of 10 s take longer than the time of the turns.
    assert budget.expected_pair_s(long) == pytest.approx(2 * (1 + 2 + 10 + 20), rel=0.15)
    assert budget.expected_pair_s([]) == budget.USUAL_PAIR_S


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_budget_that_is_no_time_is_refused(minutes):
    with pytest.raises(UsageError, match="cannot measure for"):
        budget.checked(minutes)


def test_a_budget_of_seconds_is_a_budget():
    assert budget.checked(0.01) == 0.01
