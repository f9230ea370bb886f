"""The words of the report for statuses, flags, machines, recipes and weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.judge.number_formats import COARSER, held
from bench.records import Cell, Effort, Executed, Failure, Machine, Note, Outcome, Run, Status, Weights
from bench.report import numbers, text_flags, text_notes


class Meaning(NamedTuple):
    """The meaning of a status, and the tone of its colour."""

    tone: str
    text: str


STATUSES: dict[Status, Meaning] = {
    "ok": Meaning(
        "good", "ran with every node on the target (shape and constant bookkeeping excepted), output within tolerance"
    ),
    "partial": Meaning(
        "warn", "ran, output within tolerance, but some nodes ran elsewhere, or it cannot be told where they ran"
    ),
    "approximate": Meaning(
        "near",
        "ran, output within the tolerance of its precision, but visibly another answer (best class, best token, text); "
        "ranked only when asked for",
    ),
    "unchecked": Meaning("absent", "ran, but the model is random, so no answer can be checked; speed is in no ranking"),
    "inaccurate": Meaning("wrong", "ran, but its output is outside the tolerance of its precision; speed is withheld"),
    "failed": Meaning("bad", "a stage ended with an error"),
    "crashed": Meaning("bad", "the worker process died"),
    "timeout": Meaning("bad", "it did not finish within its time limit"),
    "out-of-memory": Meaning("bad", "it needed more memory than there is"),
    "unsupported": Meaning("refused", "the exporter, the quantizer or the target refuses it"),
    "not-measured": Meaning("absent", "the run ended before its turn; `bench run --resume` measures it"),
    "unavailable": Meaning("absent", "the target is not on this machine"),
    "excluded": Meaning("absent", "a rule of the matrix leaves it out"),
}
"""In the order in which they are counted and listed: failures come before unavailable and excluded cells."""

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
    "Weights are pretrained. What is compared here is each target's output with the FP32 reference on the same inputs."
)
NO_SCORE = "No task score was measured."
RAN: tuple[Status, ...] = ("ok", "partial", "approximate", "unchecked", "inaccurate")
"""The statuses of cells that gave an answer."""
EMULATED = "times of an emulator, not of a device"
NO_FORMAT = {"elsewhere", "refused", "unknown"}
"""Results of a probe that are not number formats."""
SHOWN_ELSEWHERE = {"software-adapter", "emulated-device", *text_notes.STARTS}
"""Kinds of notes that the report shows in another place: as a flag, as a mark of the target, or with the starts."""
HOW_TO_READ = "2× is twice as fast; ± and brackets are 95 % confidence intervals."
NO_RESOLUTION = "This run cannot show which differences are real."


def resolution(typical: float, worst: float) -> str:
    """A sentence on the smallest relative differences that the run can show, in its typical and its noisiest cell."""
    typically, at_worst = numbers.difference(typical), numbers.difference(worst)
    noisiest = f" (under {at_worst} in the noisiest cell)" if at_worst != typically else ""
    return f"Differences under {typically} cannot be distinguished on this machine in this run{noisiest}."


def say(note: Note | None) -> str:
    """The words of a note; empty for None."""
    return "" if note is None else text_notes.say(note)


def reason(outcome: Outcome) -> str:
    """Why a cell has its status."""
    return say(outcome.reason)


def remedy(outcome: Outcome) -> str:
    """What to do about the status; empty if nothing is known."""
    return say(outcome.remedy)


def flag(kind: str) -> str:
    """The sentence that explains a flag."""
    return text_flags.sentence(kind)


def computed_in(outcome: Outcome) -> str | None:
    """The number format that the target computes in, if the cell ran and asks for another; else None."""
    executed = outcome.executed if outcome.status in RAN else None
    return None if executed is None or executed in NO_FORMAT or executed == _held(outcome) else executed


def gap_tone(outcome: Outcome) -> str:
    """`wrong` if the target computes in fewer bits than requested, else `warn`."""
    return "wrong" if outcome.executed in COARSER.get(_held(outcome), ()) else "warn"


def asked_and_computed(outcome: Outcome) -> str | None:
    """`asked fp32, computes in bf16`; None if the two agree, or nothing is known."""
    computed = computed_in(outcome)
    requested = f"the file is {outcome.file_format}" if outcome.file_format else f"asked {_held(outcome)}"
    return f"{requested}, computes in {computed}" if computed else None


def remark(outcome: Outcome) -> str | None:
    """What a row that is named by its cell must add: the number format of the user's own file, or of the arithmetic."""
    return asked_and_computed(outcome) or own_format(outcome) or None


def own_format(outcome: Outcome) -> str:
    """`the file is fp16` for the user's own file as it is, where that is not FP32; else empty."""
    return f"the file is {outcome.file_format}" if outcome.file_format and _is_as_it_is(outcome.cell) else ""


def _held(outcome: Outcome) -> str:
    return held(outcome.cell, outcome.build_notes)


def precision(cell: Cell, file_format: str | None = None) -> str:
    """The name of a cell's precision; `fp16 file` for the user's own file as it is, where that is not FP32."""
    return f"{file_format} file" if file_format and _is_as_it_is(cell) else cell.precision


def _is_as_it_is(cell: Cell) -> bool:
    """Whether the recipe leaves a user's file unchanged, as `fp32` does."""
    return cell.recipe is not None and cell.recipe.number_format == "fp32"


def executed(result: Executed | None) -> tuple[str, str]:
    """The text and the tone of a probe's result for one number format: `bf16 (9.2 bits)` for FP32 is `wrong`."""
    if result is None:
        return numbers.DASH, ""
    bits = f" ({numbers.significant(result.bits, 2)} bits)" if result.bits is not None else ""
    if result.format in NO_FORMAT:
        words = {"elsewhere": "ran elsewhere", "refused": "refused", "unknown": "no known format"}[result.format]
        return words + bits, "absent"
    tone = (
        "wrong" if result.format in COARSER.get(result.asked, ()) else "warn" if result.format != result.asked else ""
    )
    return result.format + bits, tone


def notes(outcome: Outcome) -> tuple[str, ...]:
    """The notes of an outcome as text, without those that the report shows in another place."""
    return tuple(say(note) for note in outcome.notes if note.kind not in SHOWN_ELSEWHERE)


def build_notes(outcome: Outcome) -> tuple[str, ...]:
    """The notes on a cell's artifact and on its inputs as text."""
    return tuple(map(say, outcome.build_notes))


def input_notes(outcome: Outcome) -> tuple[str, ...]:
    """What a reader of any figure must know of a cell's inputs: noise, default sizes, and what is guessed."""
    return tuple(say(note) for note in outcome.build_notes if note.kind in text_notes.INPUT_MARKS)


def row_notes(outcome: Outcome) -> tuple[str, ...]:
    """What must stand in the row of a figure: which control it has in place of the planned one, and `input_notes`."""
    replaced = tuple(say(note) for note in outcome.notes if note.kind == "control-replaced")
    return replaced + input_notes(outcome)


def input_mark(outcome: Outcome) -> str:
    """Two words for `input_notes` where there is no room for them; empty for the user's own inputs."""
    kinds = {note.kind for note in outcome.build_notes} & set(text_notes.INPUT_MARKS)
    if not kinds:
        return ""
    return "guessed inputs" if kinds <= set(text_notes.GUESSED_MARKS) else "made-up inputs"


def optimization(outcome: Outcome) -> str:
    """Which optimization is at fault, and the level that is right or was measured; empty without such a finding."""
    measured = (text_flags.detail(flag) for flag in outcome.flags if flag.kind == "lower-optimization")
    others = (say(note) for note in outcome.notes if note.kind == "optimization-fault")
    return next(measured, "") or next(others, "")


def start_note(outcome: Outcome, start: str) -> str:
    """Why there is no `cold` or `cached` start; empty if nothing is known."""
    start_notes = (
        note for note in outcome.notes if note.kind in text_notes.STARTS and note.values.get("start") == start
    )
    return next((text_notes.say(note, text_notes.STARTS) for note in start_notes), "")


def energy_from(sources: Iterable[str]) -> str:
    """A phrase on the source of the energy figures and what the source includes."""
    return f"read from {' and '.join(sources)}, which counts all that the device did meanwhile, not this process alone."


def weights_of(run: Run, outcome: Outcome) -> Weights | None:
    """The weights that an outcome used, else those that the run records for its model."""
    return outcome.weights or run.weights.get(outcome.cell.model)


def weights_behind(run: Run, outcomes: Iterable[Outcome], model: str) -> Weights | None:
    """`random` if any outcome used random weights, so that no figure looks more reliable than it is."""
    # Where a model has no outcome, what the run recorded when it prepared the model.
    every = {weights_of(run, outcome) for outcome in outcomes} or {run.weights.get(model)}
    return "random" if "random" in every else next(iter(every - {None}), None)


def control(cell: str) -> str:
    """`fp32 on torch-eager` for the cell id of a control.

    The model and the workload are left out, because they are those of the cell that it is compared with.
    """
    parts = cell.split("/")
    # A file from elsewhere may hold any text as the id of a cell.
    return f"{parts[1]} on {parts[2]}" if len(parts) == 4 else cell


def ending(failure: Failure) -> str:
    """How a failure ended: `RuntimeError, exit code 1`, or `SIGSEGV, exit code -11`.

    A kind in lower case, such as `signal` or `untimed`, is not the class of an exception and only repeats the
    status, so it is left out.
    """
    kind = "" if failure.kind.islower() else failure.kind
    code = "" if failure.exit_code is None else f"exit code {failure.exit_code}"
    return ", ".join(filter(None, (kind, failure.signal, code)))


def recipe(cell: Cell, file_format: str | None = None) -> str:
    """`dynamic-int8 per_channel=true`: the recipe's name and its options; empty if the precision has none.

    `file_format` is that of the user's own file, where it is not FP32.
    """
    if cell.recipe is None:
        return ""
    if file_format and _is_as_it_is(cell):
        return "the file as it is"
    options = (f"{key}={_option(value)}" for key, value in cell.recipe.options.items())
    return " ".join((cell.recipe.name, *options))


def cores(machine: Machine) -> str:
    """`2 of 4 logical cores`: those that affinity and quota allow, of all."""
    usable, logical = machine.cpu.usable_cores, machine.cpu.logical_cores
    if usable >= logical:
        return f"{logical} logical core{_s(logical)}"
    return f"{usable:g} of {logical} logical cores"


def accelerators(machine: Machine) -> str:
    """The names of all GPUs and NPUs, or `no GPU or NPU`."""
    return ", ".join(a.name for a in machine.accelerators) or "no GPU or NPU"


def machine_line(machine: Machine) -> str:
    """The facts of a machine that matter to speed, on one line."""
    parts = [machine.cpu.brand, cores(machine), numbers.size(machine.memory_bytes), accelerators(machine)]
    return " · ".join([*parts, f"{machine.os} {machine.os_version}".strip()])


def moment(created: str) -> str:
    """`2026-11-03T10:12:44+00:00` as `2026-11-03 10:12 UTC`; other texts are returned unchanged."""
    date, separator, time = created.partition("T")
    utc = time.endswith(("Z", "+00:00"))
    return f"{date} {time[:5]} UTC" if separator and utc else created


def effort_lines(run: Run) -> tuple[str, ...]:
    """How a run was measured, in two sentences."""
    of_effort = _of_rounds(run) if run.effort.minutes is None else _of_blocks(run, run.effort.minutes)
    return (*of_effort, *dict.fromkeys(f"{say(fact)}." for fact in run.cache_notes))


def _of_blocks(run: Run, minutes: float) -> tuple[str, str]:
    effort = run.effort
    least, most = effort.min_rounds, effort.max_rounds
    blocks = f"{least} to {most} blocks of each model" if most > least else f"{least} block{_s(least)} of each model"
    aim = f" until its comparisons are known to ±{numbers.percent(effort.half_width)}" if effort.half_width else ""
    first = (
        f"Budget {effort.name}: {blocks}{aim}, as far as {minutes:g} minute{_s(minutes)} allow. A block has a fresh "
        f"process for each target and precision, on {run.threads} thread{_s(run.threads)}; all are warm at once, and "
        f"their bursts alternate in random order (seed {run.seed})."
    )
    second = (
        f"Each process warms up until steady (at least {effort.warmup_calls} calls and {effort.warmup_s:g} s, at most "
        f"{effort.warmup_limit_s:g} s), then takes {effort.bursts} turn{_s(effort.bursts)} of {effort.burst_s:g} s; "
        "intervals are 95 % confidence intervals over blocks, and no speed is given for answers outside the tolerance."
    )
    return first, second


def _of_rounds(run: Run) -> tuple[str, str]:
    """Of a gate and of an older run, whose cells were measured one after the other."""
    effort = run.effort
    aim = f", more while a latency is not known to ±{numbers.percent(effort.half_width)}" if effort.half_width else ""
    first = (
        f"Budget {effort.name}: {_rounds(effort)}{aim}; a round visits every cell in random order (seed {run.seed}), "
        f"each model x precision x target in a fresh process, on {run.threads} thread{_s(run.threads)}."
    )
    second = (
        f"Each process warms up until steady (at least {effort.warmup_calls} calls and {effort.warmup_s:g} s, at most "
        f"{effort.warmup_limit_s:g} s), then calls for about {_bursts(effort)}; intervals are 95 % confidence "
        "intervals over rounds, and no speed is given for answers outside the tolerance."
    )
    return first, second


def _bursts(effort: Effort) -> str:
    return f"{effort.burst_s:g} s" if effort.bursts == 1 else f"{effort.bursts} times {effort.burst_s:g} s"


def _rounds(effort: Effort) -> str:
    if effort.max_rounds > effort.min_rounds:
        return f"{effort.min_rounds} to {effort.max_rounds} rounds"
    return f"{effort.min_rounds} round{_s(effort.min_rounds)}"


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _s(number: float) -> str:
    return "" if number == 1 else "s"
