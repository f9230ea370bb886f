import math

import pytest
from builders import a_parity, a_parity_of_tokens
from msgspec.structs import replace

from bench.judge.tolerance import quality, violations
from bench.records import Tolerance
from bench.report import text_notes

LOGITS = Tolerance(max_kl=0.05, min_top1=0.8)


def words(parity):
    """What the report says of the violations."""
    return [text_notes.say(fault) for fault in violations(parity)]


def test_a_generator_whose_logits_and_tokens_are_the_references_is_right():
    assert violations(a_parity_of_tokens()) == []


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"kl_divergence": 0.38}, "KL divergence 0.38 is above 0.05"),
        ({"kl_divergence": None}, "the KL divergence is undefined"),
        ({"kl_divergence": math.nan}, "the KL divergence is undefined"),
        ({"kl_divergence": math.inf}, "KL divergence inf is above 0.05"),
        ({"top1_agreement": 0.75}, "top-1 agreement 0.75 is below 0.8"),
        ({"top1_agreement": None}, "the top-1 agreement is undefined"),
        ({"top1_agreement": math.nan}, "the top-1 agreement is undefined"),
    ],
)
def test_logits_out_of_tolerance_say_how_far_they_are(said, fault):
    assert words(a_parity_of_tokens(tolerance=LOGITS, **said)) == [fault]


def test_on_the_limit_is_within():
    assert violations(a_parity_of_tokens(tolerance=LOGITS, kl_divergence=0.05, top1_agreement=0.8)) == []


def test_tokens_that_differ_name_the_step_at_which_they_do():
    wrong = a_parity_of_tokens(tokens_same=11, tokens_compared=64)
    assert words(wrong) == ["tokens differ from the reference's at step 12 of 64"]
    assert violations(replace(wrong, tolerance=LOGITS)) == [], "nobody asked for the same tokens"


@pytest.mark.parametrize("compared", [None, 0])
def test_tokens_that_were_not_compared_prove_nothing(compared):
    assert words(a_parity_of_tokens(tokens_compared=compared, tokens_same=compared)) == ["no token was compared"]


def test_every_fault_is_told():
    wrong = a_parity_of_tokens(kl_divergence=1.0, top1_agreement=0.5, tokens_same=0)
    assert [(fault.kind, fault.values.get("figure")) for fault in violations(wrong)] == [
        ("figure-too-high", "kl_divergence"),
        ("figure-too-low", "top1_agreement"),
        ("tokens-differ", None),
    ]


def test_a_cosine_that_is_not_asked_for_may_be_anything():
    limit = Tolerance(max_relative_error=0.05)
    assert violations(a_parity(cosine=None, tolerance=limit)) == []
    assert violations(a_parity(cosine=-1.0, tolerance=limit)) == []


def test_a_tolerance_that_asks_for_nothing_proves_nothing():
    assert words(a_parity(tolerance=Tolerance())) == ["the tolerance asks for nothing, so the answers prove nothing"]


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"kl_divergence": 0.02}, {"kl_divergence": 0.01}),
        ({"kl_divergence": None}, {"kl_divergence": 0.04}),
        ({"top1_agreement": 0.9}, {"top1_agreement": 0.95}),
        ({"tokens_same": 11}, {"tokens_same": 12}),
        ({"cosine": 0.98}, {"cosine": 0.99}),
        ({"relative_error": 0.2}, {"relative_error": 0.1}),
        ({"kl_divergence": 0.06, "top1_agreement": 1.0}, {"kl_divergence": 0.04, "top1_agreement": 0.8}),
        ({"finite": False}, {"kl_divergence": 0.06}),
    ],
)
def test_the_worst_of_two_answers_comes_first(worse, better):
    limit = {"tolerance": LOGITS, "kl_divergence": 0.03}
    first, second = a_parity_of_tokens(**{**limit, **worse}), a_parity_of_tokens(**{**limit, **better})
    assert min([first, second], key=quality) is first
    assert min([second, first], key=quality) is first
