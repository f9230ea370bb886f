import math

import numpy as np
import pytest
from scipy import stats as reference

from bench.judge.bursts import BlockTimes
from bench.judge.ratios import KNOWN, WIDENED, Ratios
from bench.records import Interval


def times(*values_ms, first=1):
    """The times of a cell in blocks that follow one another, without turns."""
    return {number: BlockTimes(ms, {}) for number, ms in enumerate(values_ms, first)}


def some_ratios(cells=4, blocks=4, scatter=0.02, seed=0, **said):
    """Ratios of cells of 10 ms that scatter alike, named `0`, `1` …"""
    logs = np.random.default_rng(seed).normal(0, scatter, size=(cells, blocks))
    made = {str(cell): times(*(10 * math.exp(log) for log in row)) for cell, row in enumerate(logs)}
    return Ratios([made | said])


def half(interval):
    return math.log(interval.high / interval.value)


# --- the ratio --------------------------------------------------------------------------------------------------------


def test_a_cell_that_takes_half_the_time_is_twice_as_fast():
    ratios = Ratios([{"a": times(2, 2.2, 1.8), "b": times(4, 4.4, 3.6)}])
    assert ratios.ratio("a", "b").value == pytest.approx(2.0)
    assert ratios.ratio("b", "a").value == pytest.approx(0.5)


def test_a_ratio_and_its_inverse_have_one_interval():
    ratios = some_ratios()
    there, back = ratios.ratio("0", "1"), ratios.ratio("1", "0")
    assert (back.value, back.low, back.high) == pytest.approx((1 / there.value, 1 / there.high, 1 / there.low))


def test_only_blocks_that_held_both_count():
    ratios = Ratios([{"a": times(2, 2, 99), "b": times(3, 3) | times(50, first=9)}])
    assert ratios.ratio("a", "b").value == pytest.approx(1.5)
    assert Ratios([{"a": times(2), "b": times(2, first=5)}]).ratio("a", "b") is None


def test_cells_of_two_workloads_are_not_compared():
    assert Ratios([{"a": times(2, 2)}, {"b": times(2, 2)}]).ratio("a", "b") is None


def test_a_cell_against_itself_is_1_by_definition():
    assert some_ratios().ratio("0", "0") == Interval(1.0, 1.0, 1.0)


def test_one_block_has_a_ratio_without_an_interval_and_decides_nothing():
    ratios = some_ratios(cells=8, blocks=1, scatter=0.0001, a=times(900.0))
    assert ratios.ratio("0", "a") == Interval(pytest.approx(90, rel=0.001), None, None)
    assert not ratios.is_decided("0", "a", 0.5)
    assert ratios.resolvable("0", "a", 1) is None


# --- whose scatter the interval has -----------------------------------------------------------------------------------


def test_two_cells_have_their_own_scatter_alone_and_a_wider_interval():
    logs = [0.10, 0.13, 0.14, 0.11]
    ratios = Ratios([{"a": times(*[1.0] * 4), "b": times(*map(math.exp, logs))}])
    low, high = reference.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert half(ratios.ratio("a", "b")) == pytest.approx((1 + WIDENED) * (high - low) / 2)


def test_a_ratio_that_happens_to_scatter_little_borrows_from_the_others():
    ratios = some_ratios(cells=8, blocks=2, a=times(10, 10), b=times(9, 9))
    alone = Ratios([{"a": times(10, 10), "b": times(9, 9)}])
    assert half(alone.ratio("a", "b")) == pytest.approx(0, abs=1e-9)
    assert 0.02 < half(ratios.ratio("a", "b")) < 0.10


def test_many_quiet_cells_do_not_make_a_noisy_one_quiet():
    noisy = times(*(10 * math.exp(log) for log in (0.2, -0.2, 0.1, -0.15, 0.25, -0.2)))
    ratios = some_ratios(cells=8, blocks=6, scatter=0.01, noisy=noisy)
    alone = Ratios([{"0": times(*[10.0] * 6), "noisy": noisy}])
    assert half(ratios.ratio("0", "noisy")) == pytest.approx(half(alone.ratio("0", "noisy")), rel=0.15)
    assert half(ratios.ratio("0", "1")) < 0.25 * half(ratios.ratio("0", "noisy"))


@pytest.mark.parametrize(("cells", "blocks"), [(2, 5), (3, 2), (8, 2), (8, 5)])
def test_all_pairs_of_some_cells_tell_no_more_than_the_cells(cells, blocks):
    """28 pairs of 8 cells are differences of 8 values a block, of which one is the level of the block."""
    assert some_ratios(cells, blocks).common["0"].freedom == (cells - 1) * (blocks - 1)


def test_workloads_of_one_process_do_not_add_up():
    cells = {name: times(1, 1.1, 0.9) for name in "abc"}
    ratios = Ratios([cells, {f"{name}8": blocks for name, blocks in cells.items()}])
    assert {common.freedom for common in ratios.common.values()} == {4}


def test_the_ratios_of_long_calls_make_those_of_short_ones_no_less_sure():
    short = {name: times(*blocks) for name, blocks in {"a": (1, 1.01), "b": (2, 2.01), "c": (3, 3.02)}.items()}
    long = {name: times(*blocks) for name, blocks in {"a8": (9, 7), "b8": (20, 24), "c8": (31, 30)}.items()}
    both, alone = Ratios([short, long]), Ratios([short])
    assert both.ratio("a", "b") == alone.ratio("a", "b")
    assert half(both.ratio("a8", "b8")) > 5 * half(both.ratio("a", "b"))


# --- when a comparison is decided -------------------------------------------------------------------------------------


def test_a_difference_that_is_certain_is_decided_whatever_width_is_asked_for():
    ratios = some_ratios(cells=8, blocks=3, scatter=0.01, fast=times(5, 5.05, 4.98))
    assert ratios.is_decided("fast", "0", 0.0001)
    assert ratios.is_decided("fast", "0", None)
    assert not ratios.is_decided("0", "1", 0.0001)


def test_a_difference_that_its_interval_just_shows_is_not_decided():
    """Each block is another look at 5 %, so such a difference would often be none."""
    shown = [
        (ratios.ratio("0", "1"), ratios.is_decided("0", "1", None))
        for ratios in (some_ratios(cells=3, blocks=4, seed=seed) for seed in range(300))
    ]
    differing = [decided for ratio, decided in shown if ratio.excludes(1)]
    assert 5 <= len(differing) <= 25
    assert sum(differing) <= 1


def test_a_narrow_interval_is_decided():
    ratios = some_ratios(cells=8, blocks=6)
    width = math.expm1(half(ratios.ratio("0", "1")))
    assert ratios.is_decided("0", "1", width * 1.01)
    assert not ratios.is_decided("0", "1", width * 0.99)


def test_a_large_difference_is_decided_by_two_blocks_of_six_cells():
    ratios = some_ratios(cells=5, blocks=2, fast=times(2.0, 2.05))
    assert ratios.is_decided("fast", "0", 0.05)
    assert not ratios.is_decided("0", "1", 0.5)


def test_nothing_is_decided_by_few_blocks_of_few_cells():
    """Three blocks of two cells happen to agree to a hundredth of a percent in one run of many."""
    few = Ratios([{"a": times(1.0, 1.0001, 1.0), "b": times(2.0, 2.0, 2.0001)}])
    assert not few.is_decided("a", "b", 0.5)
    assert not some_ratios(cells=2, blocks=KNOWN).is_decided("0", "1", 0.5)
    assert some_ratios(cells=2, blocks=KNOWN + 1).is_decided("0", "1", 0.5)
    assert not some_ratios(cells=3, blocks=4).is_decided("0", "1", 0.5)
    assert some_ratios(cells=8, blocks=2).is_decided("0", "1", 0.5)


# --- what can be resolved ---------------------------------------------------------------------------------------------


def test_what_is_resolvable_is_found_with_80_percent_power():
    made = [some_ratios(cells=6, blocks=4, seed=seed, fast=faster(0.046, seed)) for seed in range(300)]
    assert np.median([ratios.resolvable("fast", "0", 4) for ratios in made]) == pytest.approx(0.046, abs=0.003)
    found = [ratios.ratio("fast", "0").excludes(1) for ratios in made]
    assert 0.72 <= sum(found) / len(found) <= 0.88


def faster(difference, seed):
    """A cell of the same scatter that is faster by so much."""
    logs = np.random.default_rng([seed, 1]).normal(-math.log1p(difference), 0.02, 4)
    return times(*(10 * math.exp(log) for log in logs))


def test_without_another_cell_the_scatter_of_the_model_says_what_is_resolvable():
    ratios = some_ratios(cells=8, blocks=6)
    alone, beside = ratios.resolvable("0", None, 6), ratios.resolvable("0", "1", 6)
    assert alone == ratios.resolvable("0", "0", 6)
    assert 0.5 * beside < alone < 2 * beside
    assert Ratios(()).resolvable("0", None, 6) is None


def test_times_that_only_a_damaged_file_holds_do_not_overflow():
    ratios = Ratios([{"a": times(1e-300, 1e300), "b": times(1e300, 1e-300)}])
    assert math.isfinite(ratios.ratio("a", "b").high)
    assert math.isfinite(ratios.resolvable("a", "b", 2))
