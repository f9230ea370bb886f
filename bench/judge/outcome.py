"""A run and its observations in, one `Outcome` for each planned cell out: verdict, reason, and what it permits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from msgspec import Struct

from bench.judge import placement, stats
from bench.judge.flags import Evidence, raised
from bench.judge.speed import Medians, controls, logs, round_medians, speed
from bench.records import Cell, Failure, Observation, Outcome, Parity, Run, Status

ANSWERED: tuple[Status, ...] = ("ok", "partial")
"""Only these show a speed: the answers are right, and they came from the target."""
SEVERITY: tuple[Status, ...] = ("crashed", "out-of-memory", "timeout", "failed", "unavailable", "unsupported")
SEE_LOG = "see the cell's log in the run's folder"
REASON_CHARACTERS = 400
REASON_OPS = 5


class Case(Struct, frozen=True):
    """A cell with all that was seen of it, one observation a round, in the rounds' order."""

    cell: Cell
    seen: tuple[Observation, ...]
    medians: Medians
    run: str

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


def judge(run: Run, observations: Sequence[Observation]) -> tuple[Outcome, ...]:
    """Exactly one outcome for each cell of the plan, in its order, whatever the observations hold.

    Observations of cells that the plan does not have are passed over. Of two for one cell and round the last counts, so
    that a resumed run replaces what it visits again. Rounds may come in any order.
    """
    seen = by_cell(observations)
    cases = [_case(run, cell, seen.get(cell.id, ())) for cell in run.cells]
    verdicts = [verdict(case) for case in cases]
    answered = {
        case.cell.id: case.medians for case, found in zip(cases, verdicts, strict=True) if found.status in ANSWERED
    }
    control = {cell: chosen.id for cell, chosen in controls(run.cells).items()}
    return tuple(
        _outcome(run, case, found, control.get(case.cell.id), answered)
        for case, found in zip(cases, verdicts, strict=True)
    )


def _case(run: Run, cell: Cell, seen: tuple[Observation, ...]) -> Case:
    return Case(cell, seen, round_medians(seen), run.name)


def by_cell(observations: Iterable[Observation]) -> dict[str, tuple[Observation, ...]]:
    """Observations by the id of their cell, one a round (the last), in the rounds' order."""
    latest = {(one.cell, one.round): one for one in observations}
    found: dict[str, list[Observation]] = {}
    for cell, number in sorted(latest):
        found.setdefault(cell, []).append(latest[cell, number])
    return {cell: tuple(rounds) for cell, rounds in found.items()}


def verdict(case: Case) -> Verdict:
    """What the first rule that applies says; the rules' order is the order of what outranks what."""
    return next(found for rule in RULES if (found := rule(case)) is not None)


# --- the rules, from what says most to what says least ---------------------------------------------------------------


def excluded(case: Case) -> Verdict | None:
    """A rule of the matrix took the cell out."""
    return None if case.cell.excluded is None else Verdict("excluded", case.cell.excluded)


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
    reason = f"{worst.stage}: {_first_line(worst)}{_share(times, len(case.seen))}"
    return Verdict(status, reason, worst.remedy, worst)


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


def elsewhere(case: Case) -> Verdict | None:
    """Nothing that computes was on the provider: whatever was timed, it was another one (see PROVIDERS 2)."""
    parts = _split(case)
    if parts is None or not parts.absent:
        return None
    what = "no node was placed on" if parts.on_target == 0 else "nothing but shapes and constants was placed on"
    reason = f"{what} {case.cell.provider}: everything ran on {' and '.join(parts.others)}"
    remedy = "check its options and libraries, and whether it needs fixed shapes; `bench doctor` tries it alone"
    return Verdict("unsupported", reason, remedy, Failure("unsupported", "placement", "fallback", reason, remedy))


def inaccurate(case: Case) -> Verdict | None:
    """The answers are outside the tolerance of their precision in at least one round."""
    checked = _checked(case)
    wrong = [parity for parity in checked if faults(parity)]
    if not wrong:
        return None
    why = " and ".join(faults(min(wrong, key=_quality)))
    reason = f"{why}, against {wrong[0].reference}{_share(len(wrong), len(checked))}"
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
    parts = _split(case)
    if parts is None or not parts.fallback_nodes:
        return None
    more = len(parts.fallback_ops) - REASON_OPS
    ops = ", ".join(parts.fallback_ops[:REASON_OPS]) + (f" and {more} more op types" if more > 0 else "")
    total = parts.on_target + parts.elsewhere
    reason = f"{parts.fallback_nodes} of {total} nodes fell back to {' and '.join(parts.others)}: {ops}"
    return Verdict("partial", reason, "try another opset, recipe or provider version that takes these ops")


def fine(case: Case) -> Verdict:
    """Right answers, from the target alone."""
    parts = _split(case)
    if parts is None:
        return Verdict("ok", "answers within tolerance")
    excused = f" but for {', '.join(parts.bookkeeping_ops)}, which handle shapes only" if parts.elsewhere else ""
    return Verdict("ok", f"every node on {case.cell.provider}{excused}; answers within tolerance")


RULES: tuple[Callable[[Case], Verdict | None], ...] = (
    excluded,
    unmeasured,
    went_wrong,
    untimed,
    unchecked,
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


def _checked(case: Case) -> list[Parity]:
    return [one.parity for one in case.seen if one.parity is not None and one.parity.samples > 0]


def faults(parity: Parity) -> list[str]:
    """Why answers are out of tolerance, nothing if they are within; a figure that is missing or NaN proves nothing."""
    if parity.samples < 1:
        return ["no output was compared"]
    if not parity.finite:
        return ["the outputs hold NaN or infinity"]
    cosine, least = _number(parity.cosine), parity.tolerance.min_cosine
    error, most = _number(parity.relative_error), parity.tolerance.max_relative_error
    found = []
    if cosine is None or cosine < least:
        found.append("the cosine is undefined" if cosine is None else f"cosine {cosine:.6g} is below {least:g}")
    if most is not None and (error is None or error > most):
        found.append("the error is undefined" if error is None else f"relative error {error:.3g} is above {most:g}")
    return found


def _quality(parity: Parity) -> tuple[bool, bool, float, float]:
    """Sorts from the worst to the best; a figure that is missing is worse than any."""
    cosine, error = _number(parity.cosine), _number(parity.relative_error)
    return (
        parity.finite,
        not faults(parity),
        -math.inf if cosine is None else cosine,
        -math.inf if error is None else -error,
    )


def _number(value: float | None) -> float | None:
    """NaN as None: it is written to a file as a missing value, and compares as neither less nor more."""
    return None if value is None or math.isnan(value) else value


# --- the outcome ------------------------------------------------------------------------------------------------------


def _outcome(run: Run, case: Case, found: Verdict, control: str | None, answered: Mapping[str, Medians]) -> Outcome:
    """The verdict with all that may stand beside it; times of the target only where it gave right answers itself."""
    cell, seen = case.cell, case.seen
    parts = _split(case)
    shown = found.status in ANSWERED
    rounds = case.timed
    return Outcome(
        cell=cell,
        status=found.status,
        reason=found.reason,
        remedy=found.remedy,
        failure=found.failure,
        speed=speed(cell, seen, case.medians, control, answered.get(control or "")) if shown else None,
        parity=min(_checked(case), key=_quality, default=None),
        placement=placement.worst(seen, cell.provider),
        nodes_on_target=parts.on_target if parts else None,
        nodes_elsewhere=parts.elsewhere if parts else None,
        fallback_ops=parts.fallback_ops if parts else (),
        bookkeeping_ops=parts.bookkeeping_ops if parts else (),
        import_ms=_median_ms(one.import_ns for one in seen),
        load_ms=_median_ms(one.load_ns for one in seen) if shown else None,
        first_call_ms=_median_ms(one.timing.first_call_ns for one in seen if one.timing) if shown else None,
        peak_rss_bytes=max((one.peak_rss_bytes for one in seen if one.peak_rss_bytes is not None), default=None),
        threads=next((one.threads for one in reversed(seen) if one.threads is not None), None),
        rounds=len(rounds),
        calls=sum(len(one.timing.samples_ns) for one in rounds if one.timing),
        flags=_flags(run, case) if shown or found.status == "inaccurate" else (),
        notes=tuple(dict.fromkeys(note for one in seen for note in one.notes)),
        versions={name: version for one in seen for name, version in one.versions.items()},
        weights=run.weights.get(cell.model),
        artifact=_artifact(run, cell),
    )


def _flags(run: Run, case: Case) -> tuple[str, ...]:
    """The flags of the timed rounds; an inaccurate cell has them too, as they may be why."""
    rounds = case.timed
    medians = case.medians
    clocks = [clock for one in rounds if (clock := _number(one.state.frequency_mhz))]
    evidence = Evidence(
        cell=case.cell,
        effort=run.effort,
        threads=run.threads,
        seen=rounds,
        medians_ms=tuple(medians.values()),
        half_width=stats.half_width(logs(medians)),
        latency_drift=stats.drift(list(medians.values())),
        frequency_drift=stats.drift(clocks),
    )
    return raised(evidence)


def _median_ms(times_ns: Iterable[int | None]) -> float | None:
    """The median over rounds. The first round's load and first call are cold (compile, page cache), later ones may be
    cached: until both kinds have a column of their own, the median is what a second start costs."""
    known = [time for time in times_ns if time is not None]
    return median(known) / 1e6 if known else None


def _artifact(run: Run, cell: Cell) -> str | None:
    """The key of the ONNX artifact that the cell ran; other engines make their precision from the source themselves."""
    return None if cell.provider is None else run.artifacts.get(f"{cell.model}/{cell.precision}")
