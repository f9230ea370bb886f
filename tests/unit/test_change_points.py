"""Change points: a step is found where it is, noise is left alone, and too few runs say nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("ruptures", reason="it has no release for Python 3.14 yet")

from bench.comparison.change_points import MIN_RUNS, steps


def a_series(runs: int = 20, noise: float = 0.02, seed: int = 0, **steps_at: float) -> list[float]:
    """Logs of some runs about one level; `at_12=0.1` raises the level by a tenth from the thirteenth run on."""
    values = np.random.default_rng(seed).normal(2.0, noise, runs)
    for place, size in steps_at.items():
        values[int(place.removeprefix("at_")) :] += math.log1p(size)
    return values.tolist()


def test_a_step_is_found_where_it_is_and_as_large_as_it_is():
    (found,) = steps(a_series(at_12=0.15))
    assert found.at == 12
    assert found.change == pytest.approx(0.15, abs=0.03)
    assert (found.before, found.after) == (12, 8)


def test_a_step_down_has_a_negative_change():
    (found,) = steps(a_series(at_10=-0.2))
    assert found.change == pytest.approx(-0.2, abs=0.03)


def test_two_steps_are_two():
    assert [found.at for found in steps(a_series(30, at_10=0.2, at_20=-0.2))] == [10, 20]


def test_noise_shows_a_step_in_one_series_of_a_hundred_at_most():
    shown = sum(bool(steps(a_series(runs, seed=seed))) for runs in (10, 12, 20) for seed in range(100))
    assert shown <= 6, "one or two of 300 are promised"


def test_nine_steps_of_ten_are_found_from_ten_runs_on():
    found = sum(any(abs(one.at - 5) <= 1 for one in steps(a_series(10, seed=s, at_5=0.105))) for s in range(100))
    assert found >= 86, "93 % are promised of a step of five times the scatter"


def test_a_single_odd_run_is_no_new_level():
    values = a_series(20)
    values[9] += 0.5
    assert steps(values) == ()


def test_a_step_under_two_percent_is_no_news():
    assert steps(a_series(40, noise=0.001, at_20=0.015)) == ()
    assert steps(a_series(40, noise=0.001, at_20=0.03))


def test_runs_that_agree_to_the_last_digit_hide_no_step_and_make_none():
    assert steps([1.0] * 20) == ()
    (found,) = steps([1.0] * 10 + [1.1] * 10)
    assert found.at == 10


@pytest.mark.parametrize("runs", [0, 1, MIN_RUNS - 1])
def test_too_few_runs_say_nothing(runs):
    assert steps(a_series(runs, at_4=3.0) if runs > 4 else [1.0] * runs) == ()


def test_what_is_not_finite_says_nothing():
    assert steps([1.0] * 10 + [math.inf]) == ()
