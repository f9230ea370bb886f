"""Compares a generator with the reference: KL divergence and top-1 agreement of logits, and equality of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from bench.records import Parity, Tolerance
from bench.worker import parity
from bench.worker.contracts import Generator, TextGenerator
from bench.worker.feeds import Array, Feed

TIE = 1e-3
"""A share of the standard deviation of the logits: two tokens that are closer are a tie.

The order of FP32 sums decides which token of a tie is the largest. Measured between PyTorch, ONNX
Runtime and llama.cpp in FP32: logits differ by up to 1e-5 of their standard deviation.
"""


def check(
    session: Generator,
    batches: Sequence[Feed],
    expected: Sequence[Feed],
    tokens: Array | None,
    limit: Tolerance,
    by: str,
) -> Parity:
    """Compare the logits over the reference's continuation of every batch, and the tokens of the timed generation.

    `expected` holds `tokens` (batch, new), `gaps` (batch, new) and `logits` (batch, n, vocabulary) of each batch.
    """
    # In double precision: engines in FP32 differ by a KL divergence near 1e-12, less than the rounding of FP32 sums.
    expected_logits = [np.asarray(outputs["logits"], np.float64) for outputs in expected]
    actual_logits = []
    for feed, outputs in zip(batches, expected, strict=True):
        # Both see the reference's tokens: after a different choice the logits of later steps would not be comparable.
        forced = outputs["tokens"][:, : outputs["logits"].shape[1]]
        actual_logits.append(np.asarray(session.score(feed, forced), np.float64))
    same, compared = (None, None) if tokens is None else matching(tokens, expected[0])
    compared_logits = parity.compare(
        [{"logits": _rows(logits)} for logits in expected_logits],
        [{"logits": _rows(logits)} for logits in actual_logits],
        limit,
        by,
    )
    # The figures of a generator are those of its tokens, and not of one output among several.
    faults = [output for output in compared_logits.outputs if output.fault]
    result = replace(compared_logits, outputs=tuple(faults), decides="logits" if faults else None)
    if faults:
        return replace(result, tokens_same=same, tokens_compared=compared)
    pairs = list(zip(expected_logits, actual_logits, strict=True))
    return replace(
        result,
        kl_divergence=float(np.mean(np.concatenate([kl(*pair).ravel() for pair in pairs]))),
        top1_agreement=float(np.mean(np.concatenate([_top1(*pair).ravel() for pair in pairs]))),
        tokens_same=same,
        tokens_compared=compared,
    )


def check_texts(session: TextGenerator, prefixes: Sequence[dict[str, str]], limit: Tolerance, by: str) -> Parity:
    """Top-1 agreement of a server that gives only text: the text of its next token and the reference's, by prefix.

    A server gives no logits, so other limits are not applied. Each item of `prefixes` has `prefix` and `next`.
    """
    top1_limit = Tolerance(min_top1=limit.min_top1, clear_agreement=limit.clear_agreement)
    if not prefixes:
        return Parity(0, True, None, None, None, None, top1_limit, by)
    answers = session.next_texts([entry["prefix"] for entry in prefixes])
    agreed = [answer.strip() == entry["next"].strip() for answer, entry in zip(answers, prefixes, strict=True)]
    return Parity(len(agreed), True, None, None, None, None, top1_limit, by, top1_agreement=sum(agreed) / len(agreed))


def kl(expected: Array, actual: Array) -> Array:
    """KL divergence of softmax(actual) from softmax(expected) over the last axis, in nats."""
    p, q = _log_softmax(expected), _log_softmax(actual)
    divergence: Array = (np.exp(p) * (p - q)).sum(-1)
    return divergence.clip(0.0)  # a sum of rounded terms may come to -1e-17


def matching(tokens: Array, expected: Feed) -> tuple[int, int]:
    """The number of steps before the first different token in any row, and the number of compared steps.

    If the first difference is at a tie of the reference's two best tokens, the comparison ends there: after a tie both
    texts are correct.
    """
    reference, gaps = np.asarray(expected["tokens"]), np.asarray(expected["gaps"])
    spread = float(np.asarray(expected["logits"]).std())
    length = min(tokens.shape[1], reference.shape[1])
    differs = (tokens[:, :length] != reference[:, :length]).any(axis=0)
    if not differs.any():
        return length, length
    first = int(differs.argmax())
    other = tokens[:, first] != reference[:, first]
    tied = bool((gaps[other, first] <= TIE * spread).all())
    return first, first if tied else length


def _rows(logits: Array) -> Array:
    """Logits as rows (positions, vocabulary) with a mean of zero, because softmax ignores a constant offset."""
    flat = logits.reshape(-1, logits.shape[-1])
    rows: Array = flat - flat.mean(axis=-1, keepdims=True)
    return rows


def _top1(expected: Array, actual: Array) -> Array:
    agreed: Array = expected.argmax(-1) == actual.argmax(-1)
    return agreed


def _log_softmax(logits: Array) -> Array:
    # Without the shift `exp` overflows for large logits.
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
