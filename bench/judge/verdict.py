"""All that was seen of one cell in, its verdict out: what the first rule that applies says."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from bench.judge import placement
from bench.judge.speed import Medians
from bench.judge.tolerance import checked, faults, quality
from bench.records import Cell, Device, Failure, Observation, Placement, Status, TargetFacts

SEVERITY: tuple[Status, ...] = ("crashed", "out-of-memory", "timeout", "failed", "unavailable", "unsupported")
SPEAKS_FOR_ITSELF = ("target", "placement")
"""Stages whose failures say of themselves what they are about."""
SEE_LOG = "see the cell's log in the run's folder"
REASON_CHARACTERS = 400
REASON_OPS = 5
UNPROFILED = "their share of the time cannot be told: no call was profiled"


class Case(Struct, frozen=True):
    """A cell with all that was seen of it, one observation a round, in the rounds' order."""

    cell: Cell
    seen: tuple[Observation, ...]
    medians: Medians
    run: str
    facts: TargetFacts | None = None
    """What a probe found of the cell's target."""

    @property
    def timed(self) -> tuple[Observation, ...]:
        """The observations that hold a usable timing."""
        return tuple(one for one in self.seen if one.round in self.medians)


class Verdict(Struct, frozen=True):
    """A status, why, what to do about it, and the failure behind it."""

    status: Status
    reason: str
    remedy: str = ""
    failure: Failure | None = None


def verdict(case: Case) -> Verdict:
    """What the first rule that applies says; the rules' order is the order of what outranks what."""
    return next(found for rule in RULES if (found := rule(case)) is not None)


# --- the rules, from what says most to what says least ---------------------------------------------------------------


def excluded(case: Case) -> Verdict | None:
    """A rule of the matrix took the cell out."""
    return None if case.cell.excluded is None else Verdict("excluded", case.cell.excluded)


def absent(case: Case) -> Verdict | None:
    """The probe found no such target, and nothing was seen of the cell that could say more."""
    if case.seen or case.facts is None or case.facts.available:
        return None
    facts = case.facts
    failure = Failure("unavailable", "target", facts.kind, facts.message, facts.remedy)
    return Verdict("unavailable", _first_line(failure), facts.remedy, failure)


def unmeasured(case: Case) -> Verdict | None:
    """Nothing was seen of the cell at all."""
    if case.seen:
        return None
    remedy = f"go on with `bench run --resume {case.run}`"
    return _failed("not-measured", "not measured: the run ended before its turn", remedy)


def went_wrong(case: Case) -> Verdict | None:
    """One failed round is enough: a cell that crashes now and then does not work."""
    failures = [one.failure for one in case.seen if one.failure is not None]
    if not failures:
        return None
    worst = min(failures, key=lambda failure: SEVERITY.index(_status(failure)))
    status = _status(worst)
    times = sum(_status(failure) == status for failure in failures)
    reason = f"{_first_line(worst)}{_share(times, len(case.seen))}"
    return Verdict(
        status, reason if worst.stage in SPEAKS_FOR_ITSELF else f"{worst.stage}: {reason}", worst.remedy, worst
    )


def untimed(case: Case) -> Verdict | None:
    """No round failed, and none has a usable timing either.

    A single round without one is no fault while others have it: memory and power are sampled in rounds of their own.
    """
    if case.timed:
        return None
    return _failed("untimed", "the worker answered without a single timed call", SEE_LOG)


def unchecked(case: Case) -> Verdict | None:
    """A number without a check is never shown, not even beside rounds that were checked."""
    rounds = case.timed
    missing = sum(one.parity is None or one.parity.samples < 1 for one in rounds)
    if not missing:
        return None
    reason = f"timed, but its answers were not checked against the reference{_share(missing, len(rounds))}"
    return _failed("unchecked", reason, SEE_LOG)


def strayed(case: Case) -> Verdict | None:
    """Timed on another device than the row names: no number of this row. An emulator is another by its nature."""
    asked = None if case.cell.emulated else case.cell.device
    strange = [one.device for one in case.timed if asked and one.device and not _is_asked_for(one.device, asked)]
    if not strange:
        return None
    share = _share(len(strange), len(case.timed))
    return _failed("other-device", f"ran on {strange[0].label}, and the row asks for {asked}{share}", SEE_LOG)


def elsewhere(case: Case) -> Verdict | None:
    """Nothing that computes was on the provider: whatever was timed, it was another one (see PROVIDERS 2)."""
    parts = _split(case)
    if parts is None or not parts.absent:
        return None
    target, others = case.cell.provider, " and ".join(parts.others)
    reason = f"no node was placed on {target}: everything ran on {others}"
    if parts.on_target:
        reason = f"nothing but shapes and constants was placed on {target}: everything else ran on {others}"
    remedy = "check its options and libraries, and whether it needs fixed shapes; `bench doctor` tries it alone"
    return Verdict("unsupported", reason, remedy, Failure("unsupported", "placement", "fallback", reason, remedy))


def inaccurate(case: Case) -> Verdict | None:
    """The answers are outside the tolerance of their precision in at least one round."""
    compared = checked(case.seen)
    wrong = [parity for parity in compared if faults(parity)]
    if not wrong:
        return None
    why = " and ".join(faults(min(wrong, key=quality)))
    reason = f"{why}, against {wrong[0].reference}{_share(len(wrong), len(compared))}"
    return Verdict(
        "inaccurate", reason, "try other options of the recipe, another precision or another provider version"
    )


def unlocated(case: Case) -> Verdict | None:
    """Right answers, but not known from where.

    Not `failed`: a vendor's older onnxruntime cannot tell, and its numbers are of use to who knows the machine.
    Never `ok`: this is how a silent fallback looks.
    """
    rounds = case.timed
    unknown = sum(not placement.known(one) for one in rounds)
    if case.cell.provider is None or not unknown:
        return None
    reason = (
        f"ran and correct, but the runtime could not tell which provider ran the nodes{_share(unknown, len(rounds))}"
    )
    return Verdict("partial", reason, "use an onnxruntime that has `get_provider_graph_assignment_info`")


def fell_back(case: Case) -> Verdict | None:
    """Right answers, for which other providers did a part of the work."""
    placed = placement.worst(case.seen, case.cell.provider)
    parts = _split(case)
    if placed is None or parts is None or not parts.fallback_nodes:
        return None
    ops = _shortened(parts.fallback_ops)
    total = parts.on_target + parts.elsewhere
    reason = f"{parts.fallback_nodes} of {total} nodes fell back to {' and '.join(parts.others)}: {ops}; {cost(placed)}"
    return Verdict("partial", reason, "try another opset, recipe or provider version that takes these ops")


def cost(placed: Placement) -> str:
    """What the nodes elsewhere take, in words: copies and share of time, or that they cannot be told."""
    told = []
    if placed.time_elsewhere is not None:
        told.append(f"{_percent(placed.time_elsewhere)} of the time")
    if placed.copies is not None:
        told.append(f"{placed.copies} cop{'y' if placed.copies == 1 else 'ies'} between devices a call")
    return " and ".join(told) if placed.time_elsewhere is not None else ", ".join([*told, UNPROFILED])


def fine(case: Case) -> Verdict:
    """Right answers, from the target alone."""
    parts = _split(case)
    if parts is None:
        return Verdict("ok", "answers within tolerance")
    excused = f" but for {_shortened(parts.bookkeeping_ops)}, which handle shapes only" if parts.elsewhere else ""
    return Verdict("ok", f"every node on {case.cell.provider}{excused}; answers within tolerance")


RULES: tuple[Callable[[Case], Verdict | None], ...] = (
    excluded,
    absent,
    unmeasured,
    went_wrong,
    untimed,
    unchecked,
    strayed,
    elsewhere,
    inaccurate,
    unlocated,
    fell_back,
    fine,
)


# --- what the rules read ----------------------------------------------------------------------------------------------


def _status(failure: Failure) -> Status:
    """The failure's status; one that no failure can have, such as `ok` in a file from elsewhere, counts as `failed`."""
    return failure.status if failure.status in SEVERITY else "failed"


def _failed(kind: str, reason: str, remedy: str) -> Verdict:
    return Verdict("failed", reason, remedy, Failure("failed", "measure", kind, reason, remedy))


def _first_line(failure: Failure) -> str:
    lines = [line.strip() for line in failure.message.splitlines() if line.strip()]
    line = lines[0] if lines else failure.signal or failure.kind
    return line if len(line) <= REASON_CHARACTERS else f"{line[:REASON_CHARACTERS]}…"


def _share(times: int, rounds: int) -> str:
    return "" if times == rounds else f" (in {times} of {rounds} rounds)"


def _split(case: Case) -> placement.Split | None:
    found = placement.worst(case.seen, case.cell.provider)
    return None if found is None or case.cell.provider is None else placement.split(found, case.cell.provider)


def _is_asked_for(device: Device, asked: str) -> bool:
    """Whether `gpu.1` is what `gpu.1` or `gpu` asks for; an index alone counts all devices, so it cannot be told."""
    kind, _, index = asked.partition(".")
    if kind.isdigit():
        return True
    return device.type == kind and index in {"", str(device.index)}


def _shortened(ops: tuple[str, ...]) -> str:
    more = len(ops) - REASON_OPS
    ending = f" and {more} more op type{'' if more == 1 else 's'}" if more > 0 else ""
    return ", ".join(ops[:REASON_OPS]) + ending


def _percent(share: float) -> str:
    """`0.013 %`, `25 %`: two figures, and none after the point from ten up."""
    percent = share * 100
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
