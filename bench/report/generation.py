"""The figures that tables, matrix entries and charts show for models that generate."""

from __future__ import annotations

import math
from typing import NamedTuple

from bench.records import Interval, Outcome, Parity, Speed
from bench.report import numbers


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


def perplexity_increase(parity: Parity) -> float | None:
    """The share by which the perplexity of text that the reference writes is higher; None without a KL divergence.

    Cross entropy is the reference's entropy plus the KL divergence, so the perplexity is exp(KL) times as high.
    """
    return None if parity.kl_divergence is None else math.expm1(parity.kl_divergence)
