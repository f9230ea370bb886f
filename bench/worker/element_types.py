"""Converts the bytes of ONNX tensors into NumPy values that can be compared, without the package `onnx`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.shared.onnx_elements import NATIVE, OTHERS

Values = npt.NDArray[Any]


def decode(element: int, shape: tuple[int, ...], data: bytes) -> Values:
    """The values of a tensor, in NumPy's type where it has one, else widened exactly to float32 or int16.

    Raises `KeyError` for an unknown element type.
    """
    if element in NATIVE:
        # ONNX stores raw data in little-endian order on every machine.
        return np.frombuffer(data, np.dtype(NATIVE[element]).newbyteorder("<")).reshape(shape)
    # Imported late: only the operator tests need it, and an interpreter of the user may lack it.
    import ml_dtypes

    _, name, bits = OTHERS[element]
    patterns = np.frombuffer(data, "<u2").astype(np.uint16) if bits == 16 else unpacked(data, bits, math.prod(shape))
    # `view` keeps the bits; `astype` would convert the integers.
    values = patterns.view(getattr(ml_dtypes, name))
    wide: Values = values.astype(np.int16 if "int" in name else np.float32)
    return wide.reshape(shape)


def unpacked(data: bytes, bits: int, count: int) -> Values:
    """The first `count` values of packed bytes, one bit pattern a byte, as `ml_dtypes` stores them.

    ONNX stores the first value in the lowest bits.
    """
    packed = np.frombuffer(data, np.uint8)[:, None]
    values: Values = ((packed >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)).reshape(-1)[:count]
    return values
