"""Decides the verdict on one cell: the first rule that applies gives it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from bench.judge import placement
from bench.judge.number_formats import COARSER, executed, number_format
from bench.judge.optimization import optimization_fault, optimizers_at_fault
from bench.judge.speed import Medians
from bench.judge.tolerance import checked, differences, quality, random_outputs, violations
from bench.records import Cell, Device, Failure, Note, Observation, Status, TargetFacts, note
from bench.shared.native_errors import first_sentence

# From the most severe to the least. `_status` takes a status that is missing here for `failed`.
SEVERITY: tuple[Status, ...] = ("crashed", "out-of-memory", "timeout", "failed", "unavailable", "unsupported")
SEE_LOG = note("see-log")
# Some libraries write error lines without end; the failure beside the reason keeps the whole message.
REASON_CHARACTERS = 400


class Case(Struct, frozen=True):
    """A cell with its observations, one for each round, in the order of rounds."""

    cell: Cell
    observations: tuple[Observation, ...]
    medians: Medians
    run: str
    facts: TargetFacts | None = None
    """What a probe found about the cell's target."""

    @property
    def timed(self) -> tuple[Observation, ...]:
        """The observations that hold a usable timing."""
        return tuple(observation for observation in self.observations if observation.round in self.medians)


class Verdict(Struct, frozen=True):
    """A status, why, what to do about it, and the failure behind it."""

    status: Status
    reason: Note
    remedy: Note | None = None
    failure: Failure | None = None


def verdict(case: Case) -> Verdict:
    """The verdict of the first rule that applies; an earlier rule outranks a later one."""
    return next(decision for rule in RULES if (decision := rule(case)) is not None)


# --- the rules, the strongest first ----------------------------------------------------------------------------------


def excluded(case: Case) -> Verdict | None:
    """A rule of the matrix took the cell out."""
    return None if case.cell.excluded is None else Verdict("excluded", note("text", text=case.cell.excluded))


def unavailable(case: Case) -> Verdict | None:
    """The probe did not find the target, and the cell has no observation that could say more."""
    if case.observations or case.facts is None or case.facts.available:
        return None
    facts = case.facts
    failure = Failure("unavailable", "target", facts.kind, facts.message, facts.remedy)
    return Verdict("unavailable", note("text", text=_first_line(failure)), _quoted(facts.remedy), failure)


def unmeasured(case: Case) -> Verdict | None:
    """The cell has no observation: the run was interrupted before its turn, which says nothing about the cell."""
    if case.observations:
        return None
    return Verdict("not-measured", note("not-measured"), note("resume", run=case.run))


def failed_round(case: Case) -> Verdict | None:
    """A round failed. One is enough: a cell that crashes sometimes does not work."""
    failures = [observation.failure for observation in case.observations if observation.failure is not None]
    if not failures:
        return None
    # A crash outranks other failures of the same cell.
    worst = min(failures, key=lambda failure: SEVERITY.index(_status(failure)))
    status = _status(worst)
    times = sum(_status(failure) == status for failure in failures)
    rounds = len(case.observations)
    reason = note("failed-at-stage", stage=worst.stage, text=_first_line(worst), times=times, rounds=rounds)
    return Verdict(status, reason, _other_level(case) or _quoted(worst.remedy), worst)


def untimed(case: Case) -> Verdict | None:
    """No round failed, and none has a usable timing.

    A single round without a timing is no failure while others have one.
    """
    if case.timed:
        return None
    return _failed("untimed", note("no-timed-call"), SEE_LOG)


def unchecked(case: Case) -> Verdict | None:
    """A timed round has no check of its answers; its time is never shown, even if other rounds were checked."""
    rounds = case.timed
    missing = sum(observation.parity is None or observation.parity.samples < 1 for observation in rounds)
    if not missing:
        return None
    return _failed("unchecked", note("unchecked-answers", times=missing, rounds=len(rounds)), SEE_LOG)


def on_other_device(case: Case) -> Verdict | None:
    """A round was timed on another device than the row names; an emulated device always is another one."""
    requested = None if case.cell.emulated else case.cell.device
    strange = [
        observation.device
        for observation in case.timed
        if requested and observation.device and not _is_requested(observation.device, requested)
    ]
    if not strange:
        return None
    reason = note("other-device", device=strange[0].label, asked=requested, times=len(strange), rounds=len(case.timed))
    return _failed("other-device", reason, SEE_LOG)


def off_target(case: Case) -> Verdict | None:
    """No node that computes was on the provider, so the times are those of another provider (see PROVIDERS 2)."""
    parts = _split(case)
    if parts is None or not parts.absent:
        return None
    if parts.on_target:
        reason = note("only-shapes-on-target", target=case.cell.provider, others=parts.others)
    else:
        reason = note("no-node-on-target", target=case.cell.provider, others=parts.others)
    failure = Failure("unsupported", "placement", "fallback", message="")
    return Verdict("unsupported", reason, note("check-provider"), failure)


def inaccurate(case: Case) -> Verdict | None:
    """The answers of at least one round are outside the tolerance of the precision."""
    compared = checked(case.observations)
    wrong = [parity for parity in compared if violations(parity)]
    if not wrong:
        return None
    worst = violations(min(wrong, key=quality))
    reason = note("out-of-tolerance", *worst, reference=wrong[0].reference, times=len(wrong), rounds=len(compared))
    return Verdict("inaccurate", reason, _other_level(case) or _full_precision(case) or note("try-other-recipe"))


def random_answers(case: Case) -> Verdict | None:
    """The model gives another answer each time, so no reference can check it; its speed is shown, but never ranked."""
    outputs = dict.fromkeys(name for parity in checked(case.observations) for name in random_outputs(parity))
    if not outputs:
        return None
    return Verdict("unchecked", note("random-model", outputs=tuple(outputs)), note("make-deterministic"))


def approximate(case: Case) -> Verdict | None:
    """The answers of at least one round are within the tolerance, and yet visibly other answers."""
    compared = checked(case.observations)
    other = [parity for parity in compared if differences(parity)]
    if not other:
        return None
    worst = differences(min(other, key=quality))
    # The placement is said here too, because this status hides those of the rules below.
    lower = next((fact for rule in PLACEMENT_RULES if (fact := rule(case)) is not None), None)
    parts = (*worst, lower.reason) if lower else tuple(worst)
    reason = note("visibly-other", *parts, reference=other[0].reference, times=len(other), rounds=len(compared))
    return Verdict("approximate", reason, note("judge-by-task"))


def without_placement(case: Case) -> Verdict | None:
    """The answers are right, but the placement is unknown.

    The cell is not `failed`, because an older onnxruntime of a vendor cannot report the placement, and its numbers are
    still useful. It is never `ok`, because a silent fallback looks the same.
    """
    rounds = case.timed
    unknown = sum(not placement.known(observation) for observation in rounds)
    if case.cell.provider is None or not unknown:
        return None
    return Verdict("partial", note("placement-not-told", times=unknown, rounds=len(rounds)), note("newer-onnxruntime"))


def partly_off_target(case: Case) -> Verdict | None:
    """The answers are right, and other providers did a part of the work."""
    placed = placement.worst(case.observations, case.cell.provider)
    parts = _split(case)
    if placed is None or parts is None or not parts.fallback_nodes:
        return None
    reason = note(
        "fell-back",
        note("cost-elsewhere", time_share=placed.time_elsewhere, copies=placed.copies),
        nodes=parts.fallback_nodes,
        total=parts.on_target + parts.elsewhere,
        others=parts.others,
        ops=parts.fallback_ops,
    )
    return Verdict("partial", reason, note("try-other-opset"))


def passed(case: Case) -> Verdict:
    """The answers are right, and the target alone computed them."""
    parts = _split(case)
    if parts is None:
        return Verdict("ok", note("within-tolerance"))
    # Shape ops are mentioned only where some of them were elsewhere.
    excused = parts.bookkeeping_ops if parts.elsewhere else ()
    return Verdict("ok", note("every-node-on-target", target=case.cell.provider, shape_ops=excused))


PLACEMENT_RULES: tuple[Callable[[Case], Verdict | None], ...] = (without_placement, partly_off_target)
RULES: tuple[Callable[[Case], Verdict | None], ...] = (
    # First, because a file may hold rounds of a cell that a rule excludes.
    excluded,
    unavailable,
    unmeasured,
    # Before the answers: a cell that sometimes fails does not work, however right its other rounds are.
    failed_round,
    untimed,
    unchecked,
    on_other_device,
    # Before the answers: wrong answers of another provider are not the target's.
    off_target,
    # Before the rules on a part of the nodes: right answers come first.
    inaccurate,
    # After wrong answers: of a model with several outputs, one may be random and another wrong.
    random_answers,
    # Before the placement: how good the answers are comes first.
    approximate,
    *PLACEMENT_RULES,
    passed,
)


# --- helpers of the rules ---------------------------------------------------------------------------------------------


def _status(failure: Failure) -> Status:
    """The failure's status; one that no failure can have, such as `ok` in a file from elsewhere, counts as `failed`."""
    return failure.status if failure.status in SEVERITY else "failed"


def _failed(kind: str, reason: Note, remedy: Note) -> Verdict:
    """A failure that judging finds; it has no error message besides the reason."""
    return Verdict("failed", reason, remedy, Failure("failed", "measure", kind, message=""))


def _quoted(remedy: str) -> Note | None:
    """A remedy as the code that met the failure worded it."""
    return note("text", text=remedy) if remedy else None


def _other_level(case: Case) -> Note | None:
    """The level of optimization at which the cell would be right, where the matrix sets another; else None."""
    fact = optimization_fault(case.observations)
    if fact is None or fact.values.get("measured"):
        return None
    return note("set-optimization", works=fact.values["works"], optimizers=optimizers_at_fault(fact))


def _full_precision(case: Case) -> Note | None:
    """That the target computes in fewer bits than the cell asks for; None where the probe did not measure that."""
    asked, format_used = number_format(case.cell), executed(case.cell, case.facts)
    if format_used not in COARSER.get(asked, ()):
        return None
    return note("full-precision", asked=asked, executed=format_used)


def _first_line(failure: Failure) -> str:
    lines = [line.strip() for line in failure.message.splitlines() if line.strip()]
    # A process that was killed leaves no message.
    line = first_sentence(lines) if lines else failure.signal or failure.kind
    return line if len(line) <= REASON_CHARACTERS else f"{line[:REASON_CHARACTERS]}…"


def _split(case: Case) -> placement.Split | None:
    placed = placement.worst(case.observations, case.cell.provider)
    return None if placed is None or case.cell.provider is None else placement.split(placed, case.cell.provider)


def _is_requested(device: Device, requested: str) -> bool:
    """Whether the device `gpu.1` is what `gpu.1` or `gpu` requests.

    An index alone counts devices of all types, so it matches every device.
    """
    kind, _, index = requested.partition(".")
    if kind.isdigit():
        return True
    return device.type == kind and index in {"", str(device.index)}
