"""Converts between FP32 and the short floats that NumPy lacks, bfloat16 and FP8, as bit patterns; no other package."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[Any]

BFLOAT16 = "bfloat16"
# Bits of the exponent and of the mantissa, and the bias, as ONNX defines them. `fn`: no infinity, and NaN is all ones;
# `fnuz`: no infinity, and NaN in the place of -0.
FP8: dict[str, tuple[int, int, int, str]] = {
    "float8e4m3fn": (4, 3, 7, "fn"),
    "float8e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8e5m2": (5, 2, 15, ""),
    "float8e5m2fnuz": (5, 2, 16, "fnuz"),
}
NAMES = frozenset((BFLOAT16, *FP8))
"""The types by their names in ONNX."""


def bits_of(values: npt.NDArray[Any], name: str) -> Bits:
    """The bit patterns of the nearest values of a type: uint16 for bfloat16, else uint8. Too large ones are cut."""
    wide = np.ascontiguousarray(values, np.float32)
    if name == BFLOAT16:
        whole = wide.view(np.uint32)
        # Half a unit is added to round; the last bit that is kept makes halves even.
        rounded = (whole + 0x7FFF + ((whole >> 16) & 1)) >> 16
        return np.where(np.isnan(wide), 0x7FC0, rounded).astype(np.uint16)
    table = _table(name)
    finite = np.flatnonzero(np.isfinite(table))
    ordered = finite[np.argsort(table[finite], kind="stable")]
    steps = table[ordered]
    place = np.searchsorted((steps[1:] + steps[:-1]) / 2, wide)
    patterns: Bits = ordered[place].astype(np.uint8)
    return np.where(np.isnan(wide), np.flatnonzero(np.isnan(table))[0], patterns).astype(np.uint8)


def values_of(bits: Bits, name: str) -> Floats:
    """The values of bit patterns, in FP32, which holds each exactly."""
    if name == BFLOAT16:
        return (np.ascontiguousarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)
    values: Floats = _table(name)[np.ascontiguousarray(bits, np.uint8)]
    return values


@cache
def _table(name: str) -> Floats:
    """The value of each of the 256 bit patterns."""
    exponents, mantissas, bias, kind = FP8[name]
    patterns = np.arange(256)
    sign = np.where(patterns >> 7, -1.0, 1.0)
    exponent = (patterns >> mantissas) & (2**exponents - 1)
    part = (patterns & (2**mantissas - 1)) / 2**mantissas
    # Without a set bit in the exponent there is no leading one.
    value = np.where(exponent, (1 + part) * 2.0 ** (exponent - bias), part * 2.0 ** (1 - bias))
    if kind == "fnuz":
        value[patterns == 0x80] = np.nan
    elif kind == "fn":
        value[(patterns & 0x7F) == 0x7F] = np.nan
    else:
        top = exponent == 2**exponents - 1
        value[top] = np.where(part[top] == 0, np.inf, np.nan)
    table: Floats = (sign * value).astype(np.float32)
    return table
