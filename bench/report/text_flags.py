"""The words for flags, which the report calls warnings: name, explanation, and what raised each."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import Note
from bench.report import text_notes

GLOSSARY = {
    "emulated": "An emulator replaced the device: the answers count, the times say nothing about real hardware.",
    "software-adapter": "A program on the processor did the GPU's work: the times are real, but they are not a GPU's.",
    "few-rounds": "A single block was measured, so there is no interval.",
    "noisy": "The 95 % interval is wider than the resolution of the budget; small differences cannot be trusted.",
    "rounds-disagree": "The slowest round took over a quarter longer than the fastest: rounds differ in speed.",
    "not-steady": "The calls had not settled when the warm-up ended at its limit, or drifted while they were timed.",
    "busy-machine": "Other programs, or other guests of the host, used the processor during at least one round.",
    "on-battery": "The machine ran on battery in at least one round, where clocks are usually reduced.",
    "throttled": "Calls became slower while the clock fell by over a tenth, or the processor reached its heat limit.",
    "reduced-precision": "The results are less precise than the requested format: something computed in fewer bits.",
    "casts-around-fp32": "The cell asks for FP16, but its kernels compute in FP32, with casts around them.",
    "lower-optimization": "ONNX Runtime fails or is wrong at the optimization asked for: the speed is of a lower one.",
    "unchecked-option": "The row sets an option that the catalogue does not know and that its provider does not check.",
    "stopped-early": "At least one generation ended before it reached the number of tokens of the workload.",
    "tokens-estimated": "The server did not report how many tokens it sent: each piece of text counts as one token.",
    "uneven-steps": "Some steps brought several tokens, or none: percentiles are of the time between steps.",
    "tokens-not-compared": "The engine shows no token ids: its tokens were not compared with those of the reference.",
    "placement-unknown": "In at least one round this runtime could not tell which provider the nodes ran on.",
    "placement-varies": "The nodes were not on the same providers in every round; the worst round is the one shown.",
    "mixed-versions": "A library had another version in some rounds, as after a resumed run, so rounds may differ.",
}
"""Every flag with one sentence that explains it, in the order in which a cell lists its flags."""
NAMES = {"casts-around-fp32": "casts around FP32"}
"""Names that differ from the kind with spaces for hyphens."""
UNKNOWN_FLAG = "This version of Touchstone does not know the warning; another version made the run."


def name(kind: str) -> str:
    """`few rounds` of the kind `few-rounds`; an unknown kind is returned unchanged."""
    return NAMES.get(kind, kind.replace("-", " ")) if kind in GLOSSARY else kind


def names(flags: Iterable[Note]) -> tuple[str, ...]:
    """The names of a cell's flags, in their order."""
    return tuple(name(flag.kind) for flag in flags)


def sentence(kind: str) -> str:
    """The sentence that explains a flag; a general one for an unknown kind."""
    return GLOSSARY.get(kind, UNKNOWN_FLAG)


def detail(flag: Note) -> str:
    """What raised a flag, in words and figures; empty if no more is known than its name says."""
    if flag.kind in text_notes.DETAILS:
        return text_notes.say(flag)
    return text_notes.parameters(flag)


def details(flags: Iterable[Note]) -> dict[str, str]:
    """What raised each flag, by the name of the flag; flags without such details are left out."""
    return {name(flag.kind): words for flag in flags if (words := detail(flag))}
