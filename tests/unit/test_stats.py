import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from bench.judge import statistics

ROUNDS = (3, 5, 10)
logs_of_times = st.lists(st.floats(-10, 10), min_size=2, max_size=12)


def ar1(rng, rho, bursts, calls):
    """Bursts of a Gaussian AR(1) series with unit variance, each started from its stationary law."""
    noise = rng.normal(size=(bursts, calls)) * math.sqrt(1 - rho**2)
    series = np.empty_like(noise)
    series[:, 0] = rng.normal(size=bursts)
    for i in range(1, calls):
        series[:, i] = rho * series[:, i - 1] + noise[:, i]
    return series


# --- the interval of a mean -------------------------------------------------------------------------------------------


def test_the_interval_is_the_t_interval_of_the_logs():
    logs = [math.log(x) for x in (2.0, 2.1, 1.9, 2.05, 1.98)]
    expected = reference.ttest_1samp(logs, 0).confidence_interval(0.95)
    found = statistics.interval(logs)
    assert found.value == pytest.approx(reference.gmean([2.0, 2.1, 1.9, 2.05, 1.98]))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_one_round_has_a_value_and_no_interval():
    found = statistics.interval([math.log(2.0)])
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == (None, None)
    assert statistics.half_width([math.log(2.0)]) is None


def test_equal_rounds_have_an_interval_without_width():
    assert statistics.half_width([0.7, 0.7, 0.7]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [1.0, math.inf]])
def test_no_value_or_a_senseless_one_is_refused(values):
    with pytest.raises(ValueError, match="at least one value, all finite"):
        statistics.interval(values)


def test_no_round_at_all_has_no_half_width():
    assert statistics.half_width([]) is None


@given(logs_of_times)
def test_the_interval_holds_its_value_and_agrees_with_the_half_width(logs):
    found = statistics.interval(logs)
    assert found.low <= found.value <= found.high
    assert found.high / found.value - 1 == pytest.approx(statistics.half_width(logs), rel=1e-6, abs=1e-9)


@given(logs_of_times, st.floats(-5, 5))
def test_another_unit_changes_no_relative_width(logs, shift):
    assert statistics.half_width([x + shift for x in logs]) == pytest.approx(
        statistics.half_width(logs), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("rounds", ROUNDS)
def test_95_percent_intervals_hold_the_truth_93_to_97_times_in_100(rounds):
    rng = np.random.default_rng(rounds)
    held = 0
    for logs in rng.normal(math.log(5.0), 0.03, size=(3000, rounds)):
        found = statistics.interval(logs)
        held += found.low <= 5.0 <= found.high
    assert 0.93 <= held / 3000 <= 0.97


@pytest.mark.parametrize("rounds", ROUNDS)
def test_the_interval_of_a_paired_ratio_holds_the_truth_under_a_drift_that_both_share(rounds):
    rng = np.random.default_rng(rounds)
    shared = rng.normal(0, 0.2, size=(3000, rounds))
    ours = np.exp(shared + rng.normal(0, 0.02, size=shared.shape))
    theirs = 1.5 * np.exp(shared + rng.normal(0, 0.03, size=shared.shape))
    held = 0
    for mine, other in zip(ours, theirs, strict=True):
        found = statistics.interval(statistics.paired_logs(dict(enumerate(mine)), dict(enumerate(other))))
        held += found.low <= 1.5 <= found.high
    assert 0.93 <= held / 3000 <= 0.97


def test_the_standard_budgets_stopping_rule_costs_two_percent_of_coverage_at_most():
    """Five to ten rounds, ended once the half width is 2 %: the worst case is a scatter that ends in between."""
    rng = np.random.default_rng(1)
    held = 0
    for logs in rng.normal(0, 0.025, size=(2000, 10)):
        rounds = next((n for n in range(5, 10) if statistics.half_width(logs[:n]) <= 0.02), 10)
        found = statistics.interval(logs[:rounds])
        held += found.low <= 1.0 <= found.high
    assert 0.92 <= held / 2000 <= 0.97


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_only_rounds_in_which_both_sides_were_measured_make_a_pair():
    assert statistics.paired_logs({0: 1.0, 1: 2.0, 4: 1.0}, {1: 4.0, 2: 9.0, 4: 1.0}) == pytest.approx(
        [math.log(2), 0.0]
    )


def test_a_pair_is_above_zero_where_we_are_the_faster_side():
    assert statistics.paired_logs({0: 1.0}, {0: 2.0})[0] > 0


# --- what can be resolved ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_difference_of_the_resolvable_size_is_found_four_times_in_five(rounds):
    rng = np.random.default_rng(rounds)
    noise = rng.normal(0, 1, size=(4000, rounds))
    unit = noise[0] / noise[0].std(ddof=1) * 0.02
    effect = math.log1p(statistics.resolvable(list(unit)))
    found = reference.ttest_1samp(noise * 0.02 + effect, 0, axis=1).pvalue < 0.05
    assert 0.77 <= found.mean() <= 0.83


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_what_can_be_resolved_is_never_less_than_the_half_width(logs):
    assert statistics.resolvable(logs) >= statistics.half_width(logs) - 1e-12


def test_one_round_resolves_nothing():
    assert statistics.resolvable([0.1]) is None
    assert statistics.resolvable([]) is None


def test_times_from_a_damaged_file_do_not_overflow():
    assert math.isfinite(statistics.resolvable([-90.0, 90.0]))


# --- percentiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "needed"), statistics.CALLS_FOR.items())
def test_a_percentile_needs_the_fewest_calls_of_which_two_lie_beyond_it(rank, needed):
    def two_beyond(calls):
        return 1 - reference.binom.cdf(1, calls, 1 - rank / 100)

    assert two_beyond(needed) >= 0.99 > two_beyond(needed - 1)


@pytest.mark.parametrize(("rank", "needed"), statistics.CALLS_FOR.items())
def test_a_percentile_is_missing_one_call_before_it_may_be_shown(rank, needed):
    def rounds(count):
        """As many calls over ten rounds, that alternate and so are all worth something."""
        return [[1.0 + i // 10 % 2 for i in range(part, count, 10)] for part in range(10)]

    assert statistics.percentiles(rounds(needed - 1))[rank] is None
    assert statistics.percentiles(rounds(needed))[rank].value == pytest.approx(2.0)


@pytest.mark.parametrize(("rank", "each"), statistics.CALLS_EACH.items())
def test_rounds_too_short_for_a_percentile_of_their_own_are_left_out(rank, each):
    long = [1.0, 2.0] * statistics.CALLS_FOR[rank]
    found = statistics.percentiles([long, long, [9.0] * (each - 1)])[rank]
    assert found.value == found.high == pytest.approx(2.0)
    assert statistics.percentiles([[2.0] * (each - 1)] * 100)[rank] is None


def test_the_50th_percentile_is_the_mean_of_the_rounds_medians_and_needs_no_number_of_calls():
    assert statistics.percentiles([[1.0], [4.0, 4.0, 9.0]])[50] == statistics.interval([math.log(1), math.log(4)])
    assert statistics.percentiles([]) == {50: None, 90: None, 95: None, 99: None}


TAILS = {"Gaussian": reference.norm(scale=0.02), "long": reference.expon(scale=0.05)}


EACH_CHANGE = {(90, 3, "Gaussian", 0.0), (90, 3, "long", 0.044), (99, 6, "Gaussian", 0.044), (99, 6, "long", 0.0)}
"""Each value of each parameter; `nox -s nightly` tests every combination."""


@pytest.mark.parametrize(
    ("rank", "rounds", "tail", "scatter"),
    [
        pytest.param(*case, marks=() if case in EACH_CHANGE else pytest.mark.nightly)
        for (rank, rounds), tail, scatter in product(
            ((90, 3), (90, 10), (95, 6), (99, 3), (99, 6)), TAILS, (0.0, 0.044)
        )
        for case in [(rank, rounds, tail, scatter)]
    ],
)
def test_95_percent_intervals_of_percentiles_hold_the_truth_whether_processes_differ_or_not(
    rank, rounds, tail, scatter
):
    """A process shifts all its calls by 4.4 % (MEASUREMENT); its own percentile is what is to be held."""
    rng = np.random.default_rng(rank + rounds)
    calls = 3 * statistics.CALLS_FOR[rank] // rounds
    truth = math.exp(TAILS[tail].ppf(rank / 100))
    held = 0
    for _ in range(500):
        logs = TAILS[tail].rvs((rounds, calls), random_state=rng) + rng.normal(0, scatter, size=(rounds, 1))
        found = statistics.percentiles(list(np.exp(logs)))[rank]
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 500 <= 0.98


def test_sticky_calls_widen_the_interval_of_a_percentile_by_themselves():
    rng = np.random.default_rng(8)
    truth = math.exp(0.02 * reference.norm.ppf(0.9))
    held = 0
    for _ in range(400):
        found = statistics.percentiles(list(np.exp(0.02 * ar1(rng, 0.6, 6, 120))))[90]
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_pooling_the_calls_would_have_promised_far_too_much():
    """Why no order statistics of the pool: with processes apart by 4.4 % they hold the truth every third time."""
    rng = np.random.default_rng(4)
    truth = math.exp(0.02 * reference.norm.ppf(0.9))
    low, high = reference.binom.ppf([0.025, 0.975], 600, 0.9).astype(int)
    held = 0
    for _ in range(300):
        pool = np.sort(np.exp(rng.normal(0, 0.02, (6, 100)) + rng.normal(0, 0.044, (6, 1))), axis=None)
        held += pool[low] <= truth <= pool[high]
    assert held / 300 < 0.5


# --- one value a round ------------------------------------------------------------------------------------------------


def test_what_is_typical_of_rounds_leaves_out_those_that_say_nothing():
    assert statistics.typical([None, 2.0, 0.0, 8.0]) == statistics.interval([math.log(2), math.log(8)])
    assert statistics.typical([3.0]).high is None
    assert statistics.typical([None, 0.0]) is None


# --- calls that resemble their neighbours -----------------------------------------------------------------------------


def test_sticky_calls_are_fewer_than_they_seem_so_their_percentile_is_a_dash():
    rng = np.random.default_rng(3)
    independent, sticky = ar1(rng, 0.0, 5, 160), ar1(rng, 0.9, 5, 160)
    assert statistics.percentiles(independent)[99] is not None
    assert statistics.percentiles(sticky)[99] is None
    assert statistics.percentiles(sticky)[95] is None


@pytest.mark.parametrize("calls", [10, 20, 50, 250])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_the_autocorrelation_of_simulated_bursts_is_found_even_in_short_ones(rho, calls):
    rng = np.random.default_rng(5)
    found = [statistics.autocorrelation(ar1(rng, rho, 10, calls)) for _ in range(40)]
    assert np.mean(found) == pytest.approx(rho, abs=0.07)


def test_effective_calls_of_a_simulated_series_are_what_its_mean_is_worth():
    rng = np.random.default_rng(7)
    series = [ar1(rng, 0.6, 5, 200) for _ in range(200)]
    worth = 1 / np.var([burst.mean() for burst in series])  # independent calls of unit variance with as wide a mean
    assert np.mean([statistics.effective_calls(burst) for burst in series]) == pytest.approx(worth, rel=0.25)


def test_one_interrupted_call_does_not_hide_that_the_others_stick_together():
    bursts = ar1(np.random.default_rng(9), 0.7, 5, 200)
    disturbed = bursts.copy()
    disturbed[:, 100] += 500
    assert statistics.autocorrelation(disturbed) == pytest.approx(statistics.autocorrelation(bursts), abs=0.05)


def test_equal_calls_of_a_coarse_clock_count_as_independent():
    assert statistics.effective_calls([[5, 5, 5], [5, 5, 5]]) == 6


def test_calls_that_alternate_count_once_and_never_more():
    assert statistics.effective_calls([[1.0, 2.0] * 50]) == 100


def test_no_call_is_worth_nothing():
    assert statistics.effective_calls([]) == 0


@given(st.lists(st.lists(st.integers(1, 10**12), min_size=1, max_size=30), min_size=1, max_size=6))
def test_effective_calls_lie_between_one_and_all(bursts):
    assert 1 <= statistics.effective_calls(bursts) <= sum(map(len, bursts))


@given(st.integers(0, 2**32), st.floats(0.01, 3))
def test_percentiles_are_in_order_and_within_the_calls(seed, spread):
    calls = np.random.default_rng(seed).lognormal(10, spread, size=(2, 1000))
    found = {rank: one.value for rank, one in statistics.percentiles(list(calls)).items()}
    assert calls.min() <= found[50] <= found[90] <= found[95] <= found[99] <= calls.max()
