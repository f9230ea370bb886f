"""Judge each operator case on each target from its observation (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from bench.conformance import text
from bench.judge.placement import split
from bench.records import (
    NEWER_MODEL,
    Case,
    CaseDone,
    CaseOutcome,
    CaseSeen,
    Deviation,
    Failure,
    Margin,
    Note,
    OperatorRun,
    OperatorVerdict,
    note,
)

VERDICTS: tuple[OperatorVerdict, ...] = get_args(OperatorVerdict)
"""In the order of counts and tables, which is that of the record; `text.MEANINGS` has their meanings."""
SUPPORTED: OperatorVerdict = "full"
"""The only verdict that counts as support of the operator by the provider."""
RIGHT: tuple[OperatorVerdict, ...] = ("full", "partial", "elsewhere", "folded", "unplaced")

TWO_BFLOAT16_STEPS = 2.0**-6
FLOAT16_MARGIN = Margin(rtol=2.0**-8, atol=2.0**-10)
BFLOAT16_MARGIN = Margin(rtol=TWO_BFLOAT16_STEPS, atol=2.0**-7)
"""Permitted errors of 16-bit outputs; ONNX's own margins (relative 1e-3) are made for FP32.

FP16 has 11 significant bits, so neighbouring values differ by 2^-10, relatively. A sum of rounded terms may be off by
four such steps; the absolute part is one step at 1.0, for terms that nearly cancel. BF16 has 8 significant bits, so
neighbouring values differ by 2^-7; ONNX's own test runner permits two steps.
"""
FP32_STEP = 2.0**-23
# The Fourier transforms of the CPU provider have such errors.
ROUNDING_STEPS = 8
"""Another order of additions explains an error of up to this many FP32 steps of an output's largest value."""


def margins(case: Case) -> dict[str, Margin]:
    """The permitted error of each element type of a case's outputs; other types must be exact."""
    own = Margin(case.rtol, case.atol)
    return {
        "float32": own,
        "float64": own,
        "complex64": own,
        "complex128": own,
        # A case whose own margin is wider than that of its type keeps it.
        "float16": _wider(FLOAT16_MARGIN, own),
        "bfloat16": _wider(BFLOAT16_MARGIN, own),
    }


def coarse() -> Margin:
    """The error up to which an FP32 output is called coarse, not wrong."""
    return FLOAT16_MARGIN


def _wider(own: Margin, other: Margin) -> Margin:
    return Margin(max(own.rtol, other.rtol), max(own.atol, other.atol))


def judge(run: OperatorRun, observations: Iterable[CaseSeen]) -> tuple[CaseOutcome, ...]:
    """Judge every case on every target that was tried, in the order of targets, then of the suite."""
    by_target_and_case: Mapping[tuple[str, str], CaseSeen] = {
        (case_seen.target, case_seen.case): case_seen for case_seen in observations
    }
    return tuple(
        verdict(target.name, target.provider.ep, case, by_target_and_case.get((target.name, case.name)))
        for target in run.targets
        if target.tried
        for case in run.suite.cases
    )


def verdict(target: str, ep: str, case: Case, observation: CaseSeen | None) -> CaseOutcome:
    """Judge one case. `observation` is None if the run ended before the case."""
    if observation is None:
        return _outcome(target, case, "not-run", note("not-reached"))
    died = (observation.first_death,) if observation.first_death else ()
    if observation.done is None:
        if observation.failure is None:
            return _outcome(target, case, "refused", note("no-answer"), *died)
        return _outcome(target, case, _failed(observation.failure), _failure(observation.failure), *died)
    return _answered(target, ep, case, observation.done, died)


def _outcome(target: str, case: Case, verdict: OperatorVerdict, *facts: Note) -> CaseOutcome:
    return CaseOutcome(target, case, verdict, text.joined(facts), facts=facts)


def _failed(failure: Failure) -> OperatorVerdict:
    """The verdict on a case that failed."""
    if failure.kind == "not-run":
        return "not-run"
    if failure.status in ("crashed", "timeout"):
        return "crashed" if failure.status == "crashed" else "timeout"
    if failure.kind == "TypeError" and failure.stage == "run":
        return "not-run"  # Python's API refuses the input data, which does not depend on the provider
    return "newer" if failure.kind == NEWER_MODEL else "refused"


def _failure(failure: Failure) -> Note:
    if failure.status in ("crashed", "timeout"):
        return note("ended-at-stage", text=failure.message, stage=failure.stage)
    return note("text", text=failure.message)


def _answered(target: str, ep: str, case: Case, done: CaseDone, died: tuple[Note, ...]) -> CaseOutcome:
    # An onnxruntime that cannot tell the placement proves no support, however right the answer is.
    parts = split(done.placement, ep) if done.placement else None
    # One output stands for the case in tables; the verdict below looks at all of them.
    worst = max(done.deviations, key=_badness, default=None)
    is_wrong = worst is not None and bool(worst.problem or worst.outside)
    # The list agrees with `nodes_elsewhere`, which counts nodes that handle shapes and constants too.
    away = parts.fallback_ops + parts.bookkeeping_ops if parts else ()
    placed = _placed(parts.on_target, parts.elsewhere) if parts else "unplaced"
    facts = _wrong(worst, placed, parts.others if parts else ()) if worst and is_wrong else _right(case)
    facts += died
    return CaseOutcome(
        target=target,
        case=case,
        verdict=_wrongness(done.deviations) if is_wrong else placed,
        message=text.joined(facts),
        facts=facts,
        nodes_on_target=parts.on_target if parts else None,
        nodes_elsewhere=parts.elsewhere if parts else None,
        elsewhere_ops=away,
        max_abs_error=worst.max_abs_error if worst else None,
        outside=worst.outside if worst else None,
        values=worst.values if worst else None,
        type=worst.type if worst else None,
    )


def _wrongness(deviations: tuple[Deviation, ...]) -> OperatorVerdict:
    """`coarse` if computing in fewer bits explains all errors, else `wrong`."""
    off = [deviation for deviation in deviations if deviation.problem or deviation.outside]
    # `outside_coarse` is None for all types but FP32 and FP64: integers are never coarse.
    return "coarse" if all(deviation.outside_coarse == 0 and not deviation.problem for deviation in off) else "wrong"


def _placed(on_target: int, elsewhere: int) -> OperatorVerdict:
    if on_target:
        return "partial" if elsewhere else "full"
    # No node at all was left to place: optimizations had computed the answer.
    return "elsewhere" if elsewhere else "folded"


def _badness(deviation: Deviation) -> tuple[bool, bool, int, float]:
    """A sort key of deviations, the worst last. Being worse than coarse counts more than the number of wrong values."""
    outside = deviation.outside if deviation.outside_coarse is None else deviation.outside_coarse
    return deviation.problem is not None, bool(outside), deviation.outside, deviation.max_abs_error or 0.0


def _right(case: Case) -> tuple[Note, ...]:
    return (note("random-values"),) if case.random else ()


def _wrong(worst: Deviation, placed: OperatorVerdict, others: tuple[str, ...]) -> tuple[Note, ...]:
    """The notes on a wrong answer, with the providers that computed it if the target did not."""
    where = (note("computed-by", providers=others),) if placed == "elsewhere" else ()
    if worst.problem:
        return (note("wrong-output", output=worst.output), worst.problem, *where)
    values = note(
        "values-off",
        output=worst.output,
        outside=worst.outside,
        values=worst.values,
        is_text=worst.type == "string",
        error=worst.max_abs_error,
        largest=worst.largest,
        is_rounding=_is_rounding(worst),
    )
    return (values, *where)


def _is_rounding(worst: Deviation) -> bool:
    """Whether FP32 rounding alone explains the error, although it is outside the case's own margin."""
    if worst.type != "float32" or worst.max_abs_error is None or not worst.largest:
        return False
    return worst.max_abs_error <= ROUNDING_STEPS * FP32_STEP * worst.largest
