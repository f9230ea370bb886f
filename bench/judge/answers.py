"""The parity of one or more rounds in; whether the answers are right, and which round is the worst, out."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.records import Observation, Parity


def checked(seen: Iterable[Observation]) -> list[Parity]:
    """The comparisons that compared something."""
    return [one.parity for one in seen if one.parity is not None and one.parity.samples > 0]


def faults(parity: Parity) -> list[str]:
    """Why answers are out of tolerance, nothing if they are within; a figure that is missing or NaN proves nothing."""
    if parity.samples < 1:
        return ["no output was compared"]
    if not parity.finite:
        return ["the outputs hold NaN or infinity"]
    cosine, least = number(parity.cosine), parity.tolerance.min_cosine
    error, most = number(parity.relative_error), parity.tolerance.max_relative_error
    found = []
    if cosine is None or cosine < least:
        found.append("the cosine is undefined" if cosine is None else f"cosine {cosine:.6g} is below {least:g}")
    if most is not None and (error is None or error > most):
        found.append("the error is undefined" if error is None else f"relative error {error:.3g} is above {most:g}")
    return found


def quality(parity: Parity) -> tuple[bool, bool, float, float]:
    """Sorts from the worst to the best; a figure that is missing is worse than any."""
    cosine, error = number(parity.cosine), number(parity.relative_error)
    return (
        parity.finite,
        not faults(parity),
        -math.inf if cosine is None else cosine,
        -math.inf if error is None else -error,
    )


def number(value: float | None) -> float | None:
    """NaN as None: it is written to a file as a missing value, and compares as neither less nor more."""
    return None if value is None or math.isnan(value) else value
