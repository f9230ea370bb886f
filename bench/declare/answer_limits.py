"""The limits on answers that follow from the number format alone, for every family: exact values, and `approximate`."""

from __future__ import annotations

from msgspec.structs import replace

from bench.records import Tolerance, Weights

# Sigmoid, Softmax and Tanh give numbers of the size of 1, of which FP32 has 24 bits: 6e-8. The input of such an
# operator carries the rounding of the whole network. Measured with real detectors and classifiers in FP32 on the CPU:
# up to 4e-6. An error of FP16 arithmetic starts at 5e-4, so nothing coarser than FP32 is excused.
BOUNDED_ERROR = {"fp32": 1e-5}
"""The absolute error that is right on an output whose last operator fixes its range."""

# Integers, booleans and texts are choices, such as the best class: a choice between two values that are nearly equal
# may differ in lower precision, and is right there. FP32 has no such excuse. The shares are those of classifiers:
# FP16 changes less than one choice in a hundred, INT8 up to one in ten with a good recipe, 4 bits one in five.
EXACT_AGREEMENT = {"fp32": 1.0, "fp16": 0.95, "bf16": 0.9, "int8": 0.75, "int6": 0.7, "int5": 0.65, "int4": 0.6}
"""Share of values that are compared exactly and must agree; a format that is not listed must agree in all."""

# A user sees the best class and the text. Where more than one choice in ten is another, or the text leaves the
# reference's in its first eighth (8 of 64 tokens: what 89 % equal choices give on average), the answer is visibly
# another one, even where it is within what the precision allows. FP32 is right or wrong, and never approximate.
CLEAR_AGREEMENT = 0.9
CLEAR_TOKENS = 0.125
# Text that the reference writes has a perplexity that is exp(KL) times higher under the other model. Up to 5 % nobody
# sees: with trained weights FP16 has 0.002 %, BF16 0.1 %, 8 bits 0.5 to 2 %; 4 bits start at 10 % (docs/generation.md).
CLEAR_KL = 0.05
EXACT_FORMATS = frozenset({"fp32"})
"""Number formats that are never `approximate`."""


def completed(limit: Tolerance, number_format: str) -> Tolerance:
    """The tolerance with the limits of its number format where it sets none itself."""
    exact = number_format in EXACT_FORMATS
    own = {
        "max_bounded_error": BOUNDED_ERROR.get(number_format),
        "min_agreement": EXACT_AGREEMENT.get(number_format),
        "clear_agreement": None if exact else CLEAR_AGREEMENT,
        "clear_tokens": None if exact else CLEAR_TOKENS,
        "clear_kl": None if exact else CLEAR_KL,
    }
    return replace(limit, **{name: value for name, value in own.items() if getattr(limit, name) is None})


def for_weights(limit: Tolerance, weights: Weights) -> Tolerance:
    """The tolerance for a model with random or with pretrained weights."""
    lower = limit.max_kl_random
    return replace(limit, max_kl=lower) if weights == "random" and lower is not None else limit
