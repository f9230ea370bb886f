"""Converts the bytes of ONNX tensors into NumPy values that can be compared, without the package `onnx`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
STRING, BFLOAT16 = 8, 16
NATIVE: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
}
"""The types that NumPy has, by their number in `TensorProto.DataType`; the names are NumPy's too."""
OTHERS: dict[int, tuple[str, str, int]] = {
    BFLOAT16: ("bfloat16", "bfloat16", 16),
    17: ("float8e4m3fn", "float8_e4m3fn", 8),
    18: ("float8e4m3fnuz", "float8_e4m3fnuz", 8),
    19: ("float8e5m2", "float8_e5m2", 8),
    20: ("float8e5m2fnuz", "float8_e5m2fnuz", 8),
    21: ("uint4", "uint4", 4),
    22: ("int4", "int4", 4),
    23: ("float4e2m1", "float4_e2m1fn", 4),
    24: ("float8e8m0", "float8_e8m0fnu", 8),
    25: ("uint2", "uint2", 2),
    26: ("int2", "int2", 2),
}
"""The types that NumPy lacks: ONNX's name, the name in `ml_dtypes`, and the bits of one value."""
NAMES: dict[int, str] = {**NATIVE, STRING: "string", **{number: names[0] for number, names in OTHERS.items()}}
NUMBERS = {name: number for number, name in NAMES.items()}


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
