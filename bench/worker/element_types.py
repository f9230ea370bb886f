"""ONNX's element types: bytes as ONNX stores them in, NumPy values that can be compared out; no `onnx` is needed."""

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
    """The values of a tensor: NumPy's own type where it has it, else float32 or a wider integer, exactly.

    Raises `KeyError` for a type that is not known here.
    """
    if element in NATIVE:
        return np.frombuffer(data, np.dtype(NATIVE[element]).newbyteorder("<")).reshape(shape)
    # Here, because an interpreter of the user's need not hold it: it is asked for by the operator tests alone.
    import ml_dtypes

    _, name, bits = OTHERS[element]
    patterns = np.frombuffer(data, "<u2").astype(np.uint16) if bits == 16 else unpacked(data, bits, math.prod(shape))
    values = patterns.view(getattr(ml_dtypes, name))
    wide: Values = values.astype(np.int16 if "int" in name else np.float32)
    return wide.reshape(shape)


def unpacked(data: bytes, bits: int, count: int) -> Values:
    """The first `count` values of packed bytes, as patterns of a byte each, which is how `ml_dtypes` holds them.

    ONNX puts the first value into the lowest bits.
    """
    packed = np.frombuffer(data, np.uint8)[:, None]
    values: Values = ((packed >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)).reshape(-1)[:count]
    return values
