"""Checks answers against their tolerance, and orders rounds by how good their answers are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.records import Note, Observation, Parity, Tolerance, note


def checked(observations: Iterable[Observation]) -> list[Parity]:
    """The comparisons with at least one sample."""
    return [
        observation.parity
        for observation in observations
        if observation.parity is not None and observation.parity.samples > 0
    ]


def violations(parity: Parity) -> list[Note]:
    """Why answers are out of tolerance; empty if they are within it. A figure that is missing or NaN is a violation."""
    if parity.samples < 1:
        return [note("nothing-compared")]
    if not parity.finite:
        return [note("not-finite")]
    limit = parity.tolerance
    # A tolerance without any limit accepts every answer, so it proves nothing.
    if limit == Tolerance():
        return [note("empty-tolerance")]
    candidates = [
        _below("cosine", parity.cosine, limit.min_cosine),
        _above("relative_error", parity.relative_error, limit.max_relative_error),
        _above("kl_divergence", parity.kl_divergence, limit.max_kl),
        _below("top1_agreement", parity.top1_agreement, limit.min_top1),
        _tokens(parity) if limit.same_tokens else None,
    ]
    return [fault for fault in candidates if fault]


def _below(name: str, value: float | None, least: float | None) -> Note | None:
    """The violation of a lower limit; None where there is no limit or the figure meets it."""
    figure = number(value)
    # A figure that is on the limit is within it.
    if least is None or (figure is not None and figure >= least):
        return None
    if figure is None:
        return note("undefined-figure", figure=name)
    return note("figure-too-low", figure=name, value=figure, limit=least)


def _above(name: str, value: float | None, most: float | None) -> Note | None:
    """The violation of an upper limit; None where there is no limit or the figure meets it."""
    figure = number(value)
    if most is None or (figure is not None and figure <= most):
        return None
    if figure is None:
        return note("undefined-figure", figure=name)
    return note("figure-too-high", figure=name, value=figure, limit=most)


def _tokens(parity: Parity) -> Note | None:
    """The first token that differs from the reference; steps count from 1."""
    compared, same = parity.tokens_compared or 0, parity.tokens_same or 0
    if compared < 1:
        return note("no-token-compared")
    return note("tokens-differ", step=same + 1, compared=compared) if same < compared else None


def quality(parity: Parity) -> tuple[bool | float, ...]:
    """A key that sorts from the worst to the best; a missing figure is the worst."""
    least = (parity.top1_agreement, parity.tokens_same, parity.cosine)
    kl, error = number(parity.kl_divergence), number(parity.relative_error)
    return (
        # Outputs that are not finite are worse than any distance.
        parity.finite,
        not violations(parity),
        -math.inf if kl is None else -kl,
        *(-math.inf if (figure := number(value)) is None else figure for value in least),
        -math.inf if error is None else -error,
    )


def number(value: float | None) -> float | None:
    """The value, with NaN as None: files hold NaN as a missing value, and every comparison with NaN is false."""
    return None if value is None or math.isnan(value) else value
