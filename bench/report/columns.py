"""The columns of the report's tables of accuracy and of generation, each with a function that reads an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from bench.records import GenerationSpeed, Interval, Outcome, Parity, Tolerance, Traits
from bench.report import generation, numbers, text_outputs

SPEEDUP = "speedup over the control"
STEP_TIME = "inter-token, ms"


class Column(NamedTuple):
    """A column that shows an interval, a ratio to the control, or text; None is shown as a dash."""

    heading: str
    unit: str
    """The second, smaller line of the heading; it may be empty."""
    kind: Literal["interval", "ratio", "text", "words"]
    """`words` may wrap and are aligned to the left; the others are aligned like numbers."""
    read: Callable[[Outcome], Any]
    brief: bool = True
    """False if a summary leaves the column out."""

    @property
    def name(self) -> str:
        """The heading on one line: `Decode, tok/s`."""
        return ", ".join(filter(None, (self.heading, self.unit)))

    def text(self, outcome: Outcome) -> str:
        """The value of one outcome as text."""
        value = self.read(outcome)
        if value is None:
            return numbers.DASH
        if self.kind == "interval":
            return numbers.plus_minus(value)
        if self.kind == "ratio":
            # The control's ratio to itself is always 1, and would read as a result.
            control = outcome.speed is not None and outcome.speed.control == outcome.cell.id
            return "control" if control else numbers.ratio(value)
        return str(value)


def filled(columns: Sequence[Column], outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns that have a value for at least one outcome."""
    every = tuple(outcomes)
    return tuple(column for column in columns if any(column.read(outcome) is not None for outcome in every))


def _text_of(value: float | None, form: Callable[[float | None], str]) -> str | None:
    return None if value is None else form(value)


# --- accuracy ---------------------------------------------------------------------------------------------------------


def agreement(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns of a model's accuracy against its FP32 reference that at least one outcome fills."""
    return filled(AGREEMENT, outcomes)


def _parity_text(
    read: Callable[[Parity], float | None], form: Callable[[float | None], str]
) -> Callable[[Outcome], str | None]:
    return lambda outcome: _text_of(read(outcome.parity), form) if outcome.parity else None


def _limit(read: Callable[[Tolerance], float | None]) -> Callable[[Outcome], str | None]:
    return _parity_text(lambda parity: read(parity.tolerance), numbers.given)


def _tokens(outcome: Outcome) -> str | None:
    """`11 of 64`: the number of tokens before the first one that differs from the reference."""
    parity = outcome.parity
    if parity is None or parity.tokens_compared is None:
        return None
    return f"{numbers.count(parity.tokens_same)} of {numbers.count(parity.tokens_compared)}"


def _deciding(outcome: Outcome) -> str | None:
    """The name of the output that decides, with its block; None where the model has a single whole output."""
    parity = outcome.parity
    output = next((o for o in parity.outputs if o.name == parity.decides), None) if parity else None
    if parity is None or output is None or (len(parity.outputs) == 1 and not output.blocks):
        return None
    return output.name + (f" {text_outputs.block(output)}" if output.blocks else "")


def _every_token(outcome: Outcome) -> str | None:
    return "all" if outcome.parity and outcome.parity.tolerance.same_tokens else None


def _word_error_rate(outcome: Outcome) -> str | None:
    return _text_of(outcome.word_error_rate, numbers.percent)


def _increase(share: float | None) -> str:
    if share is None:
        return "–"
    # Rounding of FP32: nobody reads a perplexity so exactly.
    return f"+{numbers.percent(share)}" if share >= SMALLEST_INCREASE else "0 %"


SMALLEST_INCREASE = 5e-5
LIMITS = ("at most", "at least", "asked for")
"""The headings of the columns that show the limits of a tolerance."""
AGREEMENT = (
    Column("Output", "that decides", "words", _deciding),
    Column("KL divergence", "nats", "text", _parity_text(lambda parity: parity.kl_divergence, numbers.significant)),
    Column("at most", "", "text", _limit(lambda limit: limit.max_kl)),
    Column("Perplexity", "of the reference's text", "text", _parity_text(generation.perplexity_increase, _increase)),
    Column("Top-1 agreement", "", "text", _parity_text(lambda parity: parity.top1_agreement, numbers.significant)),
    Column("at least", "", "text", _limit(lambda limit: limit.min_top1)),
    Column("Top-5 agreement", "", "text", _parity_text(lambda parity: parity.top5_agreement, numbers.significant)),
    Column("Same tokens", "", "text", _tokens),
    Column("asked for", "", "text", _every_token),
    Column("Equal values", "", "text", _parity_text(lambda parity: parity.agreement, numbers.percent)),
    Column("Inputs", "with a result", "text", _parity_text(lambda parity: parity.found, numbers.percent)),
    Column("Cosine", "", "text", _parity_text(lambda parity: parity.cosine, numbers.cosine)),
    Column("at least", "", "text", _limit(lambda limit: limit.min_cosine)),
    Column("Relative error", "", "text", _parity_text(lambda parity: parity.relative_error, numbers.significant)),
    Column("at most", "", "text", _limit(lambda limit: limit.max_relative_error)),
    Column("Largest error", "", "text", _parity_text(lambda parity: parity.max_abs_error, numbers.significant)),
    # The worst round and no mean: one bad transcript must not vanish among good ones.
    Column("Word error rate", "worst round", "text", _word_error_rate),
    Column("Effective bits", "", "text", _parity_text(lambda parity: parity.effective_bits, numbers.significant)),
)

# --- generation -------------------------------------------------------------------------------------------------------


def speeds(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns of the table of speeds that at least one outcome fills.

    There is always one column, because the word `withheld` needs a place.
    """
    return filled(SPEEDS, outcomes) or SPEEDS[:1]


def differences(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The filled columns of the table that shows how the engines differ."""
    return filled(DIFFERENCES, outcomes)


def _generation_figure(read: Callable[[GenerationSpeed], Any]) -> Callable[[Outcome], Any]:
    def read_outcome(outcome: Outcome) -> Any:
        return read(outcome.speed.generation) if outcome.speed and outcome.speed.generation else None

    return read_outcome


def _ratio(name: str) -> Callable[[Outcome], Interval | None]:
    return lambda outcome: generation.compared(outcome.speed).get(name) if outcome.speed else None


def _trait_text(read: Callable[[Traits], Any]) -> Callable[[Outcome], str | None]:
    """Reads a trait as text; None where it is empty or missing."""
    return lambda outcome: (read(outcome.traits) or None) if outcome.traits else None


def _milli(interval: Interval | None) -> Interval | None:
    return None if interval is None else numbers.scaled(interval, 1000)


def _cache(outcome: Outcome) -> str | None:
    """`fp32, 6.75 MiB`."""
    traits = outcome.traits
    parts = (traits.kv_type, _text_of(traits.kv_bytes, numbers.size)) if traits else ()
    return ", ".join(filter(None, parts)) or None


SPEEDS = (
    Column("First token", "ms", "interval", _generation_figure(lambda speed: speed.first_token_ms)),
    Column("Encoder", "ms", "interval", _generation_figure(lambda speed: speed.encode_ms), brief=False),
    Column("Prefill", "tok/s", "interval", _generation_figure(lambda speed: speed.prefill_tok_s)),
    Column("Real-time factor", "", "interval", _generation_figure(lambda speed: speed.real_time_factor)),
    Column("Decode", "tok/s", "interval", _generation_figure(lambda speed: speed.decode_tok_s)),
    Column("Decode", SPEEDUP, "ratio", _ratio("decode")),
    Column("Prefill", SPEEDUP, "ratio", _ratio("prefill")),
    Column("Whole clip", SPEEDUP, "ratio", _ratio("whole clip")),
    Column("Word error rate", "worst round", "text", _word_error_rate),
    Column("p50", STEP_TIME, "interval", _generation_figure(lambda speed: speed.token_p50_ms), brief=False),
    Column("p90", STEP_TIME, "interval", _generation_figure(lambda speed: speed.token_p90_ms), brief=False),
    Column("p99", STEP_TIME, "interval", _generation_figure(lambda speed: speed.token_p99_ms), brief=False),
)
"""In the order of the table."""
DIFFERENCES = (
    Column("KV cache", "", "words", _cache),
    Column("Logits", "that prefill computes", "words", _trait_text(lambda traits: traits.logits)),
    Column("Weights", "as they are stored", "words", _trait_text(lambda traits: traits.weights)),
    Column(
        "Bits a weight",
        "declared",
        "text",
        _trait_text(lambda traits: _text_of(traits.declared_bits, numbers.significant)),
    ),
    Column("Bits a weight", "counted", "text", lambda outcome: _text_of(outcome.bits_per_weight, numbers.significant)),
    Column("First token", "cold start, ms", "interval", lambda outcome: outcome.first_token_from_nothing_ms),
    Column("Memory", "peak", "text", lambda outcome: _text_of(outcome.peak_rss_bytes, numbers.size)),
    Column("Energy", "a token, mJ", "interval", lambda outcome: _milli(outcome.energy_per_token_j)),
    Column("Threads", "", "text", lambda outcome: outcome.threads),
    Column("Tokens", "counted by", "words", _trait_text(lambda traits: traits.counted_by)),
    Column("Sampling", "", "words", _trait_text(lambda traits: traits.sampling)),
)
