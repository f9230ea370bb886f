"""ONNX's element types: bytes as ONNX stores them in, NumPy values that can be compared out; no `onnx` is needed."""

from __future__ import annotations

import math
from functools import cache
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
SMALL_FLOATS: dict[int, tuple[str, int, int, int, str]] = {
    17: ("float8e4m3fn", 4, 3, 7, "fn"),
    18: ("float8e4m3fnuz", 4, 3, 8, "fnuz"),
    19: ("float8e5m2", 5, 2, 15, "ieee"),
    20: ("float8e5m2fnuz", 5, 2, 16, "fnuz"),
    23: ("float4e2m1", 2, 1, 1, "finite"),
}
"""Name, bits of the exponent and of the mantissa, bias, and which patterns are no numbers: ONNX's own definitions.

`ieee`: the highest exponent is infinity and NaN. `fn`: only all ones is NaN, there is no infinity. `fnuz`: only the
pattern of minus zero is NaN. `finite`: every pattern is a number.
"""
SMALL_INTEGERS: dict[int, tuple[str, int, bool]] = {
    21: ("uint4", 4, False),
    22: ("int4", 4, True),
    25: ("uint2", 2, False),
    26: ("int2", 2, True),
}
"""Name, bits, and whether it has a sign."""
EXPONENT_ONLY = 24
NAMES: dict[int, str] = {
    **NATIVE,
    STRING: "string",
    BFLOAT16: "bfloat16",
    EXPONENT_ONLY: "float8e8m0",
    **{number: said[0] for number, said in SMALL_FLOATS.items()},
    **{number: said[0] for number, said in SMALL_INTEGERS.items()},
}
NUMBERS = {name: number for number, name in NAMES.items()}


def decode(element: int, shape: tuple[int, ...], data: bytes) -> Values:
    """The values of a tensor: NumPy's own type where it has it, else float32 or a wider integer, exactly.

    Raises `KeyError` for a type that is not known here.
    """
    if element in NATIVE:
        return np.frombuffer(data, np.dtype(NATIVE[element]).newbyteorder("<")).reshape(shape)
    if element == BFLOAT16:  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if element in SMALL_INTEGERS:
        _, bits, signed = SMALL_INTEGERS[element]
        patterns = unpacked(data, bits, math.prod(shape)).astype(np.int16)
        return np.where(signed & (patterns >= 2 ** (bits - 1)), patterns - 2**bits, patterns).reshape(shape)
    table = _table(element)
    patterns = unpacked(data, 4, math.prod(shape)) if len(table) == 16 else np.frombuffer(data, np.uint8)
    values: Values = table[patterns].reshape(shape)
    return values


def unpacked(data: bytes, bits: int, count: int) -> Values:
    """The first `count` values of packed bytes, as patterns; the first value is in the lowest bits."""
    packed = np.frombuffer(data, np.uint8)[:, None]
    values: Values = ((packed >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)).reshape(-1)[:count]
    return values


@cache
def _table(element: int) -> Values:
    """The value of every pattern of a small float, as float32."""
    if element == EXPONENT_ONLY:
        return np.array([2.0 ** (pattern - 127) for pattern in range(255)] + [np.nan], np.float32)
    _, exponent, mantissa, bias, rule = SMALL_FLOATS[element]
    patterns = range(2 ** (1 + exponent + mantissa))
    return np.array([_value(pattern, exponent, mantissa, bias, rule) for pattern in patterns], np.float32)


def _value(pattern: int, exponent_bits: int, mantissa_bits: int, bias: int, rule: str) -> float:
    sign = -1.0 if pattern >> (exponent_bits + mantissa_bits) else 1.0
    magnitude = pattern & (2 ** (exponent_bits + mantissa_bits) - 1)
    exponent, fraction = magnitude >> mantissa_bits, magnitude & (2**mantissa_bits - 1)
    highest = exponent == 2**exponent_bits - 1
    if rule == "fnuz" and sign < 0 and magnitude == 0:
        return float("nan")
    if rule == "fn" and highest and fraction == 2**mantissa_bits - 1:
        return float("nan")
    if rule == "ieee" and highest:
        return float("nan") if fraction else sign * float("inf")
    if exponent == 0:
        return math.ldexp(sign * fraction, 1 - bias - mantissa_bits)
    return math.ldexp(sign * (1 + fraction / 2**mantissa_bits), exponent - bias)
