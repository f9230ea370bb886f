"""The columns of the table that shows a model's accuracy against its FP32 reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bench.records import Outcome, Parity, Tolerance
from bench.report import numbers
from bench.report.table import Column, filled


def columns(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns in which at least one outcome has a figure or a limit."""
    return filled(COLUMNS, outcomes)


def _figure(read: Callable[[Parity], float | None], form: Callable[[float | None], str]) -> Callable[[Outcome], Any]:
    def text_of(outcome: Outcome) -> str | None:
        value = read(outcome.parity) if outcome.parity else None
        return None if value is None else form(value)

    return text_of


def _limit(read: Callable[[Tolerance], float | None]) -> Callable[[Outcome], Any]:
    return _figure(lambda parity: read(parity.tolerance), numbers.given)


def _tokens(outcome: Outcome) -> str | None:
    """`11 of 64`: the number of tokens before the first one that differs from the reference."""
    parity = outcome.parity
    if parity is None or parity.tokens_compared is None:
        return None
    return f"{numbers.count(parity.tokens_same)} of {numbers.count(parity.tokens_compared)}"


def _every_token(outcome: Outcome) -> str | None:
    return "all" if outcome.parity and outcome.parity.tolerance.same_tokens else None


def _word_error_rate(outcome: Outcome) -> str | None:
    rate = outcome.word_error_rate
    return None if rate is None else numbers.percent(rate)


LIMITS = ("at most", "at least", "asked for")
"""The headings of the columns that show the limits of a tolerance."""
COLUMNS = (
    Column("KL divergence", "nats", "text", _figure(lambda parity: parity.kl_divergence, numbers.significant)),
    Column("at most", "", "text", _limit(lambda limit: limit.max_kl)),
    Column("Top-1 agreement", "", "text", _figure(lambda parity: parity.top1_agreement, numbers.significant)),
    Column("at least", "", "text", _limit(lambda limit: limit.min_top1)),
    Column("Same tokens", "", "text", _tokens),
    Column("asked for", "", "text", _every_token),
    Column("Cosine", "", "text", _figure(lambda parity: parity.cosine, numbers.cosine)),
    Column("at least", "", "text", _limit(lambda limit: limit.min_cosine)),
    Column("Relative error", "", "text", _figure(lambda parity: parity.relative_error, numbers.significant)),
    Column("at most", "", "text", _limit(lambda limit: limit.max_relative_error)),
    Column("Largest error", "", "text", _figure(lambda parity: parity.max_abs_error, numbers.significant)),
    # The worst round and no mean: one bad transcript must not vanish among good ones.
    Column("Word error rate", "worst round", "text", _word_error_rate),
    Column("Effective bits", "", "text", _figure(lambda parity: parity.effective_bits, numbers.significant)),
)
