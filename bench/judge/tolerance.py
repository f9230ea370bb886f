"""Checks answers against their tolerance, and orders rounds by how good their answers are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.records import Note, Observation, OutputParity, Parity, Tolerance, note

LEAST_DIFFERENT = 2
"""How many classes, tokens or values must differ before answers are called another: one of eight may be chance."""


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
    if parity.outputs:
        wrong = _of_outputs(parity)
        # Where an output cannot be compared, the other figures have no values.
        if any(output.fault for output in parity.outputs if not output.random):
            return wrong
    elif not parity.finite:
        return [note("not-finite")]
    limit = parity.tolerance
    # A tolerance without any limit accepts every answer, so it proves nothing.
    if _is_empty(limit):
        return [note("empty-tolerance")]
    candidates = [
        *(wrong if parity.outputs else _of_floats(parity.cosine, parity.relative_error, limit)),
        _above("kl_divergence", parity.kl_divergence, limit.max_kl),
        _below("top1_agreement", parity.top1_agreement, limit.min_top1),
        _tokens(parity) if limit.same_tokens else None,
    ]
    return [fault for fault in candidates if fault]


def _is_empty(limit: Tolerance) -> bool:
    """Whether no limit says how far an answer may be; those by number format are the plan's, and always there."""
    limits = (limit.min_cosine, limit.max_relative_error, limit.max_kl, limit.min_top1)
    return not limit.same_tokens and all(value is None for value in limits)


def _of_outputs(parity: Parity) -> list[Note]:
    """The faults of the output that is the furthest outside its limit, with its name, and how many others are."""
    wrong = [(output, faults) for output in parity.outputs if (faults := output_violations(output, parity.tolerance))]
    if not wrong:
        return []
    output, faults = next(((o, f) for o, f in wrong if o.name == parity.decides), wrong[0])
    # The figures of a model with a single output need no name in the reason.
    if len(parity.outputs) == 1 and output.block is None and output.fault is None:
        return faults
    block = output.blocks[output.block] if output.block is not None else None
    place = f"{block.first}..{block.last}" if block else None
    axis = block.axis if block else None
    return [note("in-output", *faults, output=output.name, axis=axis, slices=place, others=len(wrong) - 1)]


def output_violations(output: OutputParity, limit: Tolerance) -> list[Note]:
    """Why one output is out of tolerance; empty where it is within it, and where it is random."""
    if output.random:
        return []
    if output.fault is not None:
        return [output.fault]
    if output.agreement is not None:
        # Without a limit all values must agree.
        fault = _below("agreement", output.agreement, 1.0 if limit.min_agreement is None else limit.min_agreement)
        return [fault] if fault else []
    # An empty output that agrees with an empty reference has no figures.
    if not output.elements or _is_bounded(output, limit):
        return []
    return _of_floats(output.cosine, output.relative_error, limit)


def _is_bounded(output: OutputParity, limit: Tolerance) -> bool:
    """Whether the absolute error is right by itself, because the last operator fixes the range of the output."""
    error = number(output.max_abs_error)
    most = limit.max_bounded_error
    return bool(output.bounded_by) and most is not None and error is not None and error <= most


def _of_floats(cosine: float | None, relative_error: float | None, limit: Tolerance) -> list[Note]:
    candidates = [
        _below("cosine", cosine, limit.min_cosine),
        _above("relative_error", relative_error, limit.max_relative_error),
    ]
    return [fault for fault in candidates if fault]


def differences(parity: Parity) -> list[Note]:
    """What is visibly another answer, although it is within the tolerance; empty where nothing is."""
    limit = parity.tolerance
    shares = [("top1_agreement", parity.top1_agreement, parity.samples)] if not parity.outputs else []
    for output in parity.outputs:
        shares.append(("top1_agreement", output.top1_agreement, output.samples))
        shares.append(("agreement", output.agreement, output.elements))
    worst: dict[str, Note] = {}
    for name, share, count in sorted(shares, key=lambda entry: 1.0 if entry[1] is None else entry[1]):
        # A single choice of a few may be chance.
        if number(share) is not None and share is not None and (1 - share) * count > LEAST_DIFFERENT - 0.5:
            fault = _below(name, share, limit.clear_agreement)
            worst |= {name: fault} if fault and name not in worst else {}
    if fault := _above("kl_divergence", parity.kl_divergence, limit.clear_kl) if parity.kl_divergence else None:
        worst["kl_divergence"] = fault
    tokens, least = token_share(parity), limit.clear_tokens
    if tokens is not None and least is not None and tokens < least:
        compared = parity.tokens_compared or 0
        worst["tokens"] = note("few-tokens-same", same=parity.tokens_same or 0, compared=compared)
    return list(worst.values())


def token_share(parity: Parity) -> float | None:
    """Share of the generated tokens before the first that differs; None where none were compared."""
    return (parity.tokens_same or 0) / parity.tokens_compared if parity.tokens_compared else None


def random_outputs(parity: Parity) -> tuple[str, ...]:
    """The outputs that no reference can check, because the reference itself gives another answer each time."""
    return tuple(output.name for output in parity.outputs if output.random)


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
    least = (parity.top1_agreement, parity.agreement, parity.tokens_same, parity.cosine)
    kl, error = number(parity.kl_divergence), number(parity.relative_error)
    return (
        # Outputs that are not finite are worse than any distance.
        parity.finite,
        not violations(parity),
        -math.inf if kl is None else -kl,
        *(-math.inf if (figure := number(value)) is None else figure for value in least),
        -math.inf if error is None else -error,
    )


def is_far_better(parity: Parity, other: Parity) -> bool:
    """Whether the error is at most half of another's; where one has no such figure, whether the other has more faults.

    Between two roundings of the same values the error differs by a few percent.
    """
    for mine, others in ((parity.relative_error, other.relative_error), (parity.kl_divergence, other.kl_divergence)):
        error, larger = number(mine), number(others)
        if error is not None and larger is not None:
            return error <= larger / 2
    return not violations(parity) and bool(violations(other))


def number(value: float | None) -> float | None:
    """The value, with NaN as None: files hold NaN as a missing value, and every comparison with NaN is false."""
    return None if value is None or math.isnan(value) else value
