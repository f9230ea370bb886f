"""Warm-up, burst and drift against a clock that tells what the test wants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, repeat

import pytest
from builders import an_effort
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from bench.records import Timing
from bench.shared.slopes import median_slope
from bench.worker import timing
from bench.worker.timing import burst, is_steady, timed, warm_up, window

MS = 1_000_000
EFFORT = an_effort(warmup_calls=10, warmup_s=1.0, warmup_limit_s=10.0, burst_s=0.25)


class Model:
    """A call that takes the next of the times given, on a clock of its own."""

    def __init__(self, times_ns: Iterable[int]) -> None:
        self.times: Iterator[int] = iter(times_ns)
        self.now_ns = 0
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.now_ns += next(self.times)

    def clock(self) -> int:
        return self.now_ns


def warmed(times_ns: Iterable[int], **effort: float) -> tuple[list[int], bool]:
    model = Model(times_ns)
    run = partial(timed, model, model.clock)
    return warm_up(run, an_effort(**effort) if effort else EFFORT, model.clock)


def first_and_warm_up(model: Model) -> Timing:
    return timing.warmed(partial(timed, model, model.clock), EFFORT, model.clock)


# --- warm-up ----------------------------------------------------------------------------------------------------------


def test_a_steady_model_is_warmed_up_for_the_least_time_and_no_longer():
    samples, steady = warmed(repeat(10 * MS))
    assert steady
    assert sum(samples) == 1000 * MS


def test_a_first_call_that_compiles_for_a_minute_takes_no_time_from_the_warm_up():
    model = Model(chain([60_000 * MS], repeat(10 * MS)))
    seen = first_and_warm_up(model)
    assert seen.steady
    assert sum(seen.warmup_ns) == 1000 * MS


def test_warm_up_makes_its_least_number_of_calls_though_the_time_is_over():
    samples, steady = warmed(repeat(200 * MS))
    assert steady
    assert len(samples) == 10


def test_warm_up_goes_on_while_the_model_still_gets_faster():
    falling = (int(40 * MS * 0.98**n) for n in range(120))
    samples, steady = warmed(chain(falling, repeat(5 * MS)))
    assert steady
    assert len(samples) > 120, "until the falling calls have left the windows"
    assert set(samples[-20:]) == {5 * MS}


def test_a_model_that_never_gets_steady_is_told_so_at_the_limit():
    saw = chain.from_iterable(repeat([*[10 * MS] * 20, *[12 * MS] * 20]))
    restless = (value + (n * 40_000) for n, value in enumerate(saw))
    samples, steady = warmed(restless, warmup_calls=10, warmup_s=1.0, warmup_limit_s=3.0)
    assert not steady
    assert 3000 * MS <= sum(samples) < 3100 * MS


def test_a_slow_model_is_warmed_up_by_three_calls_in_all():
    samples, steady = warmed(repeat(600 * MS))
    assert steady
    assert len(samples) == timing.SLOW_WARMUP_CALLS - 1, "the first call is the third"


def test_a_model_whose_first_calls_alone_are_slow_is_warmed_up_like_any_other():
    samples, steady = warmed(chain([700 * MS], repeat(10 * MS)))
    assert steady
    assert len(samples) > 20


def test_one_call_as_long_as_the_limit_ends_the_warm_up():
    samples, _ = warmed(repeat(20_000 * MS))
    assert len(samples) <= 2


# --- windows and drift ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call_ms", "calls"), [(0.01, 20), (1, 20), (12.5, 20), (25, 10), (50, 5), (100, 3), (450, 3)])
def test_a_window_is_twenty_calls_or_a_quarter_of_a_second_but_three_at_least(call_ms, calls):
    assert window([int(call_ms * MS)] * 40) == calls


def test_two_windows_are_needed_to_be_steady():
    assert not is_steady([MS] * 39)
    assert is_steady([MS] * 40)


@pytest.mark.parametrize(("shift", "steady"), [(1.0, True), (1.012, True), (0.99, True), (1.017, False), (0.97, False)])
def test_windows_whose_medians_differ_by_more_than_a_hundredth_and_a_half_are_not_steady(shift, steady):
    samples = [10 * MS] * 20 + [int(10 * MS * shift)] * 20
    drift = median_slope(samples) * len(samples) / (10 * MS)
    assert abs(drift) < timing.DRIFT or shift == 0.97, "so that it is the medians that tell"
    assert is_steady(samples) is steady


def test_a_slow_drift_is_not_steady_though_the_medians_agree():
    drifting = [int(10 * MS * (1 + 0.0006 * n)) for n in range(40)]
    medians_agree = abs(drifting[30] / drifting[10] - 1) < timing.MEDIAN_SHIFT
    assert medians_agree
    assert not is_steady(drifting)


def test_single_outliers_do_not_make_a_model_unsteady():
    samples = [10 * MS] * 40
    samples[7] = samples[33] = 90 * MS
    assert is_steady(samples)


@given(st.lists(st.integers(1, 10**10), min_size=2, max_size=40))
def test_the_drift_is_the_theil_sen_slope_of_scipy(values):
    assert median_slope(values) == pytest.approx(theilslopes(values).slope, rel=1e-9, abs=1e-9)


# --- bursts -----------------------------------------------------------------------------------------------------------


@given(call_ns=st.integers(1, 10 * MS), length_ns=st.integers(0, 50 * MS))
def test_a_burst_takes_one_call_at_least_and_lasts_as_long_as_it_must(call_ns, length_ns):
    if length_ns // call_ns > 10_000:
        length_ns = 10_000 * call_ns
    model = Model(repeat(call_ns))
    samples = burst(model, length_ns, model.clock)
    assert len(samples) == model.calls >= 1
    assert sum(samples) >= length_ns
    assert sum(samples[:-1]) < max(length_ns, 1), "and no call longer"


def test_a_burst_keeps_each_call_as_it_was():
    model = Model([3, 1, 4, 1, 5, 9, 2, 6])
    assert burst(model, 20, model.clock) == [3, 1, 4, 1, 5, 9]


def test_a_burst_of_very_short_calls_ends_at_the_largest_number_of_calls():
    model = Model(repeat(1))
    assert burst(model, MS, model.clock, max_calls=7) == [1] * 7


def test_a_real_clock_measures_a_real_call():
    samples = burst(lambda: time.sleep(0.002), 20 * MS)
    assert min(samples) >= 2 * MS * 0.95
    assert sum(samples) >= 20 * MS


# --- first call and warm-up -------------------------------------------------------------------------------------------


def test_the_first_call_is_kept_apart_from_the_warm_up():
    model = Model(chain([500 * MS], repeat(10 * MS)))
    seen = first_and_warm_up(model)
    assert seen.first_call_ns == 500 * MS
    assert set(seen.warmup_ns) == {10 * MS}
    assert seen.samples_ns == ()
    assert seen.steady
    assert model.calls == 1 + len(seen.warmup_ns)


def test_a_record_keeps_the_first_thousand_calls_of_a_long_warm_up():
    model = Model(repeat(MS // 10))
    seen = first_and_warm_up(model)
    assert len(seen.warmup_ns) == timing.KEPT_WARMUP < model.calls
