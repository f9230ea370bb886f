"""What the report calls things: statuses, flags, machines, recipes and weights in plain words (pure)."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Cell, Effort, Failure, Machine, Run, Status, Weights
from bench.report import numbers


class Meaning(NamedTuple):
    """What a status says, and the tone that it is coloured in."""

    tone: str
    text: str


STATUSES: dict[Status, Meaning] = {
    "ok": Meaning(
        "good", "ran with every node on the target (shape and constant bookkeeping excepted), output within tolerance"
    ),
    "partial": Meaning("warn", "ran, output within tolerance, but some nodes fell back to another execution provider"),
    "inaccurate": Meaning("wrong", "ran, but its output is outside the tolerance of its precision; speed is withheld"),
    "unsupported": Meaning("refused", "the exporter, the quantizer or the target refuses it"),
    "unavailable": Meaning("absent", "the target is not on this machine"),
    "excluded": Meaning("absent", "a rule of the matrix leaves it out"),
    "failed": Meaning("bad", "a stage ended with an error"),
    "crashed": Meaning("bad", "the worker process died"),
    "timeout": Meaning("bad", "it did not finish within its time limit"),
    "out-of-memory": Meaning("bad", "it needed more memory than there is"),
}
"""In the order in which they are counted and listed."""

FLAGS: dict[str, str] = {
    "noisy": "the 95 % interval of the latency is wider than this budget aims for, even after the last round",
    "unsteady": "the calls were still drifting when the warm-up limit was reached, and were measured all the same",
    "few-rounds": "too few rounds for an interval",
    "emulated": "ran on an emulator: the answers are real, the timings mean nothing",
    "on-battery": "the machine ran on battery during at least one round",
    "stolen": "the hypervisor took CPU time away during at least one round",
    "busy": "other processes used the CPU during at least one round",
}
UNKNOWN_FLAG = "no explanation is on record; see the notes of the cell in results.json"

WEIGHTS: dict[Weights | None, str] = {
    "pretrained": "pretrained",
    "random": "random",
    None: numbers.DASH,
}
RANDOM_WEIGHTS = (
    "Weights are random (same architecture, seeded): speed does not depend on their values, accuracy does. "
    "What is compared here is agreement with the reference on the same random weights; it says nothing about the "
    "accuracy of a trained model."
)
PRETRAINED_WEIGHTS = (
    "Weights are pretrained. What is compared here is each target's output with the FP32 reference on the same "
    "inputs; no task score was measured."
)


NO_RESOLUTION = "Which differences are real cannot be told from this run."


def resolution(typical: float, worst: float) -> str:
    """How small a relative difference the run could have seen in its typical cell, and in its noisiest."""
    typically, at_worst = numbers.percent(typical), numbers.percent(worst)
    noisiest = f" (under {at_worst} in the noisiest cell)" if at_worst != typically else ""
    return f"Differences under {typically} cannot be told apart on this machine in this run{noisiest}."


def flag(name: str) -> str:
    """What a flag says."""
    return FLAGS.get(name, UNKNOWN_FLAG)


def ending(failure: Failure) -> str:
    """How a failure ended, for people: `stage session, OutOfMemory, exit code 137`."""
    parts = [f"stage {failure.stage}"] if failure.stage else []
    if failure.kind:
        parts.append(failure.kind)
    if failure.exit_code is not None:
        parts.append(f"exit code {failure.exit_code}")
    if failure.signal:
        parts.append(f"signal {failure.signal}")
    return ", ".join(parts)


def recipe(cell: Cell) -> str:
    """`dynamic-int8 per_channel=true`: the recipe's name and its options; empty where the precision has none."""
    if cell.recipe is None:
        return ""
    options = (f"{key}={_option(value)}" for key, value in cell.recipe.options.items())
    return " ".join((cell.recipe.name, *options))


def cores(machine: Machine) -> str:
    """`2 of 4 cores`: what affinity and quota leave of the logical cores."""
    usable, logical = machine.cpu.usable_cores, machine.cpu.logical_cores
    if usable >= logical:
        return f"{logical} logical core{'s' if logical != 1 else ''}"
    return f"{usable:g} of {logical} logical cores"


def accelerators(machine: Machine) -> str:
    """Every GPU and NPU by name, or that there is none."""
    return ", ".join(a.name for a in machine.accelerators) or "no GPU or NPU"


def machine_line(machine: Machine) -> str:
    """The machine on one line, by what matters to speed."""
    parts = [machine.cpu.brand, cores(machine), numbers.size(machine.memory_bytes), accelerators(machine)]
    return " · ".join([*parts, f"{machine.os} {machine.os_version}".strip()])


def moment(created: str) -> str:
    """`2026-11-03T10:12:44+00:00` as `2026-11-03 10:12 UTC`; what does not look like that stays as it is."""
    date, separator, time = created.partition("T")
    utc = time.endswith(("Z", "+00:00"))
    return f"{date} {time[:5]} UTC" if separator and utc else created


def effort_lines(run: Run) -> tuple[str, str]:
    """How a run was measured, in two sentences."""
    effort = run.effort
    aim = f", more while a latency is not known to ±{numbers.percent(effort.half_width)}" if effort.half_width else ""
    first = (
        f"Budget {effort.name}: {_rounds(effort)}{aim}; a round visits every cell in random order (seed {run.seed}), "
        f"each model x precision x target in a fresh process with {run.threads} thread{'s' if run.threads != 1 else ''}."
    )
    second = (
        f"Each process warms up until steady (at least {effort.warmup_calls} calls and {effort.warmup_s:g} s, at most "
        f"{effort.warmup_limit_s:g} s), then calls for about {effort.burst_s:g} s; intervals are 95 % confidence "
        "intervals over rounds, and no speed is given for answers outside the tolerance."
    )
    return first, second


def _rounds(effort: Effort) -> str:
    if effort.max_rounds > effort.min_rounds:
        return f"{effort.min_rounds} to {effort.max_rounds} rounds"
    return f"{effort.min_rounds} round{'s' if effort.min_rounds != 1 else ''}"


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
