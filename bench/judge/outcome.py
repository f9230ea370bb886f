"""A run and its observations in, one `Outcome` for each planned cell out: verdict, reason, and what it permits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.judge import placement, stats
from bench.judge.answers import checked, faults, number, quality
from bench.judge.flags import Evidence, raised
from bench.judge.number_formats import executed
from bench.judge.speed import Medians, controls, logs, round_medians, speed
from bench.judge.verdict import SEVERITY, Case, Verdict, verdict
from bench.records import Cell, Observation, Outcome, Run, Start, Status

__all__ = ["ANSWERED", "SEVERITY", "by_cell", "faults", "judge"]

ANSWERED: tuple[Status, ...] = ("ok", "partial")
"""Only these show a speed: the answers are right, and they came from the target."""


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
    return Case(cell, seen, round_medians(seen), run.name, run.targets.get(cell.target))


def by_cell(observations: Iterable[Observation]) -> dict[str, tuple[Observation, ...]]:
    """Observations by the id of their cell, one a round (the last), in the rounds' order."""
    latest = {(one.cell, one.round): one for one in observations}
    found: dict[str, list[Observation]] = {}
    for cell, place in sorted(latest):
        found.setdefault(cell, []).append(latest[cell, place])
    return {cell: tuple(rounds) for cell, rounds in found.items()}


# --- the outcome ------------------------------------------------------------------------------------------------------


def _outcome(run: Run, case: Case, found: Verdict, control: str | None, answered: Mapping[str, Medians]) -> Outcome:
    """The verdict with all that may stand beside it; times of the target only where it gave right answers itself."""
    cell, seen = case.cell, case.seen
    placed = placement.worst(seen, cell.provider)
    parts = placement.split(placed, cell.provider) if placed and cell.provider else None
    shown = found.status in ANSWERED
    rounds = case.timed
    return Outcome(
        cell=cell,
        status=found.status,
        reason=found.reason,
        remedy=found.remedy,
        failure=found.failure,
        speed=speed(cell, seen, case.medians, control, answered.get(control or "")) if shown else None,
        parity=min(checked(seen), key=quality, default=None),
        placement=placed,
        nodes_on_target=parts.on_target if parts else None,
        nodes_elsewhere=parts.elsewhere if parts else None,
        fallback_ops=parts.fallback_ops if parts else (),
        bookkeeping_ops=parts.bookkeeping_ops if parts else (),
        device=_device(case),
        executed=executed(cell, case.facts),
        cold=_start(seen, "cold") if shown else None,
        cached=_start(seen, "cached") if shown else None,
        import_ms=_median_ms(one.import_ns for one in seen),
        load_ms=_median_ms(one.load_ns for one in seen) if shown else None,
        first_call_ms=_median_ms(one.timing.first_call_ns for one in seen if one.timing) if shown else None,
        peak_rss_bytes=max((one.peak_rss_bytes for one in seen if one.peak_rss_bytes is not None), default=None),
        model_rss_bytes=max((size for one in seen if (size := _above_baseline(one)) is not None), default=None),
        device_memory_bytes=max(
            (one.device_memory_bytes for one in seen if one.device_memory_bytes is not None), default=None
        ),
        energy_j=_joules_a_call(seen) if shown else None,
        energy_source=_energy_source(seen) if shown else None,
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
    clocks = [clock for one in rounds if (clock := number(one.state.frequency_mhz))]
    evidence = Evidence(
        cell=case.cell,
        effort=run.effort,
        threads=run.threads,
        seen=rounds,
        medians_ms=tuple(medians.values()),
        half_width=stats.half_width(logs(medians)),
        latency_drift=stats.drift(list(medians.values())),
        frequency_drift=stats.drift(clocks),
        facts=case.facts,
    )
    return raised(evidence)


def _median_ms(times_ns: Iterable[int | None]) -> float | None:
    """The median over rounds: what a second start costs; `cold` and `cached` tell the two kinds of start apart."""
    known = [time for time in times_ns if time is not None]
    return median(known) / 1e6 if known else None


def _device(case: Case) -> str | None:
    """`gpu.0 NVIDIA H100`: as the rounds saw it, else as a probe found it, else as the row asks for it."""
    seen = next((one.device for one in reversed(case.seen) if one.device), None)
    device = seen or (case.facts.device if case.facts else None)
    if device is None:
        return case.cell.device
    return f"{device.label} {device.name or device.vendor}".strip()


def _start(seen: Sequence[Observation], kind: str) -> Start | None:
    """The last one of its kind: a resumed run may have started it again."""
    return next((start for one in reversed(seen) for start in one.starts if start.kind == kind), None)


def _above_baseline(one: Observation) -> int | None:
    """What engine and model took; a worker that shows less than it had when it was empty tells nothing."""
    peak, baseline = one.peak_rss_bytes, one.baseline_rss_bytes
    return None if peak is None or baseline is None or peak < baseline else peak - baseline


def _joules_a_call(seen: Sequence[Observation]) -> float | None:
    known = [one.energy.joules / one.energy.calls for one in seen if one.energy and one.energy.calls > 0]
    return median(known) if known else None


def _energy_source(seen: Sequence[Observation]) -> str | None:
    """What the energy was read from: every source of the rounds."""
    sources = dict.fromkeys(one.energy.source for one in seen if one.energy and one.energy.calls > 0)
    return ", ".join(sources) or None


def _artifact(run: Run, cell: Cell) -> str | None:
    """The key of the ONNX artifact that the cell ran; other engines make their precision from the source themselves."""
    return None if cell.provider is None else run.artifacts.get(f"{cell.model}/{cell.precision}")
