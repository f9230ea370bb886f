"""What was seen of operator cases in, a verdict for each case on each target out (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bench.judge.placement import split
from bench.records import Case, CaseDone, CaseOutcome, CaseSeen, Deviation, Failure, Margin, OperatorRun, Verdict


class Meaning(NamedTuple):
    """What a verdict says, and whether it counts as support of the operator by the provider."""

    text: str
    supported: bool = False


VERDICTS: dict[Verdict, Meaning] = {
    "full": Meaning("right, with every node on the provider", supported=True),
    "partial": Meaning("right, with some nodes on the provider and some elsewhere"),
    "elsewhere": Meaning("right, but no node of it was on the provider: another one computed it"),
    "folded": Meaning("right, but ONNX Runtime had optimized every node away before any provider was asked"),
    "unplaced": Meaning("right, but this onnxruntime cannot say where it was computed"),
    "coarse": Meaning(
        "it ran, and its FP32 answer is within the tolerance of FP16 only: rounded, or computed in fewer bits"
    ),
    "wrong": Meaning("it ran, and its answer is outside the tolerance of its type"),
    "refused": Meaning("it could not be loaded or run: the first line of the error says why"),
    "newer": Meaning("this onnxruntime does not know the opset or the IR version of the case yet"),
    "crashed": Meaning("the process died"),
    "timeout": Meaning("no answer in the time that a case has"),
    "not-run": Meaning("it was not tried, or cannot be"),
}
"""In the order in which they are counted."""
RIGHT: tuple[Verdict, ...] = ("full", "partial", "elsewhere", "folded", "unplaced")

TWO_BFLOAT16_STEPS = 2.0**-6
FLOAT16_MARGIN = Margin(rtol=2.0**-8, atol=2.0**-10)
BFLOAT16_MARGIN = Margin(rtol=TWO_BFLOAT16_STEPS, atol=2.0**-7)
"""What outputs of 16 bits may be off; ONNX's own margins (relative 1e-3) are made for FP32.

FP16 has 11 significant bits: neighbours are 2^-10 apart, relatively. Four such steps are what a sum of rounded terms
may be off; the absolute part is one step at 1.0, for what cancels to nearly nothing. BF16 has 8 bits, neighbours are
2^-7 apart; two steps are what ONNX's own runner allows it.
"""
NEWER = re.compile(
    r"Unsupported model IR version|only \*guarantees\* support for models stamped with official released onnx opset"
    r"|Opset \d+ (?:of domain \S+ )?is under development"
)
FP32_STEP = 2.0**-23
ROUNDING_STEPS = 8
"""An error below so many FP32 steps of an output's largest value is what another order of additions makes."""
NOT_REACHED = "the run ended before its turn"


def margins(case: Case) -> dict[str, Margin]:
    """What each element type of a case's outputs may be off; types that are not named must be exact."""
    own = Margin(case.rtol, case.atol)
    return {
        "float32": own,
        "float64": own,
        "complex64": own,
        "complex128": own,
        "float16": _wider(FLOAT16_MARGIN, own),
        "bfloat16": _wider(BFLOAT16_MARGIN, own),
    }


def coarse() -> Margin:
    """What an FP32 output may be off to be called coarse, not wrong."""
    return FLOAT16_MARGIN


def _wider(one: Margin, other: Margin) -> Margin:
    return Margin(max(one.rtol, other.rtol), max(one.atol, other.atol))


def judge(run: OperatorRun, seen: Iterable[CaseSeen]) -> tuple[CaseOutcome, ...]:
    """One verdict for every case on every target that was tried, in the order of targets, then of the suite."""
    found: Mapping[tuple[str, str], CaseSeen] = {(one.target, one.case): one for one in seen}
    return tuple(
        verdict(target.name, target.provider.ep, case, found.get((target.name, case.name)))
        for target in run.targets
        if target.tried
        for case in run.suite.cases
    )


def verdict(target: str, ep: str, case: Case, seen: CaseSeen | None) -> CaseOutcome:
    """What was seen of one case, judged; a case that was not seen was not reached."""
    if seen is None:
        return CaseOutcome(target, case, "not-run", NOT_REACHED)
    if seen.done is None:
        failure = seen.failure or Failure("failed", "start", "unknown", "nothing was said of it")
        return CaseOutcome(target, case, _failed(failure), _joined(_told(failure), seen.note))
    return _answered(target, ep, case, seen.done, seen.note)


def _failed(failure: Failure) -> Verdict:
    """What a failure says of a case."""
    if failure.kind == "not-run":
        return "not-run"
    if failure.status in ("crashed", "timeout"):
        return "crashed" if failure.status == "crashed" else "timeout"
    if failure.kind == "TypeError" and failure.stage == "run":
        return "not-run"  # Python's API does not take the data: nothing is said of the provider
    return "newer" if NEWER.search(failure.message) else "refused"


def _told(failure: Failure) -> str:
    if failure.status in ("crashed", "timeout"):
        return f"{failure.message}, at stage '{failure.stage}'"
    return failure.message


def _answered(target: str, ep: str, case: Case, done: CaseDone, note: str) -> CaseOutcome:
    parts = split(done.placement, ep) if done.placement else None
    worst = max(done.deviations, key=_badness, default=None)
    is_wrong = worst is not None and bool(worst.problem or worst.outside)
    away = parts.fallback_ops + parts.bookkeeping_ops if parts else ()
    placed = _placed(parts.on_target, parts.elsewhere) if parts else "unplaced"
    told = _wrong(worst, placed, parts.others if parts else ()) if worst and is_wrong else _right(case)
    return CaseOutcome(
        target=target,
        case=case,
        verdict=_wrongness(done.deviations) if is_wrong else placed,
        message=_joined(told, note),
        nodes_on_target=parts.on_target if parts else None,
        nodes_elsewhere=parts.elsewhere if parts else None,
        elsewhere_ops=away,
        max_abs_error=worst.max_abs_error if worst else None,
        outside=worst.outside if worst else None,
        values=worst.values if worst else None,
        type=worst.type if worst else None,
    )


def _wrongness(deviations: tuple[Deviation, ...]) -> Verdict:
    """Whether what is off is no more than fewer bits explain."""
    off = [one for one in deviations if one.problem or one.outside]
    return "coarse" if all(one.outside_coarse == 0 and not one.problem for one in off) else "wrong"


def _placed(on_target: int, elsewhere: int) -> Verdict:
    if on_target:
        return "partial" if elsewhere else "full"
    return "elsewhere" if elsewhere else "folded"


def _badness(one: Deviation) -> tuple[bool, bool, int, float]:
    """What orders deviations, the worst last: what is more than coarse comes before what has more values off."""
    is_wrong = bool(one.outside if one.outside_coarse is None else one.outside_coarse)
    return bool(one.problem), is_wrong, one.outside, one.max_abs_error or 0.0


def _right(case: Case) -> str:
    return "its values are random: only type and shape were compared" if case.random else ""


def _wrong(worst: Deviation, placed: Verdict, others: tuple[str, ...]) -> str:
    """What is wrong with an answer, in words."""
    said = f"output {worst.output}: {_difference(worst)}"
    where = f"computed by {', '.join(others)}" if placed == "elsewhere" else ""
    return _joined(said, where)


def _difference(worst: Deviation) -> str:
    if worst.problem:
        return worst.problem
    counted = f"{worst.outside} of {worst.values} values are off"
    if worst.type == "string":
        return counted
    if worst.max_abs_error is None:
        return f"{counted}, where one of the two is not finite"
    size = f", of values up to {worst.largest:.3g}" if worst.largest else ""
    return f"{counted}, by {worst.max_abs_error:.3g} at most{size}{_rounding(worst)}"


def _rounding(worst: Deviation) -> str:
    """Whether an error is of the size that FP32 rounding alone explains, which the case's margin does not allow for."""
    if worst.type != "float32" or worst.max_abs_error is None or not worst.largest:
        return ""
    is_rounding = worst.max_abs_error <= ROUNDING_STEPS * FP32_STEP * worst.largest
    return " (no more than FP32 rounding of the largest)" if is_rounding else ""


def _joined(*said: str) -> str:
    return "; ".join(filter(None, said))
