"""Scores models that generate: perplexity of a text, answers to prompts, and word errors of transcripts."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

DASHES = frozenset("-‐‑–—/")
"""Dashes separate words, as a space does; otherwise `well-known` would be one wrong word."""


class Scorer(Protocol):
    """What scores a given continuation: a session that generates, or the reference."""

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits of (batch, n, vocabulary) for `tokens`, int64 of (batch, n)."""
        ...


class Streams(Protocol):
    """What generates: a session, or the reference."""

    def begin(self, feed: Feed, new: int) -> Iterable[Array | None]:
        """The steps of a greedy generation, each int64 of (batch,)."""
        ...


# --- perplexity -------------------------------------------------------------------------------------------------------


def windows(ids: Sequence[int], prompt: int, new: int, most: int, start: int | None) -> Array:
    """Windows over a text, int64 (windows, prompt + new): the last `new` tokens of each are scored.

    Scored tokens follow one another without a gap, and no token is scored twice. `start` is the token that begins every
    text, if the model has one: it takes the place of the first token of each window.
    """
    count = min((len(ids) - prompt) // new, -(-most // new))
    rows = np.array([ids[index * new : index * new + prompt + new] for index in range(max(0, count))], np.int64)
    if start is not None and len(rows):
        rows[:, 0] = start
    return rows


def negative_log_likelihood(session: Scorer, feed: Feed, tokens: Array) -> Array:
    """The negative log-likelihood of `tokens` after the feed's prompt, in nats: float64 of (batch,), summed."""
    logits = np.asarray(session.score(feed, tokens), np.float64)
    top = logits.max(axis=-1, keepdims=True)
    totals = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))
    chosen = np.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    losses: Array = (totals - chosen).sum(axis=1)
    if not np.isfinite(losses).all():
        message = "the logits of a text are not finite, so it has no perplexity"
        raise Refusal("inaccurate", message, "see how far its answers are from the reference", "not-finite")
    return losses


# --- generated texts --------------------------------------------------------------------------------------------------


def generated(session: Streams, feed: Feed, new: int, facts: dict[str, Any]) -> list[str]:
    """The texts that follow the prompts of a feed, up to the token that ends a text. Refusal without token ids."""
    steps = list(session.begin(feed, new))
    if not steps or any(step is None for step in steps):
        raise Refusal("unsupported", "the engine shows no token ids, so its text is not scored", "", "no-tokens")
    rows = np.stack([np.asarray(step) for step in steps], axis=1).tolist()
    return [text_of(row, facts) for row in rows]


def text_of(tokens: Sequence[int], facts: dict[str, Any]) -> str:
    """The text of tokens, by the text of each; a generation goes on behind the token that ends it."""
    kept = itertools.takewhile(lambda token: token not in facts["end"], tokens)
    return "".join(facts["pieces"][token] for token in kept)


def pieces(tokenizer: Any, vocabulary: int) -> list[str]:
    """The text of each token behind another, so that the space before a word stays."""
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    start = tokenizer.decode(anchor)
    texts = [tokenizer.decode([*anchor, number], skip_special_tokens=True) for number in range(vocabulary)]
    return [text.removeprefix(start) for text in texts]


def answer_columns(texts: Sequence[str], labels: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """`exact` and `token_f1` of each text: the best over the accepted answers.

    Only the first line that is not empty counts, without case and punctuation.
    """
    given = [words(next((line for line in text.splitlines() if line.strip()), "")) for text in texts]
    accepted = [[words(answer) for answer in answers] for answers in labels]
    both = list(zip(given, accepted, strict=True))
    return {
        "exact": [float(any(own == answer for answer in answers)) for own, answers in both],
        "token_f1": [max(token_f1(own, answer) for answer in answers) for own, answers in both],
    }


def speech_columns(texts: Sequence[str], labels: Sequence[str]) -> dict[str, list[float]]:
    """`edits`, wrong, missing and extra words, and `words` of the transcript, of each clip."""
    both = [(words(text), words(label)) for text, label in zip(texts, labels, strict=True)]
    return {
        "edits": [float(edits(own, right)) for own, right in both],
        "words": [float(len(right)) for _, right in both],
    }


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation; a dash separates words."""
    spaced = "".join(" " if character in DASHES else character for character in text.lower())
    return "".join(each for each in spaced if not unicodedata.category(each).startswith("P")).split()


def edits(given: Sequence[str], right: Sequence[str]) -> int:
    """The fewest words to replace, insert or remove that make one text of the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for place, word in enumerate(given, 1):
        before, row[0] = row[0], place
        for column, other in enumerate(right, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (word != other))
    return row[-1]


def token_f1(given: Sequence[str], right: Sequence[str]) -> float:
    """The harmonic mean of the shares of common words; 1 where both are empty."""
    common = sum((Counter(given) & Counter(right)).values())
    return 2 * common / (len(given) + len(right)) if given or right else 1.0


TEXTS: dict[str, Callable[[Sequence[str], Any], dict[str, list[float]]]] = {
    "answers": answer_columns,
    "speech": speech_columns,
}
"""By kind of samples, how generated texts are scored."""
