import math

import pytest
from builders import a_machine, a_timing, an_observation

from bench.judge.bursts import MEDIAN, QUARTILE, block_log_ratio, block_times, quantile_for, turn_values, typical_call

MS = 1_000_000


def a_block(*bursts, turns=None, **said):
    """An observation of a block, from the calls of each burst in milliseconds."""
    return an_observation(
        timing=a_timing(
            [round(ms * MS) for burst in bursts for ms in burst],
            burst_calls=tuple(len(burst) for burst in bursts),
            turns=tuple(range(len(bursts))) if turns is None else turns,
            **said,
        )
    )


def test_a_burst_is_its_median_call_or_the_one_at_the_quarter_where_others_use_the_machine():
    calls = [1 * MS, 2 * MS, 3 * MS, 4 * MS, 90 * MS]
    assert typical_call(calls, quantile_for(a_machine(hypervisor=None, container=None))) == 3.0
    assert typical_call(calls, quantile_for(a_machine(hypervisor="kvm", container=None))) == 2.0
    assert quantile_for(a_machine(hypervisor=None, container="docker")) == QUARTILE


def test_each_turn_has_the_typical_call_of_its_burst():
    assert turn_values(a_block([1, 2, 3], [4])) == {0: 2.0, 1: 4.0}
    assert turn_values(a_block([1, 2, 3], [4]), QUARTILE) == {0: 1.5, 1: 4.0}


def test_two_bursts_of_one_turn_are_one():
    assert turn_values(a_block([1, 1], [5], [3], turns=(0, 0, 2))) == {0: 1.0, 2: 3.0}


@pytest.mark.parametrize("turns", [(), (0,), (0, 1, 2)])
def test_bursts_whose_turns_are_not_known_have_no_turns(turns):
    assert turn_values(a_block([1, 2], [3], turns=turns)) == {}
    assert block_times(a_block([1, 2], [3], turns=turns)).whole == 2.0


def test_calls_that_belong_to_no_burst_leave_no_turn():
    assert turn_values(an_observation(timing=a_timing((MS, MS), burst_calls=(1,), turns=(0,)))) == {}


def test_the_log_ratio_is_the_median_over_the_turns_and_above_0_where_ours_is_faster():
    ours, theirs = a_block([2], [2], [2]), a_block([4], [4.2], [40])
    assert block_log_ratio(ours, theirs) == pytest.approx(math.log(2.1))
    assert block_log_ratio(theirs, ours) == pytest.approx(-math.log(2.1))


def test_what_slows_a_turn_of_both_cancels():
    ours, theirs = a_block([2], [20], [6]), a_block([3], [30], [9])
    assert block_log_ratio(ours, theirs) == pytest.approx(math.log(1.5))


def test_only_turns_that_both_have_are_compared():
    ours, theirs = a_block([2], [9], turns=(0, 1)), a_block([4], [1], turns=(0, 2))
    assert block_log_ratio(ours, theirs) == pytest.approx(math.log(2))


def test_without_a_common_turn_the_medians_of_all_calls_are_compared_as_in_older_runs():
    older = an_observation(samples_ns=[2 * MS, 3 * MS, 4 * MS])
    assert block_log_ratio(older, a_block([6], [6], [60])) == pytest.approx(math.log(2))
    assert block_log_ratio(a_block([3], turns=(1,)), a_block([6], turns=(2,)), QUARTILE) == pytest.approx(math.log(2))


@pytest.mark.parametrize("timing", [None, a_timing(()), a_timing((0, 0, 0))])
def test_a_side_without_a_time_has_no_log_ratio(timing):
    nothing = an_observation(timing=timing)
    assert block_times(nothing) is None
    assert block_log_ratio(nothing, a_block([1])) is None
    assert block_log_ratio(a_block([1]), nothing) is None


def test_a_call_of_no_time_is_left_out():
    assert block_times(a_block([0, 2], [0, 4])).turns == {0: 2.0, 1: 4.0}
    assert typical_call([0, 2 * MS], MEDIAN) == 1.0
