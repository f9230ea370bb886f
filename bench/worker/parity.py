"""Compares the outputs of a target with those of the reference: errors, cosine similarity and effective bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.records import Parity, Tolerance

Rows = npt.NDArray[np.float64]


def compare(
    expected: Sequence[npt.NDArray[Any]], actual: Sequence[npt.NDArray[Any]], tolerance: Tolerance, reference: str
) -> Parity:
    """Compare arrays of shape (samples, values) batch by batch; ValueError where batches or shapes differ in number."""
    if not expected or len(expected) != len(actual):
        raise ValueError(f"the reference has {len(expected)} batches, the output {len(actual)}")
    pairs = [_rows(reference_rows, output_rows) for reference_rows, output_rows in zip(expected, actual, strict=True)]
    samples = sum(len(reference_rows) for reference_rows, _ in pairs)
    if not all(np.isfinite(reference_rows).all() for reference_rows, _ in pairs):
        raise ValueError("the reference itself holds infinities or NaN; nothing can be compared with it")
    if not all(np.isfinite(output_rows).all() for _, output_rows in pairs):
        # Errors of NaN and infinities have no meaning, so only `finite` is reported.
        return Parity(samples, False, None, None, None, None, tolerance, reference)
    # A wrong scale of all values does not change the cosine: only the relative error shows it.
    relative = _relative_error(pairs)
    return Parity(
        samples=samples,
        finite=True,
        max_abs_error=max(
            float(np.abs(output_rows - reference_rows).max(initial=0.0)) for reference_rows, output_rows in pairs
        ),
        relative_error=relative,
        # The lowest and not the mean: observed with QNN, where only the second row of a batch was wrong.
        cosine=min(_lowest_cosine(reference_rows, output_rows) for reference_rows, output_rows in pairs),
        # An error of zero has no logarithm, and so no number of bits.
        effective_bits=-math.log2(relative) if relative else None,
        tolerance=tolerance,
        reference=reference,
    )


def _rows(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> tuple[Rows, Rows]:
    """Both arrays as float64 of shape (samples, values); ValueError where shapes differ or are empty."""
    if expected.shape != actual.shape:
        raise ValueError(f"the output has the shape {actual.shape}, the reference {expected.shape}")
    if expected.size == 0:
        raise ValueError(f"an output of the shape {expected.shape} holds nothing to compare")
    rows = expected.shape[0] if expected.ndim > 1 else 1
    # In double precision: in FP16 the squares of values above 255 overflow.
    return (np.asarray(expected, np.float64).reshape(rows, -1), np.asarray(actual, np.float64).reshape(rows, -1))


def _relative_error(pairs: list[tuple[Rows, Rows]]) -> float | None:
    """RMS of the error over RMS of the reference, over all batches; None where the reference is all zero."""
    error = sum(float(np.square(actual - expected).sum()) for expected, actual in pairs)
    signal = sum(float(np.square(expected).sum()) for expected, _ in pairs)
    if error == 0.0:
        return 0.0
    return math.sqrt(error / signal) if signal else None


def _lowest_cosine(expected: Rows, actual: Rows) -> float:
    """The lowest cosine similarity of all rows.

    Equal rows give exactly 1, rows of zeros included. A row of zeros and any other row give 0.
    """
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    # Rounding may give equal rows 1 - 1e-16, and others more than 1: hence the comparison and the clip below.
    dots = np.einsum("ij,ij->i", expected, actual)
    cosines = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return float(np.clip(np.where((expected == actual).all(axis=1), 1.0, cosines), -1.0, 1.0).min())
