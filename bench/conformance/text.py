"""Turn the verdicts and notes of operator conformance into words (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.records import Note, OperatorVerdict
from bench.report import text_differences
from bench.report.text_notes import Words

MEANINGS: dict[OperatorVerdict, str] = {
    "full": "right, with every node on the provider",
    "partial": "right, with some nodes on the provider and some elsewhere",
    "elsewhere": "right, but no node of it was on the provider: another one computed it",
    "folded": "right, but ONNX Runtime had optimized every node away before any provider was asked",
    "unplaced": "right, but this onnxruntime cannot say where it was computed",
    "coarse": "it ran, and its FP32 answer is within the tolerance of FP16 only: rounded, or computed in fewer bits",
    "wrong": "it ran, and its answer is outside the tolerance of its type",
    "refused": "it could not be loaded or run: the first line of the error says why",
    "newer": "this onnxruntime does not know the opset or the IR version of the case yet",
    "crashed": "the process died",
    "timeout": "no answer in the time that a case has",
    "not-run": "it was not tried, or cannot be",
}
"""The meaning of each verdict, in the order of `verdicts.VERDICTS`."""


def say(note: Note) -> str:
    """The words of a note of a case."""
    return text_differences.say(note, WORDS if note.kind in WORDS else text_differences.WORDS)


def joined(facts: Sequence[Note]) -> str:
    """The words of the notes of a case on one line; a problem of an output follows the output's name after a colon."""
    parts: list[str] = []
    for fact in facts:
        # Each fact so far has one part, so this is the fact before the present one.
        if parts and facts[len(parts) - 1].kind == "wrong-output":
            parts.append(f": {say(fact)}")
        else:
            parts.append(f"; {say(fact)}" if parts else say(fact))
    return "".join(parts)


def _values_off(
    output: str,
    outside: int,
    values: int,
    is_text: bool,
    error: float | None,
    largest: float | None,
    is_rounding: bool,
) -> str:
    counted = f"output {output}: {outside} of {values} values are off"
    if is_text:
        return counted
    if error is None:
        return f"{counted}, where one of the two is not finite"
    size = f", of values up to {largest:.3g}" if largest else ""
    rounding = " (no more than FP32 rounding of the largest)" if is_rounding else ""
    return f"{counted}, by {error:.3g} at most{size}{rounding}"


def _other_length(length: int | None, expected: int) -> str:
    actual = "no sequence" if length is None else f"a sequence of {length}"
    return f"{actual}, and a sequence of {expected} is expected"


def _other_type(element: str | None, expected: str, is_tensor: bool) -> str:
    actual = element or ("nothing that can be read" if is_tensor else "no tensor")
    return f"{actual}, and {expected} is expected"


def _listed(providers: Iterable[str]) -> str:
    return ", ".join(providers)


WORDS: dict[str, Words] = {
    # An answer.
    "random-values": lambda: "its values are random: only type and shape were compared",
    "wrong-output": lambda output: f"output {output}",
    "values-off": _values_off,
    "unexpected-value": lambda: "a value where nothing is expected",
    "other-length": _other_length,
    "other-type": _other_type,
    "other-shape": lambda shape, expected: f"shape {shape}, and {expected} is expected",
    "computed-by": lambda providers: f"computed by {_listed(providers)}",
    # No answer.
    "ended-at-stage": lambda text, stage: f"{text}, at stage '{stage}'",
    "no-answer": lambda: "the worker gave no answer",
    "not-reached": lambda: "the run ended before its turn",
    "first-try-died": lambda how, stage, cases: (
        f"the first try died ({how}, at stage '{stage}'), in a process that had run {cases} other cases"
    ),
    "cases-lost": lambda count, last: f"not tried: {count} cases in a row were lost before it, the last with '{last}'",
    "cases-timed-out": lambda count: f"not tried: {count} cases before it did not end",
}
"""The words of each kind, by the parameters of its note."""
