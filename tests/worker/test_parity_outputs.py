"""Each output is compared by itself and as what it is; every figure can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bench.judge.tolerance import differences, violations
from bench.records import Parity, Tolerance, note
from bench.worker import parity
from bench.worker.output_facts import OutputFacts

FP32 = Tolerance(min_cosine=0.99999, max_relative_error=1e-4, max_bounded_error=1e-5, min_agreement=1.0)
INT8 = Tolerance(min_cosine=0.97, max_relative_error=0.25, min_agreement=0.75, clear_agreement=0.9, clear_tokens=0.125)
RNG = np.random.default_rng(0)


def compare(
    right: Mapping[str, Any], given: Mapping[str, Any], limit: Tolerance = INT8, **facts: OutputFacts
) -> Parity:
    sides = [{name: np.asarray(value) for name, value in side.items()} for side in (right, given)]
    return parity.compare([sides[0]], [sides[1]], limit, "by hand", facts)


# --- several outputs --------------------------------------------------------------------------------------------------


def test_the_worst_output_against_its_limit_decides_and_is_named() -> None:
    right = {"boxes": np.full((1, 1000), 300.0), "scores": np.array([[0.1, 0.2]])}
    found = compare(right, right | {"scores": np.array([[0.1, 0.0]])})
    assert found.decides == "scores"
    assert found.relative_error == pytest.approx(0.2 / np.sqrt(0.05))
    (fault,) = violations(found)
    assert (fault.kind, fault.values["output"], fault.values["others"]) == ("in-output", "scores", 0)


def test_an_output_that_one_side_lacks_is_wrong() -> None:
    right = {"a": [[1.0]], "b": [[2.0]]}
    for given, kind in (({"a": [[1.0]]}, "output-missing"), (right | {"c": [[1.0]]}, "output-additional")):
        (fault,) = violations(compare(right, given))
        assert fault.parts == (note(kind),)


def test_another_shape_names_its_output_also_where_it_is_the_only_one() -> None:
    (fault,) = violations(compare({"y": np.ones((1, 4))}, {"y": np.ones((1, 5))}))
    assert fault.values["output"] == "y"
    assert fault.parts == (note("other-shape", shape="(1, 5)", expected="(1, 4)"),)


# --- infinities, NaN and nothing --------------------------------------------------------------------------------------


def test_equal_infinities_and_nan_in_the_same_place_agree() -> None:
    right = {"y": [[1.0, np.inf, -np.inf, np.nan]]}
    found = compare(right, right)
    assert (found.finite, found.relative_error, violations(found)) == (True, 0.0, [])


@pytest.mark.parametrize(("before", "after"), [(1.0, np.nan), (np.inf, -np.inf), (np.nan, 1.0), (np.inf, np.nan)])
def test_any_other_infinity_or_nan_is_wrong(before: float, after: float) -> None:
    found = compare({"y": [[1.0, before]]}, {"y": [[1.0, after]]})
    assert not found.finite
    assert violations(found)[0].parts == (note("output-not-finite", share=0.5),)


def test_empty_agrees_with_empty_and_says_how_many_inputs_have_a_result() -> None:
    none, some = {"boxes": np.zeros((1, 0, 4))}, {"boxes": np.ones((1, 2, 4))}
    found = parity.compare([none, some, none, none], [none, some, none, none], FP32, "by hand")
    assert (found.found, violations(found)) == (0.25, [])
    assert violations(compare(none, none)) == []
    assert violations(compare(none, some))[0].parts[0].kind == "other-shape"


# --- values that are compared exactly ---------------------------------------------------------------------------------


def test_class_ids_are_equal_or_not_however_near_the_numbers_are() -> None:
    right = {"label": np.arange(900, 932)}
    found = compare(right, {"label": right["label"] + 1})
    assert (found.agreement, found.cosine, found.max_abs_error) == (0.0, None, 1.0)
    assert violations(found) == [note("figure-too-low", figure="agreement", value=0.0, limit=0.75)]


def test_one_choice_in_four_may_differ_in_int8_and_none_in_fp32() -> None:
    right, given = {"label": np.zeros(8, np.int64)}, {"label": np.array([0, 0, 0, 0, 0, 0, 1, 1])}
    assert violations(compare(right, given)) == []
    assert [fault.kind for fault in differences(compare(right, given))] == ["figure-too-low"]
    assert violations(compare(right, given, FP32)) == [
        note("figure-too-low", figure="agreement", value=0.75, limit=1.0)
    ]


def test_a_limit_that_nobody_set_asks_for_all_values() -> None:
    right, given = {"flag": np.array([True] * 99 + [False])}, {"flag": np.array([True] * 100)}
    assert violations(compare(right, given, Tolerance(min_cosine=0.9)))[0].values["limit"] == 1.0


def test_texts_are_compared_whole() -> None:
    found = compare({"label": ["setosa", "virginica"]}, {"label": ["setosa", "virginica!"]}, FP32)
    assert (found.outputs[0].kind, found.agreement) == ("text", 0.5)


def test_unsigned_integers_do_not_wrap_around() -> None:
    assert compare({"y": np.uint8([0])}, {"y": np.uint8([255])}).max_abs_error == 255


def test_values_of_another_kind_are_wrong() -> None:
    (fault,) = violations(compare({"y": [[1.0]]}, {"y": [[1]]}))
    assert fault.parts == (note("other-values", given="integer", expected="float"),)


# --- blocks of one scale ----------------------------------------------------------------------------------------------


def a_detector(classes: int = 8, boxes: int = 1024) -> np.ndarray:
    """Boxes in pixels beside scores in 0..1, as (1, 4 + classes, boxes)."""
    return np.concatenate([RNG.uniform(0, 640, (1, 4, boxes)), RNG.uniform(0, 0.1, (1, classes, boxes))], axis=1)


SPLIT = OutputFacts(split=True)


@pytest.mark.parametrize("swapped", [False, True], ids=["channels first", "channels last"])
def test_scores_beside_boxes_are_judged_by_themselves(swapped: bool) -> None:
    right = a_detector()
    given = right.copy()
    given[:, 4:] = 0.0
    if swapped:
        right, given = right.swapaxes(1, 2), given.swapaxes(1, 2)
    assert violations(compare({"y": right}, {"y": given})) == [], "pooled with the boxes nothing is seen"
    found = compare({"y": right}, {"y": given}, y=SPLIT)
    assert found.relative_error == 1.0
    (output,) = found.outputs
    assert [(block.axis, block.first, block.last) for block in output.blocks] == [
        (1 + swapped, 0, 3),
        (1 + swapped, 4, 11),
    ]
    (fault,) = violations(found)
    assert (fault.values["axis"], fault.values["slices"]) == (1 + swapped, "4..11")


def test_right_scores_beside_boxes_are_right() -> None:
    right = a_detector()
    assert violations(compare({"y": right}, {"y": right.astype(np.float32)}, FP32, y=SPLIT)) == []


@pytest.mark.parametrize(
    "values",
    [
        # Eight logits for each class: too few to tell a scale.
        np.stack([RNG.standard_normal(8) * 10.0 ** -(index % 4) for index in range(40)], axis=1),
        # Two outlier channels of a hidden state.
        RNG.standard_normal((8, 16, 64)) * np.where(np.arange(64) < 2, 1000.0, 1.0),
        # Scales that scatter over four decades, without a gap.
        RNG.standard_normal((1, 64, 256)) * np.logspace(0, -4, 64)[:, None],
        # Three weak channels of 384.
        RNG.standard_normal((1, 128, 384)) * np.where(np.arange(384) < 3, 1e-3, 1.0),
        # Channels that are zero but for rounding.
        RNG.standard_normal((1, 8, 256)) * np.where(np.arange(8) < 4, 1.0, 1e-9)[:, None],
        np.zeros((1, 8, 256)),
    ],
    ids=["few values", "outlier channels", "no gap", "weak channels", "rounding", "zeros"],
)
def test_scales_that_only_scatter_are_one_block(values: np.ndarray) -> None:
    (output,) = compare({"y": values}, {"y": values}, y=SPLIT).outputs
    assert output.blocks == ()


# --- a range that the last operator fixes -----------------------------------------------------------------------------


def test_a_sigmoid_near_zero_is_right_in_fp32_whatever_its_relative_error() -> None:
    right, given = {"y": np.full((1, 100), 1e-7)}, {"y": np.full((1, 100), 4e-6)}
    assert violations(compare(right, given, FP32, y=OutputFacts("Sigmoid"))) == []
    assert violations(compare(right, given, FP32)), "another output may be small and right"
    assert violations(compare(right, given, INT8, y=OutputFacts("Sigmoid"))), "for FP32 only"
    assert violations(compare(right, {"y": np.full((1, 100), 2e-5)}, FP32, y=OutputFacts("Sigmoid")))


def test_one_picture_without_a_text_does_not_make_a_detector_inaccurate() -> None:
    """PP-OCR's detector on photographs: scores near 1 with errors of 4e-5, and a sample with nothing but rounding."""
    right = np.stack([np.tile([1.0, 0.5], 50), np.full(100, 1e-7)])
    given = right + np.stack([np.full(100, 4e-5), np.tile([3e-7, -3e-7], 50)])
    assert violations(compare({"y": right}, {"y": given}, FP32, y=OutputFacts("Sigmoid"))) == []
    assert violations(compare({"y": right}, {"y": given}, FP32)), "nothing fixes its range"
    lost = right * np.array([[1.0], [0.0]]) + np.array([[0.0], [1e-3]])
    assert violations(compare({"y": right}, {"y": lost}, FP32, y=OutputFacts("Sigmoid"))), "an error that can be seen"


def test_scores_near_zero_beside_boxes_are_right_in_fp32_if_a_sigmoid_made_them() -> None:
    """A detector on noise: its scores are near zero, and so is the error of FP32."""
    right = a_detector()
    right[:, 4:] *= 1e-1
    given = right.copy()
    given[:, 4:] += 1e-6 * RNG.standard_normal(given[:, 4:].shape)
    joined = OutputFacts(partly_bounded_by="Sigmoid", split=True)
    found = compare({"y": right}, {"y": given}, FP32, y=joined)
    assert violations(found) == []
    assert violations(compare({"y": right}, {"y": given}, FP32, y=SPLIT)), "nothing fixes their range"
    tiny = right * np.where(np.arange(12) < 4, 1.0, 1e-4)[None, :, None]
    assert len(compare({"y": tiny}, {"y": tiny}, FP32, y=joined).outputs[0].blocks) == 2
    boxes = right.copy()
    boxes[:, 0] *= 1.001
    wrong = compare({"y": right}, {"y": boxes}, FP32, y=joined)
    assert violations(wrong)[0].values["slices"] == "0..3"
    assert wrong.outputs[0].bounded_by == "", "boxes are no scores"


# --- class scores -----------------------------------------------------------------------------------------------------


def test_class_scores_have_top_1_and_top_5() -> None:
    right = np.tile(np.arange(10.0), (4, 1))
    given = right.copy()
    given[0, 8] = 9.5  # the second is the best now, and the best is among five
    given[1, :6] = 20.0  # five others are better
    found = compare({"logits": right}, {"logits": given}, logits=OutputFacts(class_scores=True))
    assert (found.top1_agreement, found.top5_agreement) == (0.5, 0.75)


def test_two_classes_that_are_equally_likely_are_both_right() -> None:
    right = np.array([[1.0, 1.0 + 1e-6, -1.0]])
    given = np.array([[1.0 + 1e-6, 1.0, -1.0]])
    assert compare({"y": right}, {"y": given}, y=OutputFacts(class_scores=True)).top1_agreement == 1.0


def test_other_best_classes_within_the_tolerance_are_approximate() -> None:
    right = RNG.standard_normal((32, 50))
    given = right + 0.1 * RNG.standard_normal(right.shape)
    limit = Tolerance(min_cosine=0.9, clear_agreement=0.99)
    found = compare({"y": right}, {"y": given}, limit, y=OutputFacts(class_scores=True))
    assert found.top1_agreement < 0.95
    assert violations(found) == []
    assert [fault.values["figure"] for fault in differences(found)] == ["top1_agreement"]


def test_one_class_of_eight_may_be_chance() -> None:
    right = np.eye(8)
    given = right.copy()
    given[0] = right[1]
    found = compare(
        {"y": right}, {"y": given}, Tolerance(min_cosine=-1, clear_agreement=0.9), y=OutputFacts(class_scores=True)
    )
    assert (found.top1_agreement, differences(found)) == (0.875, [])


# --- a random model ---------------------------------------------------------------------------------------------------


def test_a_random_output_has_no_figures_and_is_never_wrong_but_others_are() -> None:
    right = {"noise": [[1.0, 2.0]], "label": [[1, 2]]}
    given = {"noise": [[5.0, -1.0, 3.0]], "label": [[1, 3]]}
    found = compare(right, given, FP32, noise=OutputFacts(random=True))
    assert found.decides == "label"
    assert [output.relative_error for output in found.outputs] == [None, None]
    (fault,) = violations(found)
    assert fault.values["output"] == "label"
    assert violations(compare(right, right | {"noise": [[9.0, 9.0]]}, FP32, noise=OutputFacts(random=True))) == []
