"""Compares the outputs of a target with those of the reference, each by itself, and tells which one decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bench.records import OutputParity, Parity, Tolerance, note
from bench.worker import output_facts, parity_output
from bench.worker.feeds import Feed
from bench.worker.output_facts import OutputFacts
from bench.worker.parity_output import Distance
from bench.worker.refusal import Refusal

NO_FACTS: Mapping[str, OutputFacts] = {}


def compare(
    expected: Sequence[Feed],
    actual: Sequence[Feed],
    tolerance: Tolerance,
    reference: str,
    facts: Mapping[str, OutputFacts] = NO_FACTS,
) -> Parity:
    """Compare the outputs of every batch: arrays of shape (samples, …) by the name of the output.

    Raises ValueError where the numbers of batches differ, and Refusal where the reference holds no finite number.
    """
    if not expected or len(expected) != len(actual):
        raise ValueError(f"the reference has {len(expected)} batches, the output {len(actual)}")
    names = list(dict.fromkeys(name for batch in (*expected, *actual) for name in batch))
    outputs = tuple(_output(name, expected, actual, output_facts.of(facts, name), tolerance) for name in names)
    if not outputs:
        raise ValueError("the reference holds no output to compare")
    _check_reference(expected)
    decides = max(outputs, key=lambda output: strain(output, tolerance))
    relative = decides.relative_error
    return Parity(
        samples=decides.samples,
        finite=not any(output.fault and output.fault.kind == "output-not-finite" for output in outputs),
        max_abs_error=decides.max_abs_error,
        relative_error=relative,
        cosine=decides.cosine,
        # An error of zero has no logarithm, and so no number of bits.
        effective_bits=-math.log2(relative) if relative else None,
        tolerance=tolerance,
        reference=reference,
        # A classifier may have other outputs that decide; its best class is a figure of its own.
        top1_agreement=_lowest([output.top1_agreement for output in outputs]),
        top5_agreement=_lowest([output.top5_agreement for output in outputs]),
        agreement=_lowest([output.agreement for output in outputs]),
        found=_found(names, expected),
        decides=decides.name,
        outputs=outputs,
    )


def strain(output: OutputParity, limit: Tolerance) -> float:
    """How far an output is from the reference, as a share of what the tolerance allows: above 1 is outside it."""
    if output.random:
        return -1.0
    if output.fault:
        return math.inf
    if output.agreement is not None:
        least = 1.0 if limit.min_agreement is None else limit.min_agreement
        return parity_output.share_of(1 - output.agreement, 1 - least)
    if output.cosine is None:
        return 0.0
    distance = Distance(output.max_abs_error or 0.0, output.relative_error, output.cosine)
    return parity_output.float_strain(distance, output.bounded_by, limit)


def _output(
    name: str, expected: Sequence[Feed], actual: Sequence[Feed], facts: OutputFacts, limit: Tolerance
) -> OutputParity:
    """One output over all batches; an output that one side lacks is at fault."""
    rights, givens = [batch.get(name) for batch in expected], [batch.get(name) for batch in actual]
    known = next((array for array in (*rights, *givens) if array is not None), None)
    assert known is not None
    missing = any(array is None for array in givens)
    if missing or any(array is None for array in rights):
        fault = note("output-missing") if missing else note("output-additional")
        samples = sum(len(array) if array.ndim else 1 for array in (*rights, *givens) if array is not None)
        return OutputParity(name, parity_output.kind_of(known), samples, 0, fault=None if facts.random else fault)
    present = [[array for array in side if array is not None] for side in (rights, givens)]
    return parity_output.compare(name, present[0], present[1], facts, limit)


def _check_reference(expected: Sequence[Feed]) -> None:
    """Refuse a reference whose values are all NaN or infinite: every answer would agree with it."""
    floats = [
        array
        for batch in expected
        for array in batch.values()
        if array.size and parity_output.kind_of(array) == "float"
    ]
    others = any(
        array.size and parity_output.kind_of(array) != "float" for batch in expected for array in batch.values()
    )
    if floats and not others and not any(np.isfinite(np.asarray(array, np.complex128)).any() for array in floats):
        message = "the reference itself holds no finite number; nothing can be compared with it"
        raise Refusal("unsupported", message, "give the model inputs for which it has an answer", "no-reference")


def _lowest(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _found(names: Sequence[str], expected: Sequence[Feed]) -> float | None:
    """Share of the batches in which every output has values; None where no output is ever empty."""
    empty = [any(name in batch and batch[name].size == 0 for name in names) for batch in expected]
    return 1 - sum(empty) / len(empty) if any(empty) else None
