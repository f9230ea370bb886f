"""Number formats told apart by their own products, each imitated with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from bench.worker import precision


def keep_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Rounded to so many bits after the point, as TF32 (10) and BF16 (7) are cut from FP32."""
    whole = np.ascontiguousarray(array, np.float32).view(np.uint32)
    half = np.uint32(1 << (22 - bits))
    return ((whole + half) & ~np.uint32((1 << (23 - bits)) - 1)).view(np.float32)


def fp32(array):
    return np.asarray(array, np.float32)


def tf32(array):
    return keep_bits(array, 10)


def bf16(array):
    return keep_bits(array, 7)


def fp16(array):
    with np.errstate(over="ignore"):
        return np.asarray(array, np.float16).astype(np.float32)


def the_format_of(narrow) -> tuple[str, float]:
    """What the probe says of hardware that narrows its inputs so, and sums in FP32."""
    x, weight = precision.random_pair("fp32")

    def product(left):
        with np.errstate(invalid="ignore"):
            return narrow(left) @ narrow(weight)

    bits = precision.effective_bits(x, weight, product(x))
    mantissa = precision.mantissa_bits("fp32", product(precision.fine_input("fp32")))
    return precision.fp32_format(mantissa, bits, float(product(precision.large_input())[0, -1])), bits


@pytest.mark.parametrize("narrow", [fp32, tf32, fp16, bf16])
def test_hardware_that_narrows_its_inputs_is_caught_by_name(narrow):
    assert the_format_of(narrow)[0] == narrow.__name__


def test_what_hands_fine_numbers_through_and_sums_coarsely_is_not_fp32():
    assert precision.fp32_format(mantissa=23, bits=11.4, large=131008.0) == "fp16"


def test_what_fits_no_format_is_unknown():
    assert precision.fp32_format(mantissa=4, bits=5.0, large=precision.LARGE) == "unknown"
    assert precision.fp16_format(mantissa=4, chained=0.0) == "unknown"


def products_in_a_row(between) -> float:
    x, first, second = (part.astype(np.float32) for part in precision.chain())
    return float((between(x @ first) @ second)[0, 0])


def test_fp16_kept_in_fp32_between_two_products_is_told_from_fp16_that_is_rounded():
    assert precision.fp16_format(10, products_in_a_row(fp32)) == "fp32 between casts"
    assert precision.fp16_format(10, products_in_a_row(fp16)) == "fp16"


def test_fp16_that_is_computed_in_bf16_loses_its_last_bits():
    _, weight = precision.random_pair("fp16")
    product = bf16(precision.fine_input("fp16")) @ bf16(weight)
    assert precision.fp16_format(precision.mantissa_bits("fp16", product), 0.0) == "bf16"


def test_bits_count_what_survives_and_an_exact_product_has_them_all():
    x, weight = precision.random_pair("fp32")
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    assert precision.effective_bits(x, weight, exact) == 53
    assert precision.effective_bits(x, weight, exact * np.nan) == 0
    assert 11 < precision.effective_bits(x, weight, exact * (1 + 2.0**-12)) < 13
