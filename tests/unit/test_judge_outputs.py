"""Verdicts on outputs that are compared by themselves: which one decides, `approximate` and `unchecked`."""

from __future__ import annotations

from typing import Any

import pytest
from builders import (
    CPU,
    a_cell,
    a_control,
    a_generated,
    a_generator,
    a_parity,
    a_parity_of_tokens,
    a_placement,
    a_run,
    an_observation,
)
from msgspec.structs import replace

from bench.comparison.compare import compare, judged
from bench.declare import answer_limits
from bench.judge.outcome import judge
from bench.judge.tolerance import differences, quality, violations
from bench.records import Block, Outcome, OutputParity, Parity, Tolerance, note
from bench.report import text

CELL = a_cell()
INT8 = answer_limits.completed(Tolerance(min_cosine=0.97, max_relative_error=0.25), "int8")
RANDOM = "the model is random: its own reference gives another answer each time ('y'), so none can be checked"


def an_output(name: str = "y", **said: Any) -> OutputParity:
    """Floats of eight samples that agree."""
    fine = OutputParity(name, "float", 8, 800, max_abs_error=1e-6, relative_error=1e-6, cosine=1.0)
    return replace(fine, **said)


def choices(share: float, elements: int = 32) -> OutputParity:
    return OutputParity("label", "integer", elements, elements, agreement=share, max_abs_error=1.0)


def of_outputs(*outputs: OutputParity, decides: str = "y", **said: Any) -> Parity:
    """The comparison of a worker: its figures are those of the output that decides."""
    worst = next(output for output in outputs if output.name == decides)
    said = {"tolerance": INT8, "cosine": worst.cosine, "relative_error": worst.relative_error, **said}
    shares = [output.agreement for output in outputs if output.agreement is not None]
    tops = [output.top1_agreement for output in outputs if output.top1_agreement is not None]
    figures = {"agreement": min(shares, default=None), "top1_agreement": min(tops, default=None)}
    return a_parity(outputs=outputs, decides=decides, **{**figures, **said})


def outcome_of(*parities: Parity, **said: Any) -> Outcome:
    rounds = [an_observation(round=number, parity=parity, **said) for number, parity in enumerate(parities)]
    (outcome,) = judge(a_run(CELL), rounds)
    return outcome


# --- the output that decides ------------------------------------------------------------------------------------------


def test_the_reason_names_the_output_that_decides_and_counts_the_others() -> None:
    zeros = an_output("scores", relative_error=1.0, cosine=0.0)
    parity = of_outputs(an_output("boxes"), zeros, replace(zeros, name="classes"), decides="scores")
    outcome = outcome_of(parity)
    assert outcome.status == "inaccurate"
    assert text.reason(outcome) == (
        "output 'scores': cosine 0 is below 0.97 and relative error 1 is above 0.25; 1 more output outside too, "
        "against PyTorch 2.13.0, FP32"
    )


def test_a_block_is_named_by_its_place() -> None:
    blocks = (Block(1, 0, 3, 4, 320.0, 0.1, 0.001, 1.0), Block(1, 4, 11, 8, 0.05, 0.3, 1.0, 0.0))
    parity = of_outputs(an_output(blocks=blocks, block=1, relative_error=1.0, cosine=0.0))
    assert text.reason(outcome_of(parity)).startswith("output 'y' (4..11 of axis 1): cosine 0 is below 0.97")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (note("other-shape", shape="(1, 5)", expected="(1, 4)"), "its shape is (1, 5), the reference's (1, 4)"),
        (note("output-missing"), "it is missing"),
        (note("output-additional"), "the reference has no such output"),
        (
            note("output-not-finite", share=0.5),
            "NaN or infinity in 50 % of the values, and not in the same places of the reference",
        ),
    ],
)
def test_an_output_that_cannot_be_compared_is_wrong_and_named(fault: Any, words: str) -> None:
    parity = of_outputs(an_output(cosine=None, relative_error=None, fault=fault))
    assert text.reason(outcome_of(parity)) == f"output 'y': {words}, against PyTorch 2.13.0, FP32"


def test_an_error_on_a_fixed_range_counts_in_fp32_only() -> None:
    small = an_output(bounded_by="Sigmoid", max_abs_error=4e-6, relative_error=0.5, cosine=0.8)
    strict = Tolerance(min_cosine=0.99999, max_relative_error=1e-4)
    assert violations(of_outputs(small, tolerance=answer_limits.completed(strict, "fp32"))) == []
    assert violations(of_outputs(small, tolerance=answer_limits.completed(strict, "fp16")))
    assert violations(of_outputs(replace(small, bounded_by=""), tolerance=answer_limits.completed(strict, "fp32")))


def test_only_the_limits_of_a_number_format_are_still_no_tolerance() -> None:
    empty = answer_limits.completed(Tolerance(), "int8")
    assert violations(of_outputs(an_output(), tolerance=empty)) == [note("empty-tolerance")]


def test_of_two_rounds_the_one_with_fewer_equal_values_is_the_worse() -> None:
    worse, better = (of_outputs(choices(share), decides="label") for share in (0.8, 0.95))
    assert min([better, worse], key=quality) is worse


# --- approximate ------------------------------------------------------------------------------------------------------


def test_other_classes_within_the_tolerance_are_approximate_with_a_speed() -> None:
    outcome = outcome_of(*[of_outputs(an_output(top1_agreement=0.75, top5_agreement=1.0))] * 2)
    assert outcome.status == "approximate"
    assert outcome.speed is not None
    assert text.reason(outcome) == (
        "within tolerance, but visibly another answer: top-1 agreement 0.75 is below 0.9, against PyTorch 2.13.0, FP32"
    )
    assert text.remedy(outcome) == "compare the score of your task with FP32, or use a precision with more bits"


def test_a_model_that_agrees_in_nine_of_ten_is_ok() -> None:
    assert outcome_of(of_outputs(choices(0.90625), decides="label")).status == "ok"
    assert outcome_of(of_outputs(choices(0.875), decides="label")).status == "approximate"
    assert outcome_of(of_outputs(choices(0.7), decides="label")).status == "inaccurate"


def test_one_of_few_may_be_chance() -> None:
    assert outcome_of(of_outputs(choices(0.875, elements=8), decides="label")).status == "ok"
    assert outcome_of(of_outputs(choices(0.75, elements=8), decides="label")).status == "approximate"


def test_a_text_that_leaves_the_references_at_once_is_approximate_though_its_divergence_is_small() -> None:
    cell = a_generator("llama/int4/cpu/b1-p128-n64")
    limit = answer_limits.completed(Tolerance(max_kl=0.5, min_top1=0.5), "int4")
    other = a_parity_of_tokens(tolerance=limit, kl_divergence=0.02, top1_agreement=0.95, tokens_same=0)
    (outcome,) = judge(a_run(cell), [a_generated(cell, parity=other)])
    assert outcome.status == "approximate"
    assert "0 of 64 tokens before the first that differs" in text.reason(outcome)
    assert differences(replace(other, tokens_same=8)) == []


def test_a_perplexity_that_is_visibly_higher_is_approximate_though_the_best_tokens_agree() -> None:
    cell = a_generator("llama/int4/cpu/b1-p128-n64")
    limit = answer_limits.completed(Tolerance(max_kl=0.45, min_top1=0.3), "int4")
    other = a_parity_of_tokens(tolerance=limit, kl_divergence=0.06, top1_agreement=0.95)
    (outcome,) = judge(a_run(cell), [a_generated(cell, parity=other)])
    assert outcome.status == "approximate"
    assert "KL divergence 0.06 is above 0.05" in text.reason(outcome)
    assert differences(replace(other, kl_divergence=0.05)) == []
    (beyond,) = judge(a_run(cell), [a_generated(cell, parity=replace(other, kl_divergence=0.46))])
    assert beyond.status == "inaccurate"


def test_fp32_is_right_or_wrong_and_never_approximate() -> None:
    exact = answer_limits.completed(Tolerance(min_cosine=0.9), "fp32")
    assert differences(of_outputs(an_output(top1_agreement=0.1), tolerance=exact)) == []
    assert outcome_of(of_outputs(choices(0.99, 100), decides="label", tolerance=exact)).status == "inaccurate"


def test_an_approximate_cell_says_too_that_nodes_fell_back() -> None:
    fallen = a_placement(WebGpu={"MatMul": 9}, CPU={"MatMul": 3})
    outcome = outcome_of(of_outputs(an_output(top1_agreement=0.5)), placement=fallen)
    assert outcome.status == "approximate"
    assert f"3 of 12 nodes fell back to {CPU}: MatMul x3" in text.reason(outcome)


def test_runs_without_the_limits_are_judged_as_they_were() -> None:
    old = a_parity_of_tokens(tolerance=Tolerance(max_kl=0.5), kl_divergence=0.2, top1_agreement=0.5, tokens_same=0)
    assert differences(old) == []


# --- unchecked --------------------------------------------------------------------------------------------------------


def a_random_output() -> OutputParity:
    return an_output(random=True, max_abs_error=None, relative_error=None, cosine=None)


def test_a_random_model_is_unchecked_with_a_speed_and_without_a_ratio() -> None:
    control = a_control()
    seen = [an_observation(cell, parity=of_outputs(a_random_output())) for cell in (CELL, control)]
    for outcome in judge(a_run(CELL, control), seen):
        assert (outcome.status, text.reason(outcome)) == ("unchecked", RANDOM)
        assert outcome.speed is not None
        assert (outcome.speed.ratio_to_control, outcome.speed.control) == (None, None)


def test_a_random_model_is_no_better_where_the_control_is_right() -> None:
    control = a_control()
    seen = [an_observation(CELL, parity=of_outputs(a_random_output())), an_observation(control)]
    outcome, _ = judge(a_run(CELL, control), seen)
    assert outcome.speed is not None
    assert outcome.speed.ratio_to_control is None


def test_another_output_of_a_random_model_may_be_wrong() -> None:
    parity = of_outputs(a_random_output(), choices(0.5), decides="label")
    assert outcome_of(parity).status == "inaccurate"


def test_the_speed_of_a_random_model_is_compared_with_nothing() -> None:
    side = judged(a_run(CELL), [an_observation(CELL, parity=of_outputs(a_random_output()))])
    (change,) = compare(side, side).cells
    assert (change.support, change.figures) == ("same", ())


# --- the limits -------------------------------------------------------------------------------------------------------


def test_a_limit_of_the_matrix_stays() -> None:
    own = Tolerance(min_agreement=0.5, clear_agreement=0.6)
    completed = answer_limits.completed(own, "int8")
    assert (completed.min_agreement, completed.clear_agreement, completed.clear_tokens) == (0.5, 0.6, 0.125)


def test_coarser_formats_have_wider_limits() -> None:
    shares = [answer_limits.completed(Tolerance(), kind).min_agreement for kind in ("fp32", "fp16", "bf16", "int8")]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0
