"""Logits and tokens that the test knows, held against a reference that it made."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from bench.records import Tolerance
from bench.worker import parity_tokens

LIMIT = Tolerance(max_kl=1e-3, min_top1=0.9)
BY = "PyTorch 2.13.0, FP32"
FEED = {"input_ids": np.zeros((1, 4), np.int64)}


def a_reference(seed: int = 0, new: int = 8, scored: int = 6, vocabulary: int = 50) -> dict[str, np.ndarray]:
    logits = 2.5 * np.random.default_rng(seed).standard_normal((1, new, vocabulary)).astype(np.float32)
    ordered = np.sort(logits, axis=-1)
    return {
        "tokens": logits.argmax(-1),
        "gaps": ordered[..., -1] - ordered[..., -2],
        "logits": logits[:, :scored],
    }


class AnEngine:
    """Gives the reference's logits, changed by `spoil`."""

    def __init__(self, reference, spoil=lambda logits: logits) -> None:
        self.reference, self.spoil, self.asked = reference, spoil, []

    def score(self, feed, tokens):
        self.asked.append(tokens)
        return self.spoil(self.reference["logits"])


def checked(spoil=lambda logits: logits, tokens=None):
    reference = a_reference()
    tokens = reference["tokens"] if tokens is None else tokens
    return parity_tokens.check(AnEngine(reference, spoil), [FEED], [reference], tokens, LIMIT, BY)


def test_the_same_logits_and_tokens_agree_wholly():
    found = checked()
    assert found.kl_divergence == pytest.approx(0.0, abs=1e-12)
    assert (found.top1_agreement, found.tokens_same, found.tokens_compared) == (1.0, 8, 8)
    assert found.samples == 6


def test_the_divergence_is_scipys():
    noise = np.random.default_rng(1).standard_normal((1, 6, 50))
    reference = a_reference()["logits"].astype(float)
    expected = rel_entr(softmax(reference, -1), softmax(reference + noise, -1)).sum(-1).mean()
    assert checked(lambda logits: logits + noise).kl_divergence == pytest.approx(expected, rel=1e-9)


def test_what_softmax_does_not_see_is_no_error():
    found = checked(lambda logits: logits + 100.0)
    assert found.kl_divergence == pytest.approx(0.0, abs=1e-9)
    assert found.relative_error < 1e-5


def test_the_reference_continuation_is_forced_as_long_as_it_has_logits():
    reference = a_reference()
    engine = AnEngine(reference)
    parity_tokens.check(engine, [FEED], [reference], reference["tokens"], LIMIT, BY)
    assert engine.asked[0].tolist() == reference["tokens"][:, :6].tolist()


def test_another_likeliest_token_at_one_position_of_six_is_told():
    def swapped(logits):
        changed = logits.copy()
        changed[0, 2, changed[0, 2].argmin()] = 100.0
        return changed

    assert checked(swapped).top1_agreement == pytest.approx(5 / 6)


def test_logits_that_are_no_numbers_are_not_finite_and_the_tokens_still_compared():
    found = checked(lambda logits: np.full_like(logits, np.nan))
    assert not found.finite
    assert found.kl_divergence is None
    assert found.tokens_same == 8


def test_tokens_that_part_are_counted_up_to_there():
    reference = a_reference()
    tokens = reference["tokens"].copy()
    tokens[0, 3:] = 0
    assert parity_tokens.matching(tokens, reference) == (3, 8)


def test_a_tie_ends_the_comparison_without_a_fault():
    reference = a_reference()
    reference["gaps"][0, 3] = 1e-5
    tokens = reference["tokens"].copy()
    tokens[0, 3:] = 0
    assert parity_tokens.matching(tokens, reference) == (3, 3)


def test_fewer_tokens_than_the_reference_are_compared_as_far_as_they_go():
    reference = a_reference()
    assert parity_tokens.matching(reference["tokens"][:, :5], reference) == (5, 5)


def test_an_engine_that_sees_no_tokens_has_none_compared():
    reference = a_reference()
    found = parity_tokens.check(AnEngine(reference), [FEED], [reference], None, LIMIT, BY)
    assert (found.tokens_same, found.tokens_compared) == (None, None)


class AServer:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def next_texts(self, prefixes):
        return self.answers[: len(prefixes)]


PREFIXES = [{"prefix": "The sun", "next": " rises"}, {"prefix": "The sun rises in", "next": " the"}]


def test_a_server_agrees_where_its_next_words_are_the_references():
    found = parity_tokens.check_texts(AServer(" rises", "a"), PREFIXES, LIMIT, BY)
    assert (found.samples, found.top1_agreement) == (2, 0.5)
    assert found.tolerance == Tolerance(min_top1=0.9)


def test_without_text_nothing_is_checked_and_no_sample_says_so():
    assert parity_tokens.check_texts(AServer(), [], LIMIT, BY).samples == 0
