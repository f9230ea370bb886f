"""Judges the observations of a run: one `Outcome` for each planned cell, with its verdict, reason and figures."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bench.judge import comparisons, drift, generation, placement, statistics, sustained, task
from bench.judge.bursts import is_shared
from bench.judge.comparisons import ModelRatios
from bench.judge.flags import Evidence, raised
from bench.judge.number_formats import executed
from bench.judge.optimization import measured_level, optimization_fault, optimizers_at_fault
from bench.judge.ratios import NO_RATIOS
from bench.judge.speed import LEAST_BLOCKS, controls, logs, round_medians, speed
from bench.judge.sustained import Attempt
from bench.judge.tolerance import checked, quality, violations
from bench.judge.transcripts import worst_word_error_rate
from bench.judge.verdict import SEVERITY, Case, Verdict, verdict
from bench.records import (
    NOT_TRIED,
    Cell,
    Comparison,
    Interval,
    Note,
    Observation,
    Outcome,
    Run,
    Speed,
    Start,
    Status,
    SustainedSpeed,
    Traits,
    note,
)
from bench.shared.number_formats import of_file

__all__ = ["ANSWERED", "SEVERITY", "TIMED", "Judged", "by_cell", "judge", "judge_run", "violations"]

ANSWERED: tuple[Status, ...] = ("ok", "partial", "approximate")
"""The statuses whose answers are within their tolerance: only such a cell is compared with others."""
TIMED: tuple[Status, ...] = (*ANSWERED, "unchecked")
"""The statuses with a speed; one of a random model is shown, but compared with nothing."""

NOTHING_COMPARED = ModelRatios(NO_RATIOS, NO_RATIOS, NO_RATIOS)
"""Those of a model without a right answer."""


class Judged(Struct, frozen=True):
    """The verdicts on a run, and how its cells compare."""

    outcomes: tuple[Outcome, ...]
    """One for each cell of the plan, in its order."""
    comparisons: tuple[Comparison, ...]
    """Of the cells that people compare, as far as some block held both with right answers."""


def judge(run: Run, observations: Sequence[Observation]) -> tuple[Outcome, ...]:
    """The verdicts of `judge_run` alone."""
    return judge_run(run, observations).outcomes


def judge_run(run: Run, observations: Sequence[Observation]) -> Judged:
    """Exactly one outcome for each cell of the plan, in its order, whatever the observations hold.

    Observations of cells that are not in the plan are ignored. Where a cell and a round have two observations, the last
    counts, so that a resumed run replaces what it visits again. Rounds may come in any order.
    """
    rounds, lasted = by_cell(observations), sustained.attempts(observations)
    cases = [_case(run, cell, rounds.get(cell.id, ())) for cell in run.cells]
    verdicts = [verdict(case) for case in cases]
    # Only these may be the reference of a ratio: a control with wrong answers gives none.
    answered = {case.cell.id: case for case, outcome in zip(cases, verdicts, strict=True) if outcome.status in ANSWERED}
    named = [case.cell for case in answered.values() if not case.cell.emulated]
    ratios = comparisons.ratios_of(named, rounds, is_shared(run.machine))
    chosen = {cell: (planned, used) for cell, planned, used in _controls(run.cells, answered)}
    # Once for a group: the interval of some metrics takes a while, and workloads share the samples.
    tasks = task.results(run, rounds)
    outcomes = (
        _outcome(
            run,
            case,
            outcome,
            chosen.get(case.cell.id, (None, None)),
            ratios.get(case.cell.model, NOTHING_COMPARED),
            lasted.get(case.cell.id, ()),
        )
        for case, outcome in zip(cases, verdicts, strict=True)
    )
    judged = tuple(
        replace(outcome, task=tasks[outcome.cell.group]) if outcome.rounds and outcome.cell.group in tasks else outcome
        for outcome in outcomes
    )
    return Judged(judged, _comparisons(run, answered, ratios))


def _controls(cells: Sequence[Cell], right: Container[str]) -> Iterable[tuple[str, str, str]]:
    """Each cell with its control in the plan, and the one that it is compared with."""
    used = controls(cells, right)
    # Controls come from the plan, also of cells that were not measured.
    return ((cell, planned.id, used[cell].id) for cell, planned in controls(cells).items())


def _comparisons(run: Run, right: Container[str], ratios: Mapping[str, ModelRatios]) -> tuple[Comparison, ...]:
    """The comparisons of all models, in the order of the plan."""
    return tuple(
        replace(comparison, run=run.name)
        for model, of_model in ratios.items()
        for comparison in comparisons.compared(
            comparisons.pairs([cell for cell in run.cells if cell.model == model], right),
            of_model.whole,
            run.effort.half_width,
        )
    )


def _case(run: Run, cell: Cell, observations: tuple[Observation, ...]) -> Case:
    return Case(cell, observations, round_medians(observations), run.name, run.targets.get(cell.target))


def by_cell(observations: Iterable[Observation]) -> dict[str, tuple[Observation, ...]]:
    """Observations by the id of their cell, the last of each round, in the order of rounds, without sustained runs.

    Round 0 is a preparation that failed. It does not count where there is a block: a resumed run succeeded later, or
    what was measured before is still true.
    """
    # A dictionary keeps the last value of a key, so a repeated round replaces the earlier one.
    latest = {
        (observation.cell, observation.round): observation
        for observation in observations
        if observation.sustained is None
    }
    by_id: dict[str, list[Observation]] = {}
    # A resumed run appends the rounds that were missing, so a file may hold them in any order.
    for cell, place in sorted(latest):
        by_id.setdefault(cell, []).append(latest[cell, place])
    return {cell: tuple(rounds[1:] if _is_made_up_for(rounds) else rounds) for cell, rounds in by_id.items()}


def _is_made_up_for(rounds: Sequence[Observation]) -> bool:
    """Whether the first of these is a preparation that failed, beside blocks that it did not hinder."""
    first, later = rounds[0], rounds[1:]
    return first.round == 0 and first.failure is not None and any(each.failure is None for each in later)


# --- the outcome ------------------------------------------------------------------------------------------------------


def _outcome(
    run: Run,
    case: Case,
    decision: Verdict,
    controlled_by: tuple[str | None, str | None],
    ratios: ModelRatios,
    lasted: Attempt,
) -> Outcome:
    """The verdict with the figures of the cell; times only where the target itself gave right answers."""
    cell, observations = case.cell, case.observations
    placed = placement.worst(observations, cell.provider)
    parts = placement.split(placed, cell.provider) if placed and cell.provider else None
    build_notes = _build_notes(run, cell)
    shown = decision.status in TIMED
    # The speed of a random model is compared with nothing, also where it would be the control itself.
    planned, control = controlled_by if decision.status in ANSWERED else (None, None)
    speed_shown = _speed(case, control, ratios) if shown else None
    rounds = case.timed
    traits = next((observation.traits for observation in reversed(observations) if observation.traits), None)
    sustained_speed = sustained.speed(cell, rounds, case.medians, lasted, run.threads) if shown else None
    fault = optimization_fault(observations)
    evidence = _evidence(run, case, speed_shown, sustained_speed) if shown or decision.status == "inaccurate" else None
    return Outcome(
        cell=cell,
        status=decision.status,
        reason=decision.reason,
        remedy=decision.remedy,
        failure=decision.failure,
        speed=speed_shown,
        sustained=sustained_speed,
        # The worst round stands for the cell, because a mean would hide one wrong answer.
        parity=min(checked(observations), key=quality, default=None),
        placement=placed,
        nodes_on_target=parts.on_target if parts else None,
        nodes_elsewhere=parts.elsewhere if parts else None,
        fallback_ops=parts.fallback_ops if parts else (),
        bookkeeping_ops=parts.bookkeeping_ops if parts else (),
        device=_device(case),
        executed=executed(cell, case.facts, build_notes),
        file_format=of_file(build_notes),
        cold=_start(observations, "cold") if shown else None,
        cached=_start(observations, "cached") if shown else None,
        # Always shown: the engine is imported before the model is loaded, so wrong answers say nothing about this time.
        import_ms=_typical_ms(observation.import_ns for observation in observations),
        load_ms=_typical_ms(observation.load_ns for observation in observations) if shown else None,
        first_call_ms=_typical_ms(
            observation.timing.first_call_ns for observation in observations if observation.timing
        )
        if shown
        else None,
        first_answer_ms=_first_answer_ms(observations) if shown else None,
        peak_rss_bytes=max(
            (observation.peak_rss_bytes for observation in observations if observation.peak_rss_bytes is not None),
            default=None,
        ),
        model_rss_bytes=max(
            (size for observation in observations if (size := _above_baseline(observation)) is not None), default=None
        ),
        device_memory_bytes=max(
            (
                observation.device_memory_bytes
                for observation in observations
                if observation.device_memory_bytes is not None
            ),
            default=None,
        ),
        energy_j=_joules_a_call(observations) if shown else None,
        energy_source=_energy_source(observations) if shown else None,
        cpu_ms=_cpu_ms(observations) if shown else None,
        cores_used=_cores_used(observations) if shown else None,
        energy_per_token_j=generation.joules_per_token(cell, observations) if shown else None,
        traits=traits,
        bits_per_weight=_bits_per_weight(traits),
        first_token_from_nothing_ms=generation.cold_first_token_ms(observations) if shown else None,
        word_error_rate=_word_error_rate(run, case),
        optimization=measured_level(fault),
        faulty_optimizers=optimizers_at_fault(fault),
        threads=next(
            (observation.threads for observation in reversed(observations) if observation.threads is not None), None
        ),
        rounds=len(rounds),
        calls=sum(len(observation.timing.samples_ns) for observation in rounds if observation.timing),
        flags=raised(evidence) if evidence else (),
        notes=tuple(
            dict.fromkeys(
                [seen for observation in observations for seen in observation.notes]
                + _replaced_control(speed_shown, planned)
            )
        ),
        build_notes=build_notes if decision.status not in NOT_TRIED else (),
        # Where rounds disagree the last one counts, and the flag `mixed-versions` says so.
        versions={name: version for observation in observations for name, version in observation.versions.items()},
        weights=run.weights.get(cell.model),
        artifact=_artifact(run, cell),
    )


def _speed(case: Case, control: str | None, ratios: ModelRatios) -> Speed:
    """The speed of whole calls, and of prefill and decoding where the calls are generations."""
    whole = speed(case.cell, case.observations, case.medians, control, ratios.whole)
    return replace(whole, generation=generation.speed(case.cell, case.timed, control, ratios.prefill, ratios.decode))


def _replaced_control(shown: Speed | None, planned: str | None) -> list[Note]:
    """A note where the ratio is to another cell than the plan names, because that has no right answers."""
    if shown is None or shown.control is None or shown.control == planned:
        return []
    return [note("control-replaced", planned=planned, used=shown.control)]


def _evidence(run: Run, case: Case, shown: Speed | None, sustained_speed: SustainedSpeed | None) -> Evidence:
    """The input of the flags; an inaccurate cell has flags too, because they may explain it."""
    rounds, medians = case.timed, case.medians
    return Evidence(
        cell=case.cell,
        effort=run.effort,
        threads=run.threads,
        observations=rounds,
        medians_ms=tuple(medians.values()),
        half_width=statistics.half_width(logs(medians)) if len(medians) >= LEAST_BLOCKS else None,
        ratio_half_width=_ratio_half_width(case.cell, shown),
        facts=case.facts,
        build_notes=_build_notes(run, case.cell),
        burst_drift=drift.burst_drift([observation.timing.samples_ns for observation in rounds if observation.timing]),
        sustained=sustained_speed,
    )


def _ratio_half_width(cell: Cell, shown: Speed | None) -> float | None:
    """The relative half width of the ratio to the control, on its longer side; None for the control itself."""
    ratio = shown.ratio_to_control if shown and shown.control != cell.id else None
    return None if ratio is None or ratio.high is None else ratio.high / ratio.value - 1


def _typical_ms(times_ns: Iterable[int | None]) -> Interval | None:
    """The typical time over the rounds, in milliseconds; `cold` and `cached` hold the two kinds of start."""
    return statistics.typical(None if time is None else time / 1e6 for time in times_ns)


def _first_answer_ms(observations: Sequence[Observation]) -> Interval | None:
    """Import, load and first call in milliseconds, added up in each round: means of parts do not add up to the mean."""
    timed = [(observation, observation.timing.first_call_ns) for observation in observations if observation.timing]
    return statistics.typical(generation.time_from_start_ms(observation, first_ns) for observation, first_ns in timed)


def _device(case: Case) -> str | None:
    """`gpu.0 NVIDIA H100`: the device of the rounds, else of the probe, else the one that the row requests."""
    observed = next((observation.device for observation in reversed(case.observations) if observation.device), None)
    device = observed or (case.facts.device if case.facts else None)
    if device is None:
        return case.cell.device
    return f"{device.label} {device.name or device.vendor}".strip()


def _start(observations: Sequence[Observation], kind: str) -> Start | None:
    """The last start of a kind, because a resumed run may have measured it again."""
    return next(
        (start for observation in reversed(observations) for start in observation.starts if start.kind == kind), None
    )


def _above_baseline(observation: Observation) -> int | None:
    """Bytes that engine and model took; None where the peak is below the baseline, which cannot be right."""
    peak, baseline = observation.peak_rss_bytes, observation.baseline_rss_bytes
    return None if peak is None or baseline is None or peak < baseline else peak - baseline


def _joules_a_call(observations: Sequence[Observation]) -> Interval | None:
    return statistics.typical(
        observation.energy.joules / observation.energy.calls
        for observation in observations
        if observation.energy and observation.energy.calls > 0
    )


def _cpu_ms(observations: Sequence[Observation]) -> Interval | None:
    """CPU time of a call in milliseconds, summed over threads."""
    return statistics.typical(
        timing.cpu_ns / len(timing.samples_ns) / 1e6
        for observation in observations
        if (timing := observation.timing) and timing.cpu_ns is not None and timing.samples_ns
    )


def _cores_used(observations: Sequence[Observation]) -> Interval | None:
    """CPU time over wall time of the same timed calls."""
    return statistics.typical(
        timing.cpu_ns / sum(timing.samples_ns)
        for observation in observations
        if (timing := observation.timing) and timing.cpu_ns is not None and sum(timing.samples_ns)
    )


def _energy_source(observations: Sequence[Observation]) -> str | None:
    """The sources of the energy readings, joined by commas."""
    sources = dict.fromkeys(
        observation.energy.source for observation in observations if observation.energy and observation.energy.calls > 0
    )
    return ", ".join(sources) or None


def _bits_per_weight(traits: Traits | None) -> float | None:
    """Bits of the files of weights, scales and zero points included, over the number of weights."""
    if traits is None or traits.weight_bytes is None or not traits.parameters:
        return None
    return 8 * traits.weight_bytes / traits.parameters


def _word_error_rate(run: Run, case: Case) -> float | None:
    """The worst word error rate; None for random weights, whose wrong words are no error of the target."""
    if run.weights.get(case.cell.model) == "random":
        return None
    return worst_word_error_rate(observation.transcript for observation in case.observations if observation.transcript)


def _artifact(run: Run, cell: Cell) -> str | None:
    """The key of the artifact that the cell ran; None for an engine that makes the precision from the source."""
    has_artifact = cell.provider is not None or cell.format is not None
    return run.artifacts.get(cell.artifact_name) if has_artifact else None


def _build_notes(run: Run, cell: Cell) -> tuple[Note, ...]:
    """The notes of the cell's artifact, then those of its reference."""
    keys = (_artifact(run, cell), run.references.get(f"{cell.model}/{cell.workload}"))
    return tuple(note for key in keys if key is not None for note in run.build_notes.get(key, ()))
