"""Small matrix products and what they came to in; the number format that they were computed in, out.

The last column of a weight hands an input through, so it shows how many bits of the mantissa survive, and whether 2^20
does, which is too large for FP16 alone. FP16 that is kept in FP32 between two products shows in a sum that FP16 cannot
hold. The effective bits of the other columns tell how good the sums are; they do not tell the format: FP16 summed in
FP16 has 9.7, hardly more than BF16 summed in FP32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.records import Executed

Floats = npt.NDArray[Any]
SIZE = 64
DTYPES = {"fp32": np.float32, "fp16": np.float16}
FP32_BITS, TEN_BIT_MANTISSA = 18.0, 10.2
"""Effective bits at least. Seen: FP32 23 to 26, TF32 and FP16 summed in FP32 11 to 12."""
MANTISSA = {"fp32": 23, "fp16": 10}
LARGE = 2.0**20


def random_pair(number_format: str) -> tuple[Floats, Floats]:
    """An input of seeded noise, and a weight of noise whose last column hands the input's last through."""
    noise = np.random.Generator(np.random.PCG64(20)).standard_normal((2, SIZE, SIZE))
    noise[1, :, -1] = 0
    noise[1, -1, -1] = 1
    return noise[0].astype(DTYPES[number_format]), noise[1].astype(DTYPES[number_format])


def fine_input(number_format: str) -> Floats:
    """1 + 1/2, 1 + 1/4 … in the last column, down to the last bit of the format."""
    x = np.zeros((SIZE, SIZE), DTYPES[number_format])
    steps = np.arange(1, MANTISSA[number_format] + 1)
    x[: len(steps), -1] = 1 + 0.5**steps
    return x


def large_input() -> Floats:
    """FP32 in whose last column a single element is larger than FP16 can hold."""
    x = np.zeros((SIZE, SIZE), np.float32)
    x[0, -1] = LARGE
    return x


def chain() -> tuple[Floats, Floats, Floats]:
    """An FP16 input and two weights: 2048 + 1, and 2048 off again; 1 where the sum was kept in FP32, else 0."""
    x, first, second = (np.zeros((SIZE, SIZE), np.float16) for _ in range(3))
    x[0, 0], x[0, 1] = 2048, 1
    first[0, 0] = first[1, 0] = first[0, 1] = 1
    second[0, 0], second[1, 0] = 1, -1
    return x, first, second


def effective_bits(x: Floats, weight: Floats, product: Floats) -> float:
    """-log2 of the product's error over its FP64 value, both as RMS; 53 where there is no error, 0 where no number."""
    expected = x.astype(np.float64) @ weight.astype(np.float64)
    error = math.sqrt(float(np.square(product.astype(np.float64) - expected).mean()))
    if not math.isfinite(error):
        return 0.0
    return 53.0 if error == 0 else -math.log2(error / math.sqrt(float(np.square(expected).mean())))


def mantissa_bits(number_format: str, product: Floats) -> int:
    """How many bits after the point survived in the product of the fine input."""
    return int(np.count_nonzero(product[: MANTISSA[number_format], -1] != 1))


def fp32_format(mantissa: int, bits: float, large: float) -> str:
    """The format that an FP32 product was computed in; `large` is what the large input came to.

    Both witnesses count: QNN's emulator hands all bits of the mantissa through, and sums with those of FP16.
    """
    in_range = abs(large / LARGE - 1) < 0.01
    if mantissa >= MANTISSA["fp32"] - 1 and bits >= FP32_BITS:
        return "fp32"
    if mantissa in (7, 8):  # rounding to nearest may carry one bit more over
        return "bf16" if in_range else "unknown"
    if mantissa in (10, 11) or bits >= TEN_BIT_MANTISSA:
        return "tf32" if in_range else "fp16"
    return "unknown"


def fp16_format(mantissa: int, chained: float) -> str:
    """The format that an FP16 product was computed in; `chained` is what the two products in a row came to."""
    if mantissa < 9:
        return "bf16" if mantissa in (7, 8) else "unknown"
    return {1.0: "fp32 between casts", 0.0: "fp16"}.get(chained, "unknown")


def executed(requested: str, computed_format: str, bits: float) -> Executed:
    """As a record."""
    return Executed(asked=requested, format=computed_format, bits=round(bits, 1))
