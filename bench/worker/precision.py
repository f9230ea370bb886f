"""Finds the number format in which a device computes, from the results of small matrix products.

The last column of a weight copies an input to the output. It shows how many bits of the mantissa survive, and whether
2^20 survives, which is too large for FP16. Two products in a row show whether a device keeps FP16 results in FP32
between them, by a sum that FP16 cannot represent. The effective bits of the other columns measure the accuracy of the
sums. They do not identify the format: FP16 summed in FP16 has 9.7 bits, little more than BF16 summed in FP32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.records import Executed

Floats = npt.NDArray[Any]
# More rows than FP32 has bits in its mantissa: `fine_input` needs one for each.
SIZE = 64
DTYPES = {"fp32": np.float32, "fp16": np.float16}
FP32_BITS, TEN_BIT_MANTISSA = 18.0, 10.2
"""The smallest effective bits of a format. Observed: FP32 23 to 26, TF32 and FP16 summed in FP32 11 to 12."""
MANTISSA = {"fp32": 23, "fp16": 10}
LARGE = 2.0**20


def random_pair(number_format: str) -> tuple[Floats, Floats]:
    """An input of seeded noise, and a weight of noise whose last column copies the last column of the input."""
    noise = np.random.Generator(np.random.PCG64(20)).standard_normal((2, SIZE, SIZE))
    # The last column of the weight is that of a unit matrix.
    noise[1, :, -1] = 0
    noise[1, -1, -1] = 1
    return noise[0].astype(DTYPES[number_format]), noise[1].astype(DTYPES[number_format])


def fine_input(number_format: str) -> Floats:
    """An input with 1 + 1/2, 1 + 1/4 … in its last column, down to the last bit of the format's mantissa."""
    x = np.zeros((SIZE, SIZE), DTYPES[number_format])
    steps = np.arange(1, MANTISSA[number_format] + 1)
    x[: len(steps), -1] = 1 + 0.5**steps
    return x


def large_input() -> Floats:
    """An FP32 input with one element in its last column that is larger than FP16 can represent."""
    x = np.zeros((SIZE, SIZE), np.float32)
    x[0, -1] = LARGE
    return x


def chain() -> tuple[Floats, Floats, Floats]:
    """An FP16 input and two weights: the first adds 1 to 2048, the second subtracts 2048.

    The result is 1 where the sum stays in FP32 between the products, else 0.
    """
    x, first, second = (np.zeros((SIZE, SIZE), np.float16) for _ in range(3))
    # Above 2048 the numbers of FP16 are 2 apart, so that it cannot represent 2049.
    x[0, 0], x[0, 1] = 2048, 1
    first[0, 0] = first[1, 0] = first[0, 1] = 1
    second[0, 0], second[1, 0] = 1, -1
    return x, first, second


def effective_bits(x: Floats, weight: Floats, product: Floats) -> float:
    """-log2 of the relative RMS error against the FP64 product; 53 without an error, 0 where a value is not finite."""
    expected = x.astype(np.float64) @ weight.astype(np.float64)
    error = math.sqrt(float(np.square(product.astype(np.float64) - expected).mean()))
    if not math.isfinite(error):
        return 0.0
    return 53.0 if error == 0 else -math.log2(error / math.sqrt(float(np.square(expected).mean())))


def mantissa_bits(number_format: str, product: Floats) -> int:
    """The number of mantissa bits that survive in the product of `fine_input`."""
    return int(np.count_nonzero(product[: MANTISSA[number_format], -1] != 1))


def fp32_format(mantissa: int, bits: float, large: float) -> str:
    """The format in which an FP32 product was computed; `large` is the result of `large_input`.

    The mantissa alone is not enough: QNN's emulator copies all bits of the mantissa, but sums with the bits of FP16.
    """
    # FP16 gives infinity here; BF16 and TF32 have the exponents of FP32.
    in_range = abs(large / LARGE - 1) < 0.01
    if mantissa >= MANTISSA["fp32"] - 1 and bits >= FP32_BITS:
        return "fp32"
    if mantissa in (7, 8):  # rounding to nearest may carry one bit more over
        return "bf16" if in_range else "unknown"
    if mantissa in (10, 11) or bits >= TEN_BIT_MANTISSA:
        return "tf32" if in_range else "fp16"
    return "unknown"


def fp16_format(mantissa: int, chained: float) -> str:
    """The format in which an FP16 product was computed; `chained` is the result of the two products of `chain`."""
    if mantissa < 9:
        return "bf16" if mantissa in (7, 8) else "unknown"
    return {1.0: "fp32 between casts", 0.0: "fp16"}.get(chained, "unknown")


def executed(requested: str, computed_format: str, bits: float) -> Executed:
    """The record of a measured format, with the effective bits rounded to one decimal."""
    return Executed(asked=requested, format=computed_format, bits=round(bits, 1))
