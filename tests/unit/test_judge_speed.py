import math

import numpy as np
import pytest
from builders import a_cell, a_control, a_timing, an_observation, rounds_of

from bench.judge import statistics
from bench.judge.bursts import BlockTimes
from bench.judge.ratios import WIDENED, Ratios
from bench.judge.speed import controls, round_medians, speed
from bench.records import Interval, Recipe

CELL = a_cell()


def speed_of(seen, control=None, reference=None, cell=CELL):
    """The speed of a cell beside a control with these times, in milliseconds by block."""
    cells = {cell.id: times(round_medians(seen))} | ({control: times(reference)} if reference else {})
    return speed(cell, seen, round_medians(seen), control, Ratios([cells]))


def times(medians):
    return {number: BlockTimes(ms, {}) for number, ms in medians.items()}


# --- one cell alone ---------------------------------------------------------------------------------------------------


def test_a_round_counts_once_by_its_median_however_many_calls_it_made():
    many = an_observation(round=0, samples_ns=[1_000_000] * 1000)
    few = an_observation(round=1, samples_ns=[4_000_000] * 3)
    assert speed_of([many, few]).latency_ms.value == pytest.approx(2.0)


def test_one_call_that_was_held_up_does_not_move_its_round():
    assert round_medians([an_observation(samples_ns=[2_000_000] * 9 + [900_000_000])]) == {0: 2.0}


def test_the_rounds_behind_the_latency_are_kept():
    assert speed_of(rounds_of(CELL, [2.0, 2.5, 1.5])).rounds_ms == (2.0, 2.5, 1.5)


def test_a_percentile_is_of_each_round_and_its_interval_over_the_rounds():
    calls = np.random.default_rng(0).permutation(np.arange(1, 201)) * 10_000
    rounds = [an_observation(round=i, samples_ns=[int(k * call) for call in calls]) for i, k in enumerate((1, 2, 4))]
    found = speed_of(rounds)
    expected = statistics.interval([math.log(k * found.p90_ms.value / 2) for k in (1, 2, 4)])
    assert (found.p90_ms.low, found.p90_ms.high) == pytest.approx((expected.low, expected.high))
    assert found.p90_ms.value == pytest.approx(3.6, rel=0.01)


def test_a_cell_of_few_calls_has_a_dash_for_its_percentiles():
    found = speed_of(rounds_of(CELL, [2.0, 2.0, 2.0]))
    assert (found.p90_ms, found.p95_ms, found.p99_ms) == (None, None, None)


def test_percentiles_come_in_milliseconds_once_there_are_calls_enough():
    calls = np.random.default_rng(0).permutation(np.arange(1, 1001)) * 1_000_000
    found = speed_of([an_observation(samples_ns=[int(call) for call in calls])])
    assert found.p90_ms == Interval(pytest.approx(900, abs=1), None, None)
    assert found.p99_ms.value == pytest.approx(990, abs=1)


def test_throughput_is_items_a_second_and_its_slow_end_is_the_latencys_slow_end():
    cell = a_cell(rates={"sequences": 8.0, "tokens": 1024.0})
    found = speed_of(rounds_of(cell, [1.9, 2.0, 2.1]), cell=cell)
    assert list(found.throughput) == ["sequences", "tokens"]
    assert found.throughput["sequences"].value == pytest.approx(8 / (found.latency_ms.value / 1000))
    assert found.throughput["tokens"].low == pytest.approx(1024 / (found.latency_ms.high / 1000))
    assert found.throughput["tokens"].low < found.throughput["tokens"].value < found.throughput["tokens"].high


def test_one_round_has_a_throughput_without_an_interval():
    found = speed_of(rounds_of(CELL, [2.0]))
    assert found.throughput["sequences"] == Interval(500.0, None, None)
    assert found.resolvable is None


@pytest.mark.parametrize("timing", [None, a_timing(()), a_timing((0, 0, 0))])
def test_a_round_without_calls_or_with_a_clock_that_does_not_tick_is_left_out(timing):
    seen = [an_observation(round=0, timing=timing), an_observation(round=1)]
    assert round_medians(seen) == {1: 2.0}
    assert speed_of(seen).latency_ms.value == pytest.approx(2.0)


def test_no_timed_round_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        speed_of([an_observation(timing=a_timing(()))])


# --- beside the control -----------------------------------------------------------------------------------------------


def test_a_cell_that_takes_half_the_controls_time_is_twice_as_fast():
    found = speed_of(rounds_of(CELL, [2.0, 2.2, 1.8]), "control", {0: 4.0, 1: 4.4, 2: 3.6})
    assert found.ratio_to_control == Interval(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0))
    assert found.control == "control"


def test_what_slowed_a_whole_round_cancels_in_the_ratio():
    found = speed_of(rounds_of(CELL, [2.0, 20.0, 2.0]), "control", {0: 4.0, 1: 40.2, 2: 3.98})
    assert found.ratio_to_control.high / found.ratio_to_control.low < 1.03
    alone = statistics.interval([math.log(4.0 / 2.0), math.log(40.2 / 20.0), math.log(3.98 / 2.0)])
    # Two cells borrow nothing, and their interval is wider because blocks stop when it is narrow.
    assert math.log(found.ratio_to_control.high / alone.value) == pytest.approx(
        (1 + WIDENED) * math.log(alone.high / alone.value)
    )
    assert found.latency_ms.high / found.latency_ms.low > 100


def test_only_rounds_of_both_are_compared():
    found = speed_of(rounds_of(CELL, [2.0, 2.0, 99.0]), "control", {0: 3.0, 1: 3.0, 7: 50.0})
    assert found.ratio_to_control.value == pytest.approx(1.5)


@pytest.mark.parametrize("reference", [None, {7: 3.0}])
def test_without_a_round_of_the_control_there_is_no_ratio_and_no_control(reference):
    found = speed_of(rounds_of(CELL, [2.0, 2.1]), "control", reference)
    assert (found.ratio_to_control, found.control) == (None, None)


def test_the_controls_own_ratio_is_one_by_definition():
    control = a_control()
    found = speed_of(rounds_of(control, [2.0, 2.3]), control.id, {0: 2.0, 1: 2.3}, cell=control)
    assert (found.ratio_to_control, found.control) == (Interval(1.0, 1.0, 1.0), control.id)
    assert found.resolvable > 0.05  # from its own scatter: its ratios to itself have none


def test_what_can_be_resolved_comes_from_the_scatter_of_the_ratios():
    found = speed_of(rounds_of(CELL, [2.0, 20.0, 2.0]), "control", {0: 4.0, 1: 40.2, 2: 3.98})
    paired = [math.log(4.0 / 2.0), math.log(40.2 / 20.0), math.log(3.98 / 2.0)]
    assert found.resolvable == pytest.approx(math.expm1((1 + WIDENED) * math.log1p(statistics.resolvable(paired))))


def test_without_a_control_a_difference_between_two_cells_scatters_by_both():
    medians = [2.0, 2.1, 1.9]
    found = speed_of(rounds_of(CELL, medians))
    assert found.resolvable > statistics.resolvable([math.log(value) for value in medians]) * 1.4


# --- which cell is the control ----------------------------------------------------------------------------------------


def test_every_precision_is_compared_to_the_fp32_control():
    int8 = a_cell("minilm/int8/webgpu/b1-s128")
    fp16, fp32 = a_control("minilm/fp16/torch-eager/b1-s128"), a_control("minilm/fp32/torch-eager/b1-s128")
    found = controls([int8, fp16, fp32])
    assert {found[cell.id].id for cell in (int8, fp16, fp32)} == {fp32.id}


def test_the_recipes_number_format_says_fp32_whatever_the_precision_is_called():
    full = a_control("minilm/full/torch-eager/b1-s128", recipe=Recipe("eager-fp32", number_format="fp32"))
    cell = a_cell("minilm/int8/webgpu/b1-s128")
    assert controls([cell, full])[cell.id] is full


def test_without_an_fp32_control_the_one_of_the_cells_own_precision_serves():
    int8, fp16 = a_cell("minilm/int8/webgpu/b1-s128"), a_cell("minilm/fp16/webgpu/b1-s128")
    control = a_control("minilm/fp16/torch-eager/b1-s128")
    found = controls([int8, fp16, control])
    assert found[fp16.id] is control
    assert int8.id not in found


@pytest.mark.parametrize("path", ["bert/fp32/torch-eager/b1-s128", "minilm/fp32/torch-eager/b8-s128"])
def test_another_models_or_workloads_control_is_none(path):
    assert CELL.id not in controls([CELL, a_control(path)])


def test_a_control_that_a_rule_excludes_is_none():
    assert controls([CELL, a_control(excluded="broken here")]) == {}


def test_of_two_controls_the_first_of_the_plan_serves():
    first, second = a_control("minilm/fp32/torch-eager/b1-s128"), a_control("minilm/fp32/torch-compile/b1-s128")
    assert controls([CELL, first, second])[CELL.id] is first


def test_an_emulated_cell_has_no_control_and_is_none():
    emulated = a_cell("minilm/fp32/qnn/b1-s128", emulated=True)
    assert controls([CELL, emulated, a_control(emulated=True)]) == {}
    assert list(controls([CELL, emulated, a_control()])) == [CELL.id, a_control().id]
