import math

import pytest
from builders import a_machine, a_timing, an_observation

from bench.judge.bursts import (
    LEAST_CALLS,
    block_log_ratio,
    block_times,
    is_shared,
    turn_values,
    typical_call,
)
from bench.records import Observation

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


def test_a_machine_is_shared_where_it_is_a_guest_or_a_container():
    assert not is_shared(a_machine(hypervisor=None, container=None))
    assert is_shared(a_machine(hypervisor="kvm", container=None))
    assert is_shared(a_machine(hypervisor=None, container="docker"))


def test_each_turn_has_the_median_call_of_its_burst_or_the_one_at_the_quarter_where_others_use_the_machine():
    assert turn_values(a_block([1, 2, 3], [4])) == {0: 2.0, 1: 4.0}
    assert turn_values(a_block([1, 2, 3], [4]), shared=True) == {0: 1.5, 1: 4.0}


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
    apart = [a_block([ms] * LEAST_CALLS, turns=(turn,)) for ms, turn in ((3, 1), (6, 2))]
    assert block_log_ratio(*apart, shared=True) == pytest.approx(math.log(2))


@pytest.mark.parametrize("timing", [None, a_timing(()), a_timing((0, 0, 0))])
def test_a_side_without_a_time_has_no_log_ratio(timing):
    nothing = an_observation(timing=timing)
    assert block_times(nothing) is None
    assert block_log_ratio(nothing, a_block([1])) is None
    assert block_log_ratio(a_block([1]), nothing) is None


def test_a_call_of_no_time_is_left_out():
    assert block_times(a_block([0, 2], [0, 4])).turns == {0: 2.0, 1: 4.0}
    assert typical_call([0, 2 * MS]) == 1.0


def flipping(fast_ms: float, slow_turns: tuple[int, ...]) -> Observation:
    """Twelve turns of a cell on a machine that other guests slow by a third in some of them."""
    return a_block(*([fast_ms * (1.33 if turn in slow_turns else 1.0)] * 2 for turn in range(12)))


def test_on_a_shared_machine_cells_are_compared_by_their_fast_calls_which_other_guests_did_not_slow():
    ours, theirs = flipping(2, (0, 1, 2, 3, 4, 5, 6)), flipping(3, (7, 8))
    assert block_log_ratio(ours, theirs, shared=True) == pytest.approx(math.log(1.5))
    # Two thirds of the turns are slowed on one side only, and the median over the turns is among them.
    assert block_log_ratio(ours, theirs) == pytest.approx(math.log(1.5 / 1.33))


def test_a_few_long_calls_are_compared_by_turns_as_their_tenth_percentile_is_the_fastest_call():
    few = [a_block(*([ms] for _ in range(LEAST_CALLS - 1))) for ms in (2, 3)]
    assert [block_times(block, shared=True).fast for block in few] == [None, None]
    enough = block_times(a_block(*([ms] for ms in range(1, LEAST_CALLS + 1))), shared=True)
    assert enough.fast == pytest.approx(1.9)
    assert block_log_ratio(*few, shared=True) == pytest.approx(math.log(1.5))
