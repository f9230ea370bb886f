"""How far an output is from its reference: figures that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.records import Parity, Tolerance, note
from bench.worker import parity
from bench.worker.refusal import Refusal

TOLERANCE = Tolerance(min_cosine=0.9)


def compare(expected: object, actual: object) -> Parity:
    return parity.compare([{"y": np.array(expected)}], [{"y": np.array(actual)}], TOLERANCE, "by hand")


def batches(*arrays: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"y": array} for array in arrays]


def test_identical_outputs_have_no_error_and_no_count_of_bits() -> None:
    found = compare([[3.0, 4.0], [0.1, 0.2]], [[3.0, 4.0], [0.1, 0.2]])
    assert (found.samples, found.cosine, found.relative_error, found.max_abs_error) == (2, 1.0, 0.0, 0.0)
    assert found.effective_bits is None
    assert (found.tolerance, found.reference) == (TOLERANCE, "by hand")


def test_an_error_of_an_eighth_leaves_three_bits() -> None:
    found = compare([[8.0, 0.0]], [[8.0, 1.0]])
    assert found.relative_error == pytest.approx(1 / 8)
    assert found.effective_bits == pytest.approx(3)
    assert found.cosine == pytest.approx(8 / np.sqrt(65))


def test_the_lowest_cosine_is_told_even_if_only_one_row_of_one_batch_is_wrong() -> None:
    right = np.tile([[1.0, 2.0, 3.0]], (4, 1))
    wrong = right.copy()
    wrong[2] = [-1.0, -2.0, -3.0]
    found = parity.compare(batches(right, right, right), batches(right, wrong, right), TOLERANCE, "by hand")
    assert found.samples == 12
    assert found.cosine == -1.0


def test_a_scale_that_the_cosine_cannot_see_shows_in_the_relative_error() -> None:
    found = compare([[1.0, 2.0]], [[2.0, 4.0]])
    assert found.cosine == pytest.approx(1.0)
    assert found.relative_error == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_has_no_figures(bad: float) -> None:
    found = compare([[1.0, 2.0]], [[1.0, bad]])
    assert not found.finite
    assert (found.cosine, found.relative_error, found.max_abs_error, found.effective_bits) == (None,) * 4
    assert found.outputs[0].fault == note("output-not-finite", share=0.5)


def test_zeros_match_zeros_and_nothing_else() -> None:
    assert compare([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]).cosine == 1.0
    assert compare([[0.0, 0.0], [1.0, 0.0]], [[0.0, 1e-3], [1.0, 0.0]]).cosine == 0.0
    assert compare([[3.0, 4.0]], [[0.0, 0.0]]).cosine == 0.0
    assert compare([[0.0, 0.0]], [[0.0, 1e-3]]).relative_error is None


def test_shapes_that_differ_are_both_named() -> None:
    (output,) = compare([[1.0, 2.0]], [[1.0, 2.0, 3.0]]).outputs
    assert output.fault == note("other-shape", shape="(1, 3)", expected="(1, 2)")


def test_batches_that_are_missing_are_counted() -> None:
    with pytest.raises(ValueError, match="2 batches, the output 1"):
        parity.compare(batches(*[np.ones((1, 2))] * 2), batches(np.ones((1, 2))), TOLERANCE, "by hand")
    with pytest.raises(ValueError, match="0 batches"):
        parity.compare([], [], TOLERANCE, "by hand")


def test_a_reference_that_is_not_finite_is_no_reference() -> None:
    with pytest.raises(Refusal, match="reference itself") as refused:
        compare([[np.nan, np.inf]], [[np.nan, np.inf]])
    assert refused.value.status == "unsupported"


def test_half_precision_outputs_are_compared_in_double() -> None:
    # In FP16 the sum of squares would overflow at 65504.
    large = np.full((1, 4096), 200.0)
    found = parity.compare(batches(large), batches(large.astype(np.float16)), TOLERANCE, "by hand")
    assert (found.cosine, found.relative_error) == (1.0, 0.0)
