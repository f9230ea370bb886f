"""What one operator case came to: every verdict, from what a worker saw."""

from __future__ import annotations

from typing import get_args

import pytest
from builders import WEBGPU
from msgspec.structs import replace
from note_kinds import assert_words_fit
from operator_cases import a_case, a_deviation, a_failure, a_run, a_target, done, seen

from bench.conformance import text
from bench.conformance.verdicts import RIGHT, SUPPORTED, VERDICTS, judge, margins, verdict
from bench.records import CaseDone, CaseOutcome, CaseSeen, OperatorVerdict, note


def judged(said: CaseSeen | None, **case: object) -> CaseOutcome:
    return verdict("webgpu", WEBGPU, a_case(**case), said)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"webgpu": {"Relu": 2}}, "full"),
        ({"webgpu": {"Relu": 1}, "cpu": {"Cast": 1}}, "partial"),
        ({"webgpu": {"Relu": 1}, "cpu": {"Shape": 1}}, "partial"),
        ({"cpu": {"Relu": 1}}, "elsewhere"),
        ({"webgpu": {}}, "folded"),
    ],
)
def test_a_right_answer_is_named_by_where_its_nodes_were(nodes, expected):
    assert judged(seen(done=done(**nodes))).verdict == expected


def test_only_a_right_answer_wholly_on_the_provider_is_support():
    assert SUPPORTED == "full"
    assert SUPPORTED in RIGHT


def test_every_verdict_has_a_meaning_and_its_place():
    assert tuple(text.MEANINGS) == VERDICTS == get_args(OperatorVerdict)
    assert set(RIGHT) < set(VERDICTS)


def test_every_fact_of_a_case_has_words_with_its_parameters_and_no_words_are_left_over():
    assert_words_fit(text.WORDS, "conformance/*.py", "worker/conformance.py")


def test_an_onnxruntime_that_cannot_tell_placement_claims_none():
    outcome = judged(seen(done=CaseDone(None, (a_deviation(),))))
    assert (outcome.verdict, outcome.nodes_on_target) == ("unplaced", None)


def test_the_nodes_elsewhere_are_counted_and_named():
    outcome = judged(seen(done=done(webgpu={"Relu": 3}, cpu={"Cast": 2, "Shape": 1})))
    assert (outcome.nodes_on_target, outcome.nodes_elsewhere) == (3, 3)
    assert outcome.elsewhere_ops == ("Cast x2", "Shape x1")


def test_a_wrong_answer_says_how_wrong():
    off = a_deviation(outside=12, outside_coarse=9, max_abs_error=0.5)
    outcome = judged(seen(done=done(off)))
    assert outcome.verdict == "wrong"
    assert outcome.message == "output y: 12 of 60 values are off, by 0.5 at most, of values up to 2.5"
    assert (outcome.max_abs_error, outcome.outside, outcome.values) == (0.5, 12, 60)


def test_a_wrong_answer_that_another_provider_computed_names_that_one():
    off = a_deviation(outside=1, outside_coarse=1, max_abs_error=0.5)
    outcome = judged(seen(done=done(off, cpu={"Relu": 1})))
    assert outcome.verdict == "wrong"
    assert outcome.message.endswith("; computed by CPUExecutionProvider")


def test_an_error_that_fp16_arithmetic_explains_is_coarse_and_no_support():
    outcome = judged(seen(done=done(a_deviation(outside=12, outside_coarse=0, max_abs_error=1e-3))))
    assert outcome.verdict == "coarse"


def test_one_output_that_is_more_than_coarse_makes_the_case_wrong_and_is_the_one_that_is_told():
    coarse = a_deviation(outside=50, outside_coarse=0, max_abs_error=1e-3)
    wrong = a_deviation(output="z", outside=1, outside_coarse=1, max_abs_error=0.7)
    outcome = judged(seen(done=done(coarse, wrong)))
    assert outcome.verdict == "wrong"
    assert outcome.message.startswith("output z: 1 of 60")


def test_integers_are_never_coarse():
    off = a_deviation(type="uint8", outside=1, outside_coarse=None, max_abs_error=1.0)
    assert judged(seen(done=done(off))).verdict == "wrong"


def test_an_output_of_another_shape_is_wrong():
    off = a_deviation(problem=note("other-shape", shape="[2]", expected="[3]"), outside=0, outside_coarse=None)
    outcome = judged(seen(done=done(off)))
    assert (outcome.verdict, outcome.message) == ("wrong", "output y: shape [2], and [3] is expected")


def test_an_error_of_the_size_of_fp32_rounding_is_told_as_such():
    rounding = a_deviation(outside=3, outside_coarse=0, max_abs_error=1e-5, largest=540.0)
    assert "no more than FP32 rounding" in judged(seen(done=done(rounding))).message
    more = a_deviation(outside=3, outside_coarse=0, max_abs_error=1e-2, largest=540.0)
    assert "rounding" not in judged(seen(done=done(more))).message


def test_an_opset_that_onnxruntime_does_not_know_yet_is_no_refusal():
    assert judged(seen(failure=a_failure("Unsupported model IR version", kind="newer-model"))).verdict == "newer"
    assert judged(seen(failure=a_failure("Could not find an implementation for BitCast(26)"))).verdict == "refused"


def test_an_error_when_it_runs_is_a_refusal_with_its_first_line():
    outcome = judged(seen(failure=a_failure("a hole in the kernel", status="failed", stage="run")))
    assert (outcome.verdict, outcome.message) == ("refused", "a hole in the kernel")


@pytest.mark.parametrize("status", ["crashed", "timeout"])
def test_an_end_of_the_process_says_where_it_was(status):
    outcome = judged(seen(failure=a_failure("the process died of SIGSEGV", status=status)))
    assert (outcome.verdict, outcome.message) == (status, "the process died of SIGSEGV, at stage 'session'")


def test_data_that_cannot_be_fed_from_python_says_nothing_of_the_provider():
    outcome = judged(seen(failure=a_failure("cannot be fed", status="failed", stage="run", kind="TypeError")))
    assert outcome.verdict == "not-run"


def test_random_values_are_right_by_type_and_shape_and_say_so():
    outcome = judged(seen(), random=True)
    assert outcome.verdict == "full"
    assert "random" in outcome.message


def test_every_case_has_a_verdict_on_every_target_that_was_tried_and_none_on_others():
    cases = (a_case("test_a"), a_case("test_b"))
    gone = replace(a_target("cuda"), tried=False)
    run = a_run(*cases, targets=(a_target("webgpu"), a_target("cpu"), gone))
    outcomes = judge(run, [seen("test_a", target="cpu")])
    assert [(one.target, one.case.name, one.verdict) for one in outcomes] == [
        ("webgpu", "test_a", "not-run"),
        ("webgpu", "test_b", "not-run"),
        ("cpu", "test_a", "full"),
        ("cpu", "test_b", "not-run"),
    ]


def test_fp32_keeps_the_margin_of_its_case_and_16_bits_have_a_wider_one():
    found = margins(a_case(rtol=1e-3, atol=1e-7))
    assert (found["float32"].rtol, found["float32"].atol) == (1e-3, 1e-7)
    assert found["float32"].rtol < found["float16"].rtol < found["bfloat16"].rtol
    assert not {"int8", "uint8", "bool", "string", "float8e4m3fn", "int4"} & set(found)


def test_a_case_with_a_margin_of_its_own_that_is_wider_still_keeps_it():
    assert margins(a_case(rtol=0.5, atol=0.5))["float16"].rtol == 0.5
