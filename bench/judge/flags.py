"""Raises the warnings of a cell's numbers, each with the figures behind it.

A flag is a `Note` whose kind is a key of `RULES`; `bench.report.text_flags` turns it into text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bench.judge import throttling
from bench.judge.number_formats import AROUND_FP32, COARSER, executed, held
from bench.judge.optimization import measured_level, optimization_fault
from bench.judge.placement import known
from bench.judge.throttling import StateSample
from bench.records import Cell, Effort, Generation, MachineState, Note, Observation, SustainedSpeed, TargetFacts, note
from bench.shared.busy import BURST_CPU_PERCENT, BURST_STEAL_PERCENT

FEW_ROUNDS = 2
"""A single block shows no scatter between processes, so its figures have no interval."""
NOISY_HALF_WIDTH = 0.05
"""The limit for a ratio, where the budget names no resolution."""
NOISY_ALONE = 0.25
"""The limit for a latency that is compared with nothing: what the machine does between blocks is a part of it, so it
varies by 5 to 13 % where ratios vary by 1 to 5 %."""
DISAGREE_RATIO = 1.25
"""Process medians of one cell scatter by 4.4 % (MEASUREMENT), so ten rounds span about 14 %; 25 % means two
modes."""
BUSY_CPU_PERCENT = 10.0
"""Percent of all cores; an idle desktop or a CI agent stays under 5 %."""
BUSY_STEAL_PERCENT = 2.0
"""CPU time that a hypervisor takes adds directly to a latency, and a standard budget promises a width of 2 %."""
BUSY_BURSTS = 1 / 3
"""The share of the bursts of a block that may be disturbed: two of six hardly move the median of the turns."""
BUSY_LOAD_FACTOR = 1.5
"""The worker adds its threads to the load; one more runnable thread belongs to the system."""
FP32_BITS = 13.0
"""TF32 and FP16 carry 11 significant bits and BF16 8; real FP32 leaves 16 or more after a deep network."""

TIMING_FLAGS = frozenset(
    ("few-rounds", "noisy", "rounds-disagree", "not-steady", "busy-machine", "on-battery", "throttled")
) | {"tokens-estimated", "uneven-steps"}
"""Flags that are not raised for an emulated target, because its times mean nothing."""


class Evidence(Struct, frozen=True):
    """The input of the rules for one cell."""

    cell: Cell
    effort: Effort
    threads: int
    observations: tuple[Observation, ...]
    """The observations of the cell's timed rounds, by round."""
    medians_ms: tuple[float, ...]
    """The median call of each of these rounds."""
    half_width: float | None
    """The relative half width of the latency's interval, 0.02 for 2 %."""
    ratio_half_width: float | None = None
    """The same of the ratio to the control; None for the control itself, and without a control."""
    facts: TargetFacts | None = None
    """What a probe found of the cell's target."""
    burst_drift: float = 0.0
    """The relative slowdown inside the timed bursts; 0 where noise explains it."""
    sustained: SustainedSpeed | None = None
    build_notes: tuple[Note, ...] = ()
    """The notes on the cell's artifact and its inputs."""


def raised(evidence: Evidence) -> tuple[Note, ...]:
    """The flags of one cell, in the order of `RULES`."""
    moot = TIMING_FLAGS if evidence.cell.emulated else frozenset()
    flags = (rule(evidence) for kind, rule in RULES.items() if kind not in moot)
    return tuple(flag for flag in flags if flag is not None)


def emulated(evidence: Evidence) -> Note | None:
    """The matrix or the catalogue says that the target is an emulator."""
    return note("emulated") if evidence.cell.emulated else None


def software_adapter(evidence: Evidence) -> Note | None:
    """A round reports a software adapter in place of a GPU."""
    return note("software-adapter") if _is_noted("software-adapter", evidence.observations) else None


def _is_noted(kind: str, observations: Sequence[Observation]) -> bool:
    return any(each.kind == kind for observation in observations for each in observation.notes)


def few_rounds(evidence: Evidence) -> Note | None:
    """A single timed block."""
    return note("few-rounds") if len(evidence.observations) < FEW_ROUNDS else None


def noisy(evidence: Evidence) -> Note | None:
    """The interval of the ratio is wider than the resolution of the budget; without a ratio, that of the latency."""
    ratio, alone = evidence.ratio_half_width, evidence.half_width
    if ratio is None:
        return note("noisy") if alone is not None and alone > NOISY_ALONE else None
    asked = evidence.effort.half_width
    return note("noisy") if ratio > (NOISY_HALF_WIDTH if asked is None else asked) else None


def rounds_disagree(evidence: Evidence) -> Note | None:
    """The slowest block's median is over a quarter above the fastest's, and the ratio to the control is unsure too."""
    # What slows a whole block leaves the ratio as it is.
    if evidence.ratio_half_width is not None and evidence.ratio_half_width < DISAGREE_RATIO - 1:
        return None
    return note("rounds-disagree") if max(evidence.medians_ms) > DISAGREE_RATIO * min(evidence.medians_ms) else None


def not_steady(evidence: Evidence) -> Note | None:
    """A warm-up reached its limit before it was steady, or the timed calls drift."""
    # One warm-up at its limit is enough for the flag; the note tells how many there were.
    limited = sum(
        observation.timing is not None and not observation.timing.steady for observation in evidence.observations
    )
    if not limited and not evidence.burst_drift:
        return None
    return note("not-steady", limited=limited, rounds=len(evidence.observations), drift=evidence.burst_drift)


def busy_machine(evidence: Evidence) -> Note | None:
    """Other processes used the CPU during the bursts of a round: the number of rounds, and the largest shares."""
    count = sum(disturbed(observation, evidence.threads) for observation in evidence.observations)
    if not count:
        return None
    stolen, others = (
        max((getattr(observation.state, name) or 0.0 for observation in evidence.observations), default=0.0)
        for name in ("steal_percent", "other_cpu_percent")
    )
    return note(
        "busy-machine",
        times=count,
        total=len(evidence.observations),
        unit="rounds",
        others_percent=others if others > BUSY_CPU_PERCENT else None,
        stolen_percent=stolen if stolen > BUSY_STEAL_PERCENT else None,
    )


def disturbed(observation: Observation, threads: int) -> bool:
    """Whether other processes used the CPU during the bursts of one round that count.

    Bursts that were set aside and made again do not count, and their load is in the state of the round; so is that of
    the time between the bursts.
    """
    timing = observation.timing
    if timing is None or not timing.turns:
        return busy(observation, threads)
    if _is_served(observation):
        return False
    if observation.bursts_disturbed is not None and observation.bursts_disturbed > BUSY_BURSTS * len(timing.turns):
        return True
    state, others = observation.state, BURST_CPU_PERCENT if observation.bursts_set_aside else BUSY_CPU_PERCENT
    # Older runs did not count: there only a load that would disturb a burst is one of the bursts for certain.
    stolen = observation.bursts_disturbed is None and (state.steal_percent or 0.0) > BURST_STEAL_PERCENT
    # A steady load stays below the limit for a short burst; the mean of a round is more exact.
    known = observation.bursts_disturbed is None or not observation.bursts_set_aside
    return stolen or (known and (state.other_cpu_percent or 0.0) > others)


def busy(observation: Observation, threads: int) -> bool:
    """Whether other processes used the CPU during one round, from its first burst to its last."""
    return not _is_served(observation) and busy_state(observation.state, threads)


def _is_served(observation: Observation) -> bool:
    # A server beside the worker does the work, so its CPU time looks like that of another process.
    return observation.traits is not None and observation.traits.counted_by != "engine"


def busy_state(state: MachineState, threads: int) -> bool:
    """Whether other processes used the CPU.

    The load average counts only where the CPU time of others is unknown: it lags by a minute, so it includes the cell
    before.
    """
    if (state.steal_percent or 0.0) > BUSY_STEAL_PERCENT:
        return True
    if state.other_cpu_percent is not None:
        return state.other_cpu_percent > BUSY_CPU_PERCENT
    return (state.load_1min or 0.0) > BUSY_LOAD_FACTOR * threads + 1


def on_battery(evidence: Evidence) -> Note | None:
    """A round ran on battery."""
    count = sum(bool(observation.state.on_battery) for observation in evidence.observations)
    return note("on-battery", times=count, total=len(evidence.observations), unit="rounds") if count else None


def throttled(evidence: Evidence) -> Note | None:
    """The processor reduced its speed over the rounds or in the sustained run."""
    samples = [
        StateSample(ms, observation.state)
        for ms, observation in zip(evidence.medians_ms, evidence.observations, strict=True)
    ]
    over = throttling.slowing(samples)
    sustained = evidence.sustained.flags if evidence.sustained else ()
    parts = [note("slowed-over-rounds", *over.signs, slower=over.slower)] if over else []
    parts += [note("in-sustained-run", *flag.parts) for flag in sustained if flag.kind == "throttled"]
    return note("throttled", *parts) if parts else None


def reduced_precision(evidence: Evidence) -> Note | None:
    """The probe or the error of an FP32 cell shows fewer significant bits than requested (see PROVIDERS 3)."""
    requested = held(evidence.cell, evidence.build_notes)
    if executed(evidence.cell, evidence.facts, evidence.build_notes) in COARSER.get(requested, ()):
        return note("reduced-precision")
    bits = (
        observation.parity.effective_bits for observation in evidence.observations if observation.parity is not None
    )
    # FP32 only: for FP16 and INT8 an error of this size is expected.
    coarse = requested == "fp32" and any(effective is not None and effective < FP32_BITS for effective in bits)
    return note("reduced-precision") if coarse else None


def casts_around_fp32(evidence: Evidence) -> Note | None:
    """FP16 tensors with FP32 arithmetic, as in ONNX Runtime's CPU provider (see PROVIDERS 3)."""
    return (
        note("casts-around-fp32")
        if executed(evidence.cell, evidence.facts, evidence.build_notes) == AROUND_FP32
        else None
    )


def unchecked_option(evidence: Evidence) -> Note | None:
    """The target has a note about an option that is not known; only the code that probes the provider can find it."""
    notes = evidence.facts.notes if evidence.facts else ()
    return note("unchecked-option") if any(each.kind == "unknown-option" for each in notes) else None


def stopped_early(evidence: Evidence) -> Note | None:
    """A generation emitted fewer tokens than the workload asks for."""
    requested = evidence.cell.sizes.get("new", 0)
    return (
        note("stopped-early") if any(generation.tokens < requested for generation in _generations(evidence)) else None
    )


def tokens_estimated(evidence: Evidence) -> Note | None:
    """The tokens were counted as the pieces that a server streamed."""
    estimated = any(
        observation.traits is not None and observation.traits.counted_by == "chunks"
        for observation in evidence.observations
    )
    return note("tokens-estimated") if estimated else None


def uneven_steps(evidence: Evidence) -> Note | None:
    """The number of steps differs from the number of tokens, as where a server sends two tokens in one message."""
    # The first token has no step in `token_ns`, hence the 1.
    uneven = any(len(generation.token_ns) + 1 != generation.tokens for generation in _generations(evidence))
    return note("uneven-steps") if uneven else None


def tokens_not_compared(evidence: Evidence) -> Note | None:
    """A round generated, and none of its tokens was compared."""
    rounds = [
        observation
        for observation in evidence.observations
        if observation.timing is not None and observation.timing.generations
    ]
    missing = any(observation.parity is None or observation.parity.tokens_compared is None for observation in rounds)
    return note("tokens-not-compared") if missing else None


def _generations(evidence: Evidence) -> list[Generation]:
    return [
        generation
        for observation in evidence.observations
        if observation.timing is not None
        for generation in observation.timing.generations
    ]


def lower_optimization(evidence: Evidence) -> Note | None:
    """The cell fails, or is wrong, at the optimization that was asked for, and was measured at a lower one."""
    fact = optimization_fault(evidence.observations)
    if fact is None or measured_level(fact) is None:
        return None
    shown = {name: fact.values[name] for name in ("asked", "status", "works", "optimizers")}
    return note("lower-optimization", **shown)


def placement_unknown(evidence: Evidence) -> Note | None:
    """The cell names a provider, and a round has no placement."""
    unknown = evidence.cell.provider is not None and any(
        not known(observation) for observation in evidence.observations
    )
    return note("placement-unknown") if unknown else None


def placement_varies(evidence: Evidence) -> Note | None:
    """Two rounds have different placements."""
    # Nodes only: one round is profiled, and the copies and times of its profile are no other placement.
    placed = [observation.placement.nodes for observation in evidence.observations if observation.placement is not None]
    return note("placement-varies") if _differ(placed) else None


def mixed_versions(evidence: Evidence) -> Note | None:
    """Two rounds have different versions."""
    return note("mixed-versions") if _differ([observation.versions for observation in evidence.observations]) else None


def _differ(values: Sequence[Mapping[str, object]]) -> bool:
    return any(value != values[0] for value in values[1:])


RULES: dict[str, Callable[[Evidence], Note | None]] = {
    "emulated": emulated,
    "software-adapter": software_adapter,
    "few-rounds": few_rounds,
    "noisy": noisy,
    "rounds-disagree": rounds_disagree,
    "not-steady": not_steady,
    "busy-machine": busy_machine,
    "on-battery": on_battery,
    "throttled": throttled,
    "reduced-precision": reduced_precision,
    "casts-around-fp32": casts_around_fp32,
    "lower-optimization": lower_optimization,
    "unchecked-option": unchecked_option,
    "stopped-early": stopped_early,
    "tokens-estimated": tokens_estimated,
    "uneven-steps": uneven_steps,
    "tokens-not-compared": tokens_not_compared,
    "placement-unknown": placement_unknown,
    "placement-varies": placement_varies,
    "mixed-versions": mixed_versions,
}
"""Every flag by its kind, in the order in which a cell carries them."""
