"""Drift of timed calls: what is one, and that noise alone is none, in a seeded simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bench.judge import drift
from bench.judge.drift import burst_drift

MS = 1_000_000


def calls(rng, count=250, rho=0.5, scatter=0.03, rise=0.0):
    """Calls of a millisecond whose noise is an AR(1) series; one in a hundred is held up, and all rise by so much."""
    shocks = rng.standard_normal(count) * np.sqrt(1 - rho**2)
    noise = np.empty(count)
    noise[0] = rng.standard_normal()
    for number in range(1, count):
        noise[number] = rho * noise[number - 1] + shocks[number]
    held_up = np.where(rng.random(count) < 0.01, rng.exponential(1.0, count), 0.0)
    return (MS * np.exp(scatter * noise + held_up + rise * np.linspace(0, 1, count))).astype(int).tolist()


def flagged(cells, rounds, **said):
    """In what share of cells a drift is found."""
    rng = np.random.default_rng(20261102)
    return np.mean([burst_drift([calls(rng, **said) for _ in range(rounds)]) != 0 for _ in range(cells)])


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.95, 0.98])
@pytest.mark.parametrize("count", [12, 25, 60, 1000])
@pytest.mark.parametrize("rounds", [3, 6])
def test_noise_alone_is_no_drift_however_correlated_the_calls(rho, count, rounds):
    share = flagged(200, rounds, rho=rho, count=count, scatter=0.06)
    assert share <= 0.03, "nominally 1 %; two hundred cells show up to 3 % by chance"


@pytest.mark.parametrize(("rho", "count"), [(0.0, 60), (0.5, 250), (0.8, 1000)])
def test_calls_that_rise_by_six_per_cent_are_found_in_nine_cells_of_ten(rho, count):
    assert flagged(60, 6, rho=rho, count=count, scatter=0.02, rise=0.09) > 0.9


def test_by_how_much_calls_rise_is_told_from_the_first_third_to_the_last():
    rising = [int(MS * (1 + 0.001 * n)) for n in range(120)]
    assert burst_drift([rising] * 3) == pytest.approx(1.0995 / 1.0195 - 1, rel=0.02)


def test_calls_that_still_become_faster_are_not_steady_either():
    assert burst_drift([[int(MS * (1 - 0.002 * n)) for n in range(60)]] * 3) < -0.05


def test_a_drift_in_one_round_of_three_is_none_of_the_cell():
    rng = np.random.default_rng(1)
    steady, rising = calls(rng, 500, 0.0, 0.01), calls(rng, 500, 0.0, 0.01, rise=0.2)
    assert burst_drift([rising]) > 0.1
    assert burst_drift([rising, steady, steady]) == 0
    assert burst_drift([rising, rising, steady]) > 0.05


def test_rounds_of_few_calls_tell_together_what_none_tells_alone():
    rng = np.random.default_rng(2)
    rounds = [calls(rng, 15, 0.3, 0.01, rise=0.1) for _ in range(6)]
    assert not any(burst_drift([one]) for one in rounds)
    assert burst_drift(rounds) > 0.03


@pytest.mark.parametrize("samples", [[], [MS], [MS * n for n in range(1, 12)]])
def test_of_a_few_slow_calls_nothing_is_said(samples):
    assert burst_drift([samples] * 6) == 0


def test_equal_calls_and_calls_of_no_time_do_not_drift():
    assert burst_drift([[MS] * 60] * 3) == burst_drift([[0] * 60] * 3) == 0


def test_many_calls_are_looked_at_in_stretches_and_none_is_left_out():
    step = [MS] * 80_000 + [2 * MS] * 40_001
    assert drift._blocks(step).size <= 2 * drift.BLOCKS
    assert burst_drift([step] * 3) == pytest.approx(1.0, rel=0.05)
