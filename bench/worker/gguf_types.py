"""Tells in which number formats a GGUF file holds its weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

LEAST_SHARE = 0.005
"""Formats of fewer weights are not named: norms are FP32 in every file."""
BITS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "Q8_0": "int8", "Q6_K": "int6", "MXFP4": "fp4", "NVFP4": "fp4"}
"""The number format of a type whose name does not begin with its bits."""


def formats(reader: Any) -> tuple[str, ...]:
    """The types of the tensors, those of the most weights first; `reader` is gguf's."""
    counts: Counter[str] = Counter()
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name] += int(tensor.n_elements)
    return tuple(name for name, count in counts.most_common() if count >= LEAST_SHARE * counts.total())


def number_format(types: tuple[str, ...]) -> str:
    """The number format of most weights: `int4` for Q4_1, Q4_K and IQ4_XS."""
    first = types[0] if types else "F32"
    digits = "".join(letter for letter in first.partition("_")[0] if letter.isdigit())
    return BITS.get(first) or f"int{digits}"
