"""Which model gets the next block, and when a run has enough of them."""

import math

import pytest
from builders import an_effort

from bench.measure.schedule import ModelProgress, next_model

EFFORT = an_effort(min_rounds=2, max_rounds=6)


def a_model(blocks=3, undecided=4, block_s=10.0, **said):
    return ModelProgress(blocks=blocks, total=said.pop("total", 6), undecided=undecided, block_s=block_s, **said)


def chosen(left_s=math.inf, **models):
    return next_model(models, EFFORT, left_s)


def test_first_every_model_gets_a_block_in_order_whatever_time_is_left():
    new = a_model(blocks=0, block_s=0.0, waiting=2)
    assert chosen(0.0, first=a_model(undecided=100), second=new, third=new) == "second"
    # Groups that did not fit into the first block of their model have had none either.
    assert chosen(0.0, first=a_model(blocks=1, waiting=1)) == "first"


def test_then_the_model_with_the_fewest_blocks_until_all_have_the_least_number():
    assert chosen(first=a_model(undecided=100), second=a_model(blocks=1, undecided=0)) == "second"
    assert chosen(first=a_model(blocks=1), second=a_model(blocks=1)) == "first"
    long = a_model(blocks=1, undecided=8, block_s=80.0)
    assert chosen(first=long, second=a_model(blocks=1, undecided=4)) == "second", "which tells more a second"


def test_then_the_model_with_the_most_undecided_comparisons_for_a_second_of_its_block():
    assert chosen(first=a_model(undecided=5, block_s=50.0), second=a_model(undecided=2)) == "second"
    assert chosen(first=a_model(undecided=11, block_s=50.0), second=a_model(undecided=2)) == "first"


def test_a_model_without_an_undecided_comparison_or_with_all_its_blocks_gets_no_more():
    assert chosen(first=a_model(undecided=0), second=a_model(blocks=6)) is None
    assert chosen(first=a_model(undecided=0), second=a_model(undecided=1)) == "second"


def test_a_block_that_does_not_fit_into_the_time_left_is_not_begun():
    assert chosen(9.0, first=a_model(), second=a_model(block_s=8.0, undecided=1)) == "second"
    assert chosen(7.0, first=a_model(), second=a_model(block_s=8.0)) is None
    assert chosen(7.0, first=a_model(blocks=1)) is None


def test_a_model_whose_cells_all_failed_gets_none():
    assert chosen(first=a_model(blocks=0, total=0, undecided=0)) is None


@pytest.mark.parametrize("left_s", [-5.0, 0.0])
def test_a_time_that_is_over_ends_the_run(left_s):
    assert chosen(left_s, first=a_model(undecided=100)) is None
