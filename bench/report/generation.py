"""The figures that tables, matrix entries and charts show for models that generate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bench.records import GenerationSpeed, Interval, Outcome, Speed, Traits
from bench.report import numbers
from bench.report.table import Column, filled

SPEEDUP = "speedup over the control"
STEP_TIME = "inter-token, ms"


class Figure(NamedTuple):
    """The main figure of a cell, and its unit."""

    interval: Interval
    unit: str


def generates(outcome: Outcome) -> bool:
    """Whether the outcome belongs to a model that generates, even if its speed is withheld."""
    return outcome.traits is not None or (outcome.speed is not None and outcome.speed.generation is not None)


def figure(speed: Speed) -> Figure:
    """The decode speed in tokens per second, or the time to first token if only one token is generated.

    For other models, the latency.
    """
    if speed.generation is None:
        return Figure(speed.latency_ms, "ms")
    # A workload of one new token decodes nothing after the first.
    if speed.generation.decode_tok_s is None:
        return Figure(speed.generation.first_token_ms, "ms")
    return Figure(speed.generation.decode_tok_s, "tok/s")


def headline(speed: Speed) -> str:
    """`95.1 ± 1.2 tok/s`, `12.3 ± 0.4 ms`."""
    interval, unit = figure(speed)
    return numbers.plus_minus(interval, f" {unit}")


def compared(speed: Speed) -> dict[str, Interval]:
    """The ratios to the control by the part of a call that they compare; an empty name means the whole call."""
    generated = speed.generation
    if generated is None:
        ratios = {"": speed.ratio_to_control}
    elif generated.real_time_factor is not None:
        # A speech model has no prompt whose prefill could be compared; its unit is the clip.
        ratios = {"decode": generated.decode_ratio, "whole clip": speed.ratio_to_control}
    else:
        ratios = {"decode": generated.decode_ratio, "prefill": generated.prefill_ratio}
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}


def speeds(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The columns of the table of speeds that at least one outcome fills.

    There is always one column, because the word `withheld` needs a place.
    """
    return filled(SPEEDS, outcomes) or SPEEDS[:1]


def differences(outcomes: Iterable[Outcome]) -> tuple[Column, ...]:
    """The filled columns of the table that shows how the engines differ."""
    return filled(DIFFERENCES, outcomes)


# --- what the columns show --------------------------------------------------------------------------------------------


def _generation_figure(read: Callable[[GenerationSpeed], Any]) -> Callable[[Outcome], Any]:
    def read_outcome(outcome: Outcome) -> Any:
        return read(outcome.speed.generation) if outcome.speed and outcome.speed.generation else None

    return read_outcome


def _ratio(name: str) -> Callable[[Outcome], Interval | None]:
    return lambda outcome: compared(outcome.speed).get(name) if outcome.speed else None


def _trait_text(read: Callable[[Traits], Any]) -> Callable[[Outcome], str | None]:
    """Reads a trait as text; None where it is empty or missing."""
    return lambda outcome: (read(outcome.traits) or None) if outcome.traits else None


def _text_of(value: float | None, form: Callable[[float | None], str]) -> str | None:
    return None if value is None else form(value)


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
    Column(
        "Word error rate", "worst round", "text", lambda outcome: _text_of(outcome.word_error_rate, numbers.percent)
    ),
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
