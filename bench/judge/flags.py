"""What was seen of one cell in, the warnings that its number carries out; each warning has its sentence for readers.

Nothing heavy is imported here, so that a report can explain flags without the statistics behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from bench.judge import throttling
from bench.judge.number_formats import AROUND_FP32, COARSER, executed, number_format
from bench.judge.placement import known
from bench.judge.throttling import Look
from bench.records import Cell, Effort, Generation, MachineState, Observation, SustainedSpeed, TargetFacts

FEW_ROUNDS = 3
"""Under three rounds a t-interval has at most one degree of freedom: 12.7 standard errors to either side."""
NOISY_HALF_WIDTH = 0.05
"""For budgets that promise no width: three quiet rounds (1 % scatter between processes) stay within 2.5 %."""
DISAGREE_RATIO = 1.25
"""Process medians of one cell scatter by 4.4 % (MEASUREMENT), so ten rounds span some 14 %; 25 % is another mode."""
BUSY_CPU_PERCENT = 10.0
"""Share of all cores; an idle desktop or a runner's agent stays under 5 %."""
BUSY_STEAL_PERCENT = 2.0
"""What a hypervisor takes goes straight into a latency, and 2 % is the width that a standard budget promises."""
BUSY_LOAD_FACTOR = 1.5
"""The worker alone loads the machine by its threads; one more runnable thread is the system's own."""
UNKNOWN_OPTION = "unknown option"
"""How a note on a target begins where the provider takes an option that the catalogue does not know, unchecked."""
SOFTWARE_ADAPTER = "software adapter"
"""What a round's notes hold where a GPU's work was done by a program."""
FP32_BITS = 13.0
"""TF32 and FP16 carry 11 significant bits and BF16 8; real FP32 leaves 16 or more after a deep network."""

GLOSSARY = {
    "emulated": "An emulator stood in for the device: the answers count, the times say nothing of real hardware.",
    "software adapter": "A program on the processor did the GPU's work: the times are real, but they are not a GPU's.",
    "few rounds": "Fewer than three rounds were measured, so the interval is very wide or missing.",
    "noisy": "The 95 % interval is wider than this budget promises; small differences here mean nothing.",
    "rounds disagree": "The slowest round took over a quarter longer than the fastest: there is more than one speed.",
    "not steady": "The calls had not settled when the warm-up ended at its limit, or drifted while they were timed.",
    "busy machine": "Other programs, or other guests of the host, used the processor during at least one round.",
    "on battery": "The machine ran on battery in at least one round, where clocks are usually held down.",
    "throttled": "Calls became slower while the processor's clock fell by over a tenth, or its heat came to the limit.",
    "reduced precision": "The numbers are coarser than the format asked for gives: something computed in fewer bits.",
    "casts around FP32": "The cell asks for FP16, but its kernels compute in FP32, with casts around them.",
    "unchecked option": "The row sets an option that the catalogue does not know and its provider does not check.",
    "stopped early": "At least one generation ended before it had the tokens that the workload asks for.",
    "tokens estimated": "The server did not say how many tokens it sent: each piece of text counts as one token.",
    "uneven steps": "Some steps brought several tokens, or none: percentiles are of the time between steps.",
    "tokens not compared": "The engine shows no token ids: what it generated was not held against the reference's own.",
    "placement unknown": "In at least one round this runtime could not tell which provider the nodes ran on.",
    "placement varies": "The nodes were not on the same providers in every round; the worst round is the one shown.",
    "mixed versions": "A library had another version in some rounds, as after a resumed run; the rounds are not alike.",
}
"""Every flag, in the order in which a cell carries them, with one sentence for readers."""
OF_TIMES = frozenset(
    ("few rounds", "noisy", "rounds disagree", "not steady", "busy machine", "on battery", "throttled")
) | {"tokens estimated", "uneven steps"}
"""What they warn of is moot where the times are an emulator's."""


class Evidence(Struct, frozen=True):
    """What the flags of one cell are read from."""

    cell: Cell
    effort: Effort
    threads: int
    seen: tuple[Observation, ...]
    """The observations of the cell's timed rounds, by round."""
    medians_ms: tuple[float, ...]
    """The median call of each of these rounds."""
    half_width: float | None
    """Of the latency's interval, relative."""
    facts: TargetFacts | None = None
    """What a probe found of the cell's target."""
    burst_drift: float = 0.0
    """By how much calls became slower inside the timed bursts; 0 where noise explains it."""
    sustained: SustainedSpeed | None = None


def raised(evidence: Evidence) -> tuple[str, ...]:
    """The flags of one cell, in the glossary's order."""
    moot = OF_TIMES if evidence.cell.emulated else frozenset()
    return tuple(flag for flag in GLOSSARY if flag not in moot and RULES[flag](evidence))


def details(evidence: Evidence, flags: Iterable[str]) -> dict[str, str]:
    """What raised them in words and figures, of those flags that know more than their name says."""
    return {flag: said for flag in flags if flag in DETAILS and (said := DETAILS[flag](evidence))}


def emulated(evidence: Evidence) -> bool:
    """The matrix or the catalogue says that the target is an emulator."""
    return evidence.cell.emulated


def software_adapter(evidence: Evidence) -> bool:
    """A round says that its GPU was a program."""
    return any(SOFTWARE_ADAPTER in note for seen in evidence.seen for note in seen.notes)


def few_rounds(evidence: Evidence) -> bool:
    """Fewer than three timed rounds."""
    return len(evidence.seen) < FEW_ROUNDS


def noisy(evidence: Evidence) -> bool:
    """The interval is wider than the budget promises."""
    promised = evidence.effort.half_width
    limit = NOISY_HALF_WIDTH if promised is None else promised
    return evidence.half_width is not None and evidence.half_width > limit


def rounds_disagree(evidence: Evidence) -> bool:
    """The slowest round's median is over a quarter above the fastest's."""
    return max(evidence.medians_ms) > DISAGREE_RATIO * min(evidence.medians_ms)


def not_steady(evidence: Evidence) -> bool:
    """A warm-up ran into its limit, or calls drift where they are timed."""
    return bool(unsettled(evidence))


def unsettled(evidence: Evidence) -> str:
    """How a cell was not steady; empty where it was."""
    limited = sum(seen.timing is not None and not seen.timing.steady for seen in evidence.seen)
    said = [f"the warm-up ended at its limit in {limited} of {len(evidence.seen)} rounds"] if limited else []
    if drift := evidence.burst_drift:
        way = "slower" if drift > 0 else "faster"
        said.append(f"calls became {abs(drift) * 100:.1f} % {way} from the first third of the timed ones to the last")
    return "; ".join(said)


def busy_machine(evidence: Evidence) -> bool:
    """Somebody else used the processor during a round."""
    return any(busy(seen, evidence.threads) for seen in evidence.seen)


def how_busy(evidence: Evidence) -> str:
    """In how many rounds, and what others took of the processor at most."""
    count = sum(busy(seen, evidence.threads) for seen in evidence.seen)
    stolen, others = (
        max((getattr(seen.state, name) or 0.0 for seen in evidence.seen), default=0.0)
        for name in ("steal_percent", "other_cpu_percent")
    )
    shares = [f"other programs {others:.0f} %"] if others > BUSY_CPU_PERCENT else []
    shares += [f"the host's other guests {stolen:.0f} %"] if stolen > BUSY_STEAL_PERCENT else []
    took = f"; at most, {' and '.join(shares)} of the processor" if shares else ""
    return f"in {count} of {len(evidence.seen)} rounds{took}"


def busy(seen: Observation, threads: int) -> bool:
    """Whether somebody else used the processor during one round."""
    if seen.traits is not None and seen.traits.counted_by != "engine":
        return False  # a server beside the worker does the work, and looks like somebody else's
    return busy_state(seen.state, threads)


def busy_state(state: MachineState, threads: int) -> bool:
    """The load is read only where the others' CPU time is not: it lags by a minute and holds the cell before."""
    if (state.steal_percent or 0.0) > BUSY_STEAL_PERCENT:
        return True
    if state.other_cpu_percent is not None:
        return state.other_cpu_percent > BUSY_CPU_PERCENT
    return (state.load_1min or 0.0) > BUSY_LOAD_FACTOR * threads + 1


def on_battery(evidence: Evidence) -> bool:
    """A round ran on battery."""
    return any(seen.state.on_battery for seen in evidence.seen)


def throttled(evidence: Evidence) -> bool:
    """The processor held itself back over the rounds, or in the sustained run."""
    return bool(held_back(evidence))


def held_back(evidence: Evidence) -> str:
    """What shows that it did; empty where nothing does."""
    looks = [Look(ms, seen.state) for ms, seen in zip(evidence.medians_ms, evidence.seen, strict=True)]
    of_rounds = throttling.over(looks)
    sustained = evidence.sustained.flag_details.get("throttled", "") if evidence.sustained else ""
    told = [f"over the rounds {of_rounds}"] if of_rounds else []
    return "; ".join([*told, *([f"in the sustained run {sustained}"] if sustained else [])])


def how_often_on_battery(evidence: Evidence) -> str:
    """In how many rounds."""
    return f"in {sum(bool(seen.state.on_battery) for seen in evidence.seen)} of {len(evidence.seen)} rounds"


def reduced_precision(evidence: Evidence) -> bool:
    """The probe computed in fewer bits than asked, or a cell in FP32 answers with their error (see PROVIDERS 3)."""
    asked = number_format(evidence.cell)
    if executed(evidence.cell, evidence.facts) in COARSER.get(asked, ()):
        return True
    bits = (seen.parity.effective_bits for seen in evidence.seen if seen.parity is not None)
    return asked == "fp32" and any(found is not None and found < FP32_BITS for found in bits)


def casts_around_fp32(evidence: Evidence) -> bool:
    """FP16 tensors, FP32 arithmetic: what ONNX Runtime's CPU provider makes of an FP16 model (see PROVIDERS 3)."""
    return executed(evidence.cell, evidence.facts) == AROUND_FP32


def unchecked_option(evidence: Evidence) -> bool:
    """A note on the target says so: only who has the catalogue and the provider at hand can know."""
    notes = evidence.facts.notes if evidence.facts else ()
    return any(note.startswith(UNKNOWN_OPTION) for note in notes)


def stopped_early(evidence: Evidence) -> bool:
    """A generation emitted fewer tokens than the workload asks for."""
    asked = evidence.cell.sizes.get("new", 0)
    return any(made.tokens < asked for made in _generations(evidence))


def tokens_estimated(evidence: Evidence) -> bool:
    """Nobody counted the tokens but by the pieces that came."""
    return any(seen.traits is not None and seen.traits.counted_by == "chunks" for seen in evidence.seen)


def uneven_steps(evidence: Evidence) -> bool:
    """There are not as many steps as tokens, as where a server sends two in one message."""
    return any(len(made.token_ns) + 1 != made.tokens for made in _generations(evidence))


def tokens_not_compared(evidence: Evidence) -> bool:
    """A round generated, and none of its tokens was compared."""
    rounds = [seen for seen in evidence.seen if seen.timing is not None and seen.timing.generations]
    return any(seen.parity is None or seen.parity.tokens_compared is None for seen in rounds)


def _generations(evidence: Evidence) -> list[Generation]:
    return [made for seen in evidence.seen if seen.timing is not None for made in seen.timing.generations]


def placement_unknown(evidence: Evidence) -> bool:
    """A provider was asked for, and a round has no word on the nodes."""
    return evidence.cell.provider is not None and any(not known(seen) for seen in evidence.seen)


def placement_varies(evidence: Evidence) -> bool:
    """Two rounds tell of different placements."""
    return _differ([seen.placement.nodes for seen in evidence.seen if seen.placement is not None])


def mixed_versions(evidence: Evidence) -> bool:
    """Two rounds tell of different versions."""
    return _differ([seen.versions for seen in evidence.seen])


def _differ(found: Sequence[Mapping[str, object]]) -> bool:
    return any(other != found[0] for other in found[1:])


RULES: dict[str, Callable[[Evidence], bool]] = {
    "emulated": emulated,
    "software adapter": software_adapter,
    "few rounds": few_rounds,
    "noisy": noisy,
    "rounds disagree": rounds_disagree,
    "not steady": not_steady,
    "busy machine": busy_machine,
    "on battery": on_battery,
    "throttled": throttled,
    "reduced precision": reduced_precision,
    "casts around FP32": casts_around_fp32,
    "unchecked option": unchecked_option,
    "stopped early": stopped_early,
    "tokens estimated": tokens_estimated,
    "uneven steps": uneven_steps,
    "tokens not compared": tokens_not_compared,
    "placement unknown": placement_unknown,
    "placement varies": placement_varies,
    "mixed versions": mixed_versions,
}

DETAILS: dict[str, Callable[[Evidence], str]] = {
    "not steady": unsettled,
    "busy machine": how_busy,
    "on battery": how_often_on_battery,
    "throttled": held_back,
}
