"""Compares one output with the reference: floats by distance and in blocks of one scale, all other values exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from bench.records import Block, Note, OutputParity, Tolerance, ValueKind, note
from bench.worker.feeds import Array
from bench.worker.output_facts import OutputFacts

Rows = npt.NDArray[np.float64]
KINDS: dict[str, ValueKind] = {"b": "boolean", "i": "integer", "u": "integer", "U": "text", "S": "text"}
"""The kind of values by the kind of NumPy's type; all others are floats."""

# Slices of one axis are of unlike scale where the sorted scales have a gap of this factor. Boxes in pixels beside
# scores have 1000 and more. The channels of hidden states, and of feature maps, scatter without such a gap.
SCALE_GAP = 30.0
# The scale of a slice with few values is chance: eight logits of one class may all be near zero.
SLICE_VALUES = 64
# A box has four coordinates. A single loud channel, or two, is an outlier of a hidden state: no second quantity.
LOUD_SLICES = 3
# A few weak channels are no second quantity either: MiniLM has three, of 384, that hold nothing but rounding.
QUIET_SHARE = 0.05
# Below this share of the loudest slice is what FP32 leaves of numbers that cancel.
ROUNDING = 1e-5
# Where the graph shows that a sigmoid makes a part of the output, that part is no rounding, however small it is: on
# noise the scores of a detector are near 1e-6, beside boxes of 640 pixels.
SMALLEST_SCORE = 1e-10
# Two classes that are closer than this share of the standard deviation of a row are a tie, as in `parity_tokens`.
TIE = 1e-3
CLASSES = range(2, 100_001)
"""How many values a row of class scores has."""


@dataclass(frozen=True)
class Distance:
    """The figures of floats."""

    max_abs_error: float
    relative_error: float | None
    cosine: float


def compare(
    name: str, expected: Sequence[Array], actual: Sequence[Array], facts: OutputFacts, limit: Tolerance
) -> OutputParity:
    """Compare one output over all batches, in their order; `facts` says where the samples of its arrays are.

    `limit` decides which of several blocks is the worst.
    """
    kind = kind_of(expected[0])
    fault = _shape_fault(expected, actual) or _kind_fault(kind, actual)
    expected, actual = ([by_sample(array, facts) for array in side] for side in (expected, actual))
    samples = sum(len(array) if array.ndim else 1 for array in expected)
    elements = sum(array.size for array in expected)
    whole = OutputParity(name, kind, samples, elements, bounded_by=facts.bounded_by, random=facts.random)
    # Another answer each time may also have another shape.
    if facts.random:
        return whole
    if fault:
        return replace(whole, fault=fault)
    if not elements:
        return whole
    return _floats(whole, expected, actual, facts, limit) if kind == "float" else _exact(whole, expected, actual)


def by_sample(array: Array, facts: OutputFacts) -> Array:
    """The array with its samples along the first axis; a single one where no axis holds the samples."""
    if facts.axis is not None and facts.axis < array.ndim:
        return np.moveaxis(array, facts.axis, 0)
    return array if facts.samples is None or array.shape[:1] == (facts.samples,) else array[None]


def kind_of(array: Array) -> ValueKind:
    """How the values of an array are compared."""
    return KINDS.get(array.dtype.kind, "float")


def _shape_fault(expected: Sequence[Array], actual: Sequence[Array]) -> Note | None:
    for right, given in zip(expected, actual, strict=True):
        if right.shape != given.shape:
            return note("other-shape", shape=str(given.shape), expected=str(right.shape))
    return None


def _kind_fault(kind: ValueKind, actual: Sequence[Array]) -> Note | None:
    others = [kind_of(array) for array in actual if kind_of(array) != kind]
    return note("other-values", given=others[0], expected=kind) if others else None


# --- values that are compared exactly ---------------------------------------------------------------------------------


def _exact(whole: OutputParity, expected: Sequence[Array], actual: Sequence[Array]) -> OutputParity:
    pairs = list(zip(expected, actual, strict=True))
    same = sum(int((right == given).sum()) for right, given in pairs)
    largest = None
    if whole.kind == "integer":
        # As floats: the difference of unsigned integers would wrap around.
        errors = (np.abs(given.astype(np.float64) - right.astype(np.float64)) for right, given in pairs)
        largest = max(float(error.max(initial=0.0)) for error in errors)
    return replace(whole, agreement=same / whole.elements, max_abs_error=largest)


# --- how far, by what is allowed --------------------------------------------------------------------------------------


def float_strain(figures: Distance | Block, bounded_by: str, limit: Tolerance) -> float:
    """How far floats are from the reference, as a share of what the tolerance allows: above 1 is outside it."""
    error, most = figures.max_abs_error, limit.max_bounded_error
    if bounded_by and most is not None and error <= most:
        return share_of(error, most)
    # An undefined relative error is an error where the reference has none.
    relative = math.inf if figures.relative_error is None else figures.relative_error
    return max(
        0.0 if limit.max_relative_error is None else share_of(relative, limit.max_relative_error),
        0.0 if limit.min_cosine is None else share_of(1 - figures.cosine, 1 - limit.min_cosine),
    )


def share_of(value: float, limit: float) -> float:
    """The value as a share of its limit; a limit of zero allows nothing."""
    if value <= 0:
        return 0.0
    return value / limit if limit > 0 else math.inf


# --- floats -----------------------------------------------------------------------------------------------------------


def _floats(
    whole: OutputParity, expected: Sequence[Array], actual: Sequence[Array], facts: OutputFacts, limit: Tolerance
) -> OutputParity:
    pairs = [_in_double(right, given) for right, given in zip(expected, actual, strict=True)]
    odd = [_odd(right, given) for right, given in pairs]
    if any(mask.any() for mask in odd):
        return replace(whole, fault=note("output-not-finite", share=sum(int(m.sum()) for m in odd) / whole.elements))
    pairs = [_without_infinities(right, given) for right, given in pairs]
    top1, top5 = _classes(pairs) if facts.class_scores else (None, None)
    # A picture without a text has scores near zero everywhere, whose direction is what rounding left of them.
    excused = (limit.max_bounded_error or 0.0) if facts.bounded_by else 0.0
    has_scores = bool(facts.partly_bounded_by)
    parts = _blocks(pairs, excused, has_scores=has_scores) if facts.split and top1 is None else ()
    blocks = tuple(block for block, _ in parts)
    bounds = [facts.bounded_by or (facts.partly_bounded_by if is_small else "") for _, is_small in parts]
    strains = [float_strain(block, bound, limit) for block, bound in zip(blocks, bounds, strict=True)]
    worst = strains.index(max(strains)) if strains else None
    distance = _distance(pairs, excused) if worst is None else blocks[worst]
    return replace(
        whole,
        bounded_by=facts.bounded_by if worst is None else bounds[worst],
        max_abs_error=distance.max_abs_error,
        relative_error=distance.relative_error,
        cosine=distance.cosine,
        top1_agreement=top1,
        top5_agreement=top5,
        blocks=blocks,
        block=worst,
    )


def _in_double(expected: Array, actual: Array) -> tuple[Rows, Rows]:
    """Both arrays in double precision, because in FP16 the squares of values above 255 overflow; of at least 1-D."""
    if np.iscomplexobj(expected) or np.iscomplexobj(actual):
        expected, actual = (np.stack([array.real, array.imag], axis=-1) for array in (expected, actual))
    right, given = (np.atleast_1d(np.asarray(array, np.float64)) for array in (expected, actual))
    return right, given


def _odd(expected: Rows, actual: Rows) -> npt.NDArray[np.bool_]:
    """Where one side is NaN or infinite, and the other is not the same."""
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    odd: npt.NDArray[np.bool_] = ~(np.isfinite(expected) & np.isfinite(actual)) & ~same
    return odd


def _without_infinities(expected: Rows, actual: Rows) -> tuple[Rows, Rows]:
    """Both arrays with zero where both are NaN, or the same infinity: they agree there, and have no distance."""
    finite = np.isfinite(expected)
    return (expected, actual) if finite.all() else (np.where(finite, expected, 0.0), np.where(finite, actual, 0.0))


def _distance(pairs: Sequence[tuple[Rows, Rows]], excused: float) -> Distance:
    """The figures of all samples; one whose errors are all at most `excused` has no part in the lowest cosine."""
    rows = [(right.reshape(len(right), -1), given.reshape(len(given), -1)) for right, given in pairs if right.size]
    # The direction of a single value is its sign, which says nothing about how near it is.
    if rows and all(right.shape[1] == 1 for right, _ in rows):
        rows = [(np.concatenate([r for r, _ in rows]).T, np.concatenate([g for _, g in rows]).T)]
    return Distance(
        max_abs_error=max((float(np.abs(given - right).max(initial=0.0)) for right, given in rows), default=0.0),
        # A wrong scale of all values does not change the cosine: only the relative error shows it.
        relative_error=_relative_error(rows),
        # The lowest and not the mean: observed with QNN, where only the second row of a batch was wrong.
        cosine=min((_lowest_cosine(right, given, excused) for right, given in rows), default=1.0),
    )


def _relative_error(pairs: Sequence[tuple[Rows, Rows]]) -> float | None:
    """RMS of the error over RMS of the reference, over all batches; None where the reference is all zero."""
    error = sum(float(np.square(actual - expected).sum()) for expected, actual in pairs)
    signal = sum(float(np.square(expected).sum()) for expected, _ in pairs)
    if error == 0.0:
        return 0.0
    return math.sqrt(error / signal) if signal else None


def _lowest_cosine(expected: Rows, actual: Rows, excused: float) -> float:
    """The lowest cosine similarity of all rows.

    Rows whose errors are at most `excused` give exactly 1, equal rows of zeros included. A row of zeros and any other
    row give 0.
    """
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    # Rounding may give equal rows 1 - 1e-16, and others more than 1: hence the comparison and the clip below.
    dots = np.einsum("ij,ij->i", expected, actual)
    cosines = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    right = np.abs(expected - actual).max(axis=1, initial=0.0) <= excused
    return float(np.clip(np.where(right, 1.0, cosines), -1.0, 1.0).min())


# --- blocks of one scale ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """An axis and the groups of its slices, from the largest scale to the smallest."""

    axis: int = 0
    groups: list[npt.NDArray[np.intp]] = field(default_factory=list)
    gap: float = 0.0


def _blocks(pairs: Sequence[tuple[Rows, Rows]], excused: float, *, has_scores: bool) -> tuple[tuple[Block, bool], ...]:
    """The blocks of unlike scale along the axis whose scales have the widest gap; empty where no axis has one.

    `has_scores`: the graph shows that an operator of a fixed range makes a part of the output. Beside each block stands
    whether all its values are between -1 and 1, and so can be those of that operator.
    """
    if len({right.shape[1:] for right, _ in pairs}) != 1:
        return ()
    whole = np.concatenate([right for right, _ in pairs])
    cut = max((_cut(whole, axis, has_scores) for axis in range(1, whole.ndim)), key=lambda cut: cut.gap, default=_Cut())
    return tuple(_block(pairs, cut.axis, group, excused) for group in cut.groups)


def _cut(values: Rows, axis: int, has_scores: bool) -> _Cut:
    slices = values.shape[axis]
    if slices < 2 or values.size // slices < SLICE_VALUES:
        return _Cut()
    scales = np.sqrt(np.square(values).mean(axis=tuple(other for other in range(values.ndim) if other != axis)))
    order = np.argsort(-scales)
    ordered = scales[order]
    # Slices of zeros, and those that hold no more than rounding, belong to the smallest block.
    audible = int((ordered > ordered[0] * (SMALLEST_SCORE if has_scores else ROUNDING)).sum())
    ratios = ordered[: audible - 1] / ordered[1:audible] if audible > 1 else np.zeros(0)
    ends: list[int] = []
    for place in np.flatnonzero(ratios >= SCALE_GAP) + 1:
        quiet = slices - place
        if place - (ends[-1] if ends else 0) >= LOUD_SLICES and (has_scores or quiet >= QUIET_SHARE * slices):
            ends.append(int(place))
    if not ends:
        return _Cut()
    return _Cut(axis, [np.sort(group) for group in np.split(order, ends)], float(ratios[np.array(ends) - 1].max()))


def _block(
    pairs: Sequence[tuple[Rows, Rows]], axis: int, group: npt.NDArray[np.intp], excused: float
) -> tuple[Block, bool]:
    own = [(np.take(right, group, axis), np.take(given, group, axis)) for right, given in pairs]
    distance = _distance(own, excused)
    count = sum(right.size for right, _ in own)
    scale = math.sqrt(sum(float(np.square(right).sum()) for right, _ in own) / count)
    block = Block(
        axis=axis,
        first=int(group[0]),
        last=int(group[-1]),
        slices=len(group),
        scale=scale,
        max_abs_error=distance.max_abs_error,
        relative_error=distance.relative_error,
        cosine=distance.cosine,
    )
    return block, all(float(np.abs(right).max(initial=0.0)) <= 1.0 for right, _ in own)


# --- class scores -----------------------------------------------------------------------------------------------------


def _classes(pairs: Sequence[tuple[Rows, Rows]]) -> tuple[float | None, float | None]:
    """Top-1 and top-5 agreement; None where the rows are no class scores, and for top-5 where five is every class."""
    if any(right.ndim != 2 or right.shape[1] not in CLASSES for right, _ in pairs):
        return None, None
    first: list[bool] = []
    five: list[bool] = []
    for right, given in pairs:
        best, chosen, rows = right.argmax(axis=1), given.argmax(axis=1), np.arange(len(right))
        # Of two classes that are equally likely in the reference, either is right.
        tied = right[rows, best] - right[rows, chosen] <= TIE * right.std(axis=1)
        first += ((best == chosen) | tied).tolist()
        among = (given > given[rows, best][:, None]).sum(axis=1) < 5
        five += (among | tied).tolist()
    if not first:
        return None, None
    return float(np.mean(first)), float(np.mean(five)) if pairs[0][0].shape[1] > 5 else None
