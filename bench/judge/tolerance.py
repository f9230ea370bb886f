"""Whether answers are within their tolerance, and which round's are the worst."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.records import Note, Observation, Parity, Tolerance, note


def checked(observations: Iterable[Observation]) -> list[Parity]:
    """The comparisons that compared something."""
    return [
        observation.parity
        for observation in observations
        if observation.parity is not None and observation.parity.samples > 0
    ]


def violations(parity: Parity) -> list[Note]:
    """Why answers are out of tolerance, nothing if they are within; a figure that is missing or NaN proves nothing."""
    if parity.samples < 1:
        return [note("nothing-compared")]
    if not parity.finite:
        return [note("not-finite")]
    limit = parity.tolerance
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
    """What is wrong with a figure that must not be small; nothing where no limit is asked for."""
    figure = number(value)
    if least is None or (figure is not None and figure >= least):
        return None
    if figure is None:
        return note("undefined-figure", figure=name)
    return note("figure-too-low", figure=name, value=figure, limit=least)


def _above(name: str, value: float | None, most: float | None) -> Note | None:
    """What is wrong with a figure that must not be large."""
    figure = number(value)
    if most is None or (figure is not None and figure <= most):
        return None
    if figure is None:
        return note("undefined-figure", figure=name)
    return note("figure-too-high", figure=name, value=figure, limit=most)


def _tokens(parity: Parity) -> Note | None:
    """What is wrong with tokens that must be the reference's; the first one is step 1."""
    compared, same = parity.tokens_compared or 0, parity.tokens_same or 0
    if compared < 1:
        return note("no-token-compared")
    return note("tokens-differ", step=same + 1, compared=compared) if same < compared else None


def quality(parity: Parity) -> tuple[bool | float, ...]:
    """Sorts from the worst to the best; a figure that is missing is worse than any."""
    least = (parity.top1_agreement, parity.tokens_same, parity.cosine)
    kl, error = number(parity.kl_divergence), number(parity.relative_error)
    return (
        parity.finite,
        not violations(parity),
        -math.inf if kl is None else -kl,
        *(-math.inf if (figure := number(value)) is None else figure for value in least),
        -math.inf if error is None else -error,
    )


def number(value: float | None) -> float | None:
    """NaN as None: it is written to a file as a missing value, and compares as neither less nor more."""
    return None if value is None or math.isnan(value) else value
