"""The words for notes: for each kind of a `Note`, a function that writes its sentence.

A feature with its own kinds has its own module `text*.py` with such a table `WORDS`. A test compares the tables with
the kinds and parameters that the code makes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from bench.records import Note, NoteValue

Words = Callable[..., str]
"""Takes the words of the note's parts by position and its values by name."""

FIGURES = {
    "cosine": "cosine",
    "relative_error": "relative error",
    "kl_divergence": "KL divergence",
    "top1_agreement": "top-1 agreement",
    "agreement": "share of equal values",
}
"""The words for the figures of `Parity` that can have a limit."""
OPERATORS_SHOWN = 5
UNPROFILED = "their share of the time cannot be told: no call was profiled"
FLASH_ATTENTION = {"auto": "left to llama.cpp"}


def say(note: Note, words: Mapping[str, Words] | None = None) -> str:
    """The sentence of a note, by default from the table of this module; a kind without words shows its parameters.

    An engine of another package may make kinds that are not in the table, and values of other types.
    """
    table = WORDS if words is None else words
    kind = table.get(note.kind)
    if kind is None or not _accepts(kind, note):
        return unknown(note)
    try:
        sentence = kind(*(say(part, words) for part in note.parts), **note.values)
    # A run of another version, or of a stranger, may hold any values, and one strange note must not lose the report.
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
        return unknown(note)
    # Of a kind that is a text, with a number.
    return sentence if isinstance(sentence, str) else unknown(note)


def unknown(note: Note) -> str:
    """A note without words as its kind and parameters, `fan-speed: rpm=1200`, then its parts."""
    values = parameters(note)
    return "; ".join([f"{note.kind}: {values}" if values else note.kind, *map(say, note.parts)])


def parameters(note: Note) -> str:
    """The parameters of a note, such as `rpm=1200, side=left`."""
    return ", ".join(f"{name}={_plain(value)}" for name, value in note.values.items())


def _plain(value: NoteValue) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _accepts(words: Words, note: Note) -> bool:
    names, takes_parts = _signature(words)
    return names == note.values.keys() and (takes_parts or not note.parts)


@cache
def _signature(words: Words) -> tuple[frozenset[str], bool]:
    """The names of the values that a sentence needs, and whether it takes parts."""
    kinds = {name: parameter.kind for name, parameter in inspect.signature(words).parameters.items()}
    names = (name for name, kind in kinds.items() if kind is not inspect.Parameter.VAR_POSITIONAL)
    return frozenset(names), inspect.Parameter.VAR_POSITIONAL in kinds.values()


# --- helpers ----------------------------------------------------------------------------------------------------------


def share_of_rounds(times: int, rounds: int) -> str:
    """` (in 2 of 3 rounds)`; empty if it holds for every round."""
    return "" if times == rounds else f" (in {times} of {rounds} rounds)"


def shortened(ops: tuple[str, ...]) -> str:
    """The first `OPERATORS_SHOWN` operator types with their counts, and how many more there are."""
    more = len(ops) - OPERATORS_SHOWN
    ending = f" and {more} more op type{'' if more == 1 else 's'}" if more > 0 else ""
    return ", ".join(ops[:OPERATORS_SHOWN]) + ending


def percent(share: float) -> str:
    """A share of 1 in percent, with two figures: `0.013 %`, `25 %`; whole percents from 10 % up."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def _slowed(signs: tuple[str, ...], slower: float) -> str:
    return f"{' and '.join(signs)}, while calls became {slower * 100:.0f} % slower"


# --- sentences that need more than their values -----------------------------------------------------------------------


def _text(text: str) -> str:
    return str(text)


def _failed_at_stage(stage: str, text: str, times: int, rounds: int) -> str:
    # The failures of these two stages say by themselves what they are about.
    place = "" if stage in ("target", "placement") else f"{stage}: "
    return f"{place}{text}{share_of_rounds(times, rounds)}"


def _out_of_tolerance(*faults: str, reference: str, times: int, rounds: int) -> str:
    return f"{' and '.join(faults)}, against {reference}{share_of_rounds(times, rounds)}"


def _in_output(*faults: str, output: str, axis: int | None, slices: str | None, others: int) -> str:
    block = "" if axis is None else f" ({slices} of axis {axis})"
    more = f"; {others} more output{'' if others == 1 else 's'} outside too" if others else ""
    return f"output '{output}'{block}: {' and '.join(faults)}{more}"


def _visibly_other(*facts: str, reference: str, times: int, rounds: int) -> str:
    return (
        f"within tolerance, but visibly another answer: {' and '.join(facts)}, "
        f"against {reference}{share_of_rounds(times, rounds)}"
    )


def _random_model(outputs: tuple[str, ...]) -> str:
    named = ", ".join(f"'{name}'" for name in outputs[:OPERATORS_SHOWN])
    return f"the model is random: its own reference gives another answer each time ({named}), so none can be checked"


def _ends(status: str) -> str:
    return {"crashed": "crashes", "inaccurate": "gives wrong answers"}.get(status, "fails")


def _by(optimizers: tuple[str, ...]) -> str:
    return f" because of {' with '.join(optimizers)}" if optimizers else ""


def _optimization_fault(
    asked: str, status: str, text: str, works: str, optimizers: tuple[str, ...], measured: bool
) -> str:
    said = f" ({text})" if text else ""
    then = f"this is measured at '{works}'" if measured else f"'{works}' is right"
    return f"optimization '{asked}' {_ends(status)}{_by(optimizers)}{said}; {then}"


def _set_optimization(works: str, optimizers: tuple[str, ...]) -> str:
    alone = f", or switch off {' and '.join(optimizers)} alone by a session entry" if optimizers else ""
    return f"set optimization = '{works}' for the provider{alone}"


def _fell_back(*costs: str, nodes: int, total: int, others: tuple[str, ...], ops: tuple[str, ...]) -> str:
    counted = f"{nodes} of {total} nodes fell back to {' and '.join(others)}: {shortened(ops)}"
    return "; ".join([counted, *costs])


def _cost_elsewhere(time_share: float | None, copies: int | None) -> str:
    counted = [] if copies is None else [f"{copies} cop{'y' if copies == 1 else 'ies'} between devices a call"]
    if time_share is None:
        return ", ".join([*counted, UNPROFILED])
    return " and ".join([f"{percent(time_share)} of the time", *counted])


def _every_node_on_target(target: str, shape_ops: tuple[str, ...]) -> str:
    excused = f" but for {shortened(shape_ops)}, which handle shapes only" if shape_ops else ""
    return f"every node on {target}{excused}; answers within tolerance"


def _no_node_on_target(target: str, others: tuple[str, ...]) -> str:
    return f"no node was placed on {target}: everything ran on {' and '.join(others)}"


def _only_shapes_on_target(target: str, others: tuple[str, ...]) -> str:
    return f"nothing but shapes and constants was placed on {target}: everything else ran on {' and '.join(others)}"


def _undefined_figure(figure: str) -> str:
    return f"the {'error' if figure == 'relative_error' else FIGURES.get(figure, figure)} is undefined"


def _busy_machine(times: int, total: int, unit: str, others_percent: float | None, stolen_percent: float | None) -> str:
    shares = [] if others_percent is None else [f"other programs {others_percent:.0f} %"]
    shares += [] if stolen_percent is None else [f"the host's other guests {stolen_percent:.0f} %"]
    took = f"; at most, {' and '.join(shares)} of the processor" if shares else ""
    return f"in {times} of {total} {unit}{took}"


def _not_steady(limited: int, rounds: int, drift: float) -> str:
    parts = [f"the warm-up ended at its limit in {limited} of {rounds} rounds"] if limited else []
    if drift:
        direction = "slower" if drift > 0 else "faster"
        parts.append(
            f"calls became {abs(drift) * 100:.1f} % {direction} from the first third of the timed ones to the last"
        )
    return "; ".join(parts)


def _start_failed(start: str, status: str, text: str) -> str:
    return f"{status}: {text}"


def _start_unanswered(start: str) -> str:
    return "the worker ended without an answer"


def _quantized_operators(operators: int, total: int, number_format: str, block: int | None) -> str:
    blocks = "" if block is None else f", in blocks of {block}"
    return f"{operators} of {total} operators with weights are {number_format.upper()}{blocks}"


def _file_format(number_format: str, op_types: tuple[str, ...]) -> str:
    shown = f" ({', '.join(op_types)})" if op_types else ""
    return f"the model's own file is {number_format.upper()}{shown}"


# --- the tables -------------------------------------------------------------------------------------------------------

REASONS: dict[str, Words] = {
    "text": _text,
    "not-measured": lambda: "not measured: the run ended before its turn",
    "failed-at-stage": _failed_at_stage,
    "no-timed-call": lambda: "the worker answered without a single timed call",
    "unchecked-answers": lambda times, rounds: (
        f"timed, but its answers were not checked against the reference{share_of_rounds(times, rounds)}"
    ),
    "other-device": lambda device, asked, times, rounds: (
        f"ran on {device}, and the row asks for {asked}{share_of_rounds(times, rounds)}"
    ),
    "no-node-on-target": _no_node_on_target,
    "only-shapes-on-target": _only_shapes_on_target,
    "out-of-tolerance": _out_of_tolerance,
    "placement-not-told": lambda times, rounds: (
        f"ran and correct, but the runtime could not tell which provider ran the nodes{share_of_rounds(times, rounds)}"
    ),
    "fell-back": _fell_back,
    "cost-elsewhere": _cost_elsewhere,
    "random-model": _random_model,
    "visibly-other": _visibly_other,
    "within-tolerance": lambda: "answers within tolerance",
    "every-node-on-target": _every_node_on_target,
}
"""Why a cell has its status."""

FAULTS: dict[str, Words] = {
    "nothing-compared": lambda: "no output was compared",
    "not-finite": lambda: "the outputs hold NaN or infinity",
    "empty-tolerance": lambda: "the tolerance asks for nothing, so the answers prove nothing",
    "undefined-figure": _undefined_figure,
    "figure-too-low": lambda figure, value, limit: f"{FIGURES.get(figure, figure)} {value:.6g} is below {limit:g}",
    "figure-too-high": lambda figure, value, limit: f"{FIGURES.get(figure, figure)} {value:.3g} is above {limit:g}",
    "no-token-compared": lambda: "no token was compared",
    "in-output": _in_output,
    "other-shape": lambda shape, expected: f"its shape is {shape}, the reference's {expected}",
    "other-values": lambda given, expected: f"its values are of the kind {given}, the reference's {expected}",
    "output-not-finite": lambda share: (
        f"NaN or infinity in {percent(share)} of the values, and not in the same places of the reference"
    ),
    "output-missing": lambda: "it is missing",
    "output-additional": lambda: "the reference has no such output",
    "few-tokens-same": lambda same, compared: f"{same} of {compared} tokens before the first that differs",
    "tokens-differ": lambda step, compared: f"tokens differ from the reference's at step {step} of {compared}",
}
"""What is wrong with answers that are out of tolerance."""

REMEDIES: dict[str, Words] = {
    "resume": lambda run: f"go on with `bench run --resume RUN`, where RUN is the folder of {run}",
    "see-log": lambda: "see the cell's log in the run's folder",
    "check-provider": lambda: (
        "check its options and libraries, and whether it needs fixed shapes; `bench doctor` tries it alone"
    ),
    "try-other-recipe": lambda: "try other options of the recipe, another precision or another provider version",
    "full-precision": lambda asked, executed: (
        f"the target computes {asked.upper()} in {executed.upper()}: see its options, or ask for that precision"
    ),
    "judge-by-task": lambda: "compare the score of your task with FP32, or use a precision with more bits",
    "make-deterministic": lambda: "to check its answers, export it without random nodes and training-mode dropout",
    "newer-onnxruntime": lambda: "use an onnxruntime that has `get_provider_graph_assignment_info`",
    "try-other-opset": lambda: "try another opset, recipe or provider version that takes these ops",
    "set-optimization": _set_optimization,
}
"""What to do about a status."""

NOTES: dict[str, Words] = {
    "software-adapter": lambda: "software adapter: the CPU imitates a GPU, with threads of its own",
    "emulated-device": lambda: "emulated device",
    "device-unknown": lambda: "which device it computes on cannot be told",
    "own-threads": lambda: "it computes on the CPU with threads of its own, whose number cannot be set here",
    "unknown-option": lambda name: f"unknown option '{name}': the provider checks none, so it may have no effect",
    "static-shapes": lambda sizes: f"static shapes: {', '.join(sizes)}",
    "cuda-graph": lambda: "CUDA graph",
    "compiled": lambda: "compiled by inductor, static shapes",
    "compiled-tokens": lambda: (
        "single tokens are compiled by inductor, static shapes; the prompt is not, as in generate()"
    ),
    "growing-cache": lambda: "the key-value cache is copied to grow at each token, as generate() does by default",
    "fixed-cache": lambda: "the key-value cache has a fixed size",
    "flash-attention": lambda setting: f"flash attention: {FLASH_ATTENTION.get(setting, setting)}",
    "layers-on-gpu": lambda layers, total: f"{layers} of {total} layers on the GPU",
    "llama-cpp-features": lambda text: f"llama.cpp: {text}",
    "server": lambda label, model: f"server: {label}, model {model}",
    "own-digits": lambda digits: (
        f"each timed prompt begins with {digits} digits of its own, so that no prompt cache answers"
    ),
    "server-settings": lambda: (
        "threads, precision and KV cache are the server's own, and its end of sequence ends a generation"
    ),
    "extra-fields": lambda names: f"extra fields: {', '.join(names)}",
    "transformers-generate": lambda: (
        "greedy by generate() of transformers, no end of sequence; "
        "a streamer hands over each token, between two threads"
    ),
    "no-io-binding": lambda: "no IO binding, as is optimum's default on the CPU; each step copies the key-value cache",
    "two-decoders": lambda: "two decoders, without and with past, as from_pretrained(export=True) makes them",
    "no-compiled-model": lambda text: f"no compiled model was kept: {text}",
    "start-failed": lambda start, status, text: f"{start} start: {_start_failed(start, status, text)}",
    "start-unanswered": lambda start: f"{start} start: {_start_unanswered(start)}",
    "failed": lambda status, text: f"{status}: {text}",
    "interrupted": lambda: "interrupted",
    "optimization-fault": _optimization_fault,
    "control-replaced": lambda planned, used: (
        f"compared with {used}, because the control {planned} has no right answers"
    ),
    "made-again": lambda kind, what, problems: (
        f"Made again before anything was measured, because the cache was damaged: {what} ({kind}; {problems})"
    ),
}
"""The notes of engines, probes, starts and sustained runs."""

BUILD_NOTES: dict[str, Words] = {
    "dequantized": lambda formats, file: (
        f"every engine has the weights of {file}, dequantized once from {' and '.join(formats)} to FP32"
    ),
    "widened": lambda formats, file: f"the weights of {file} were {' and '.join(formats)}, and are FP32 here",
    "from-state-dict": lambda file, model: (
        f"the weights of {file}, a pickle without a graph, in this project's {model}; only tensors are read from it"
    ),
    "no-tokenizer-read": lambda tokenizer: f"the file's tokenizer, of the kind {tokenizer}, is not read",
    "split-unknown": lambda split: f"the file splits text as {split}, which is not known here: split as GPT-2 does",
    "opset-of-file": lambda opset: f"the ONNX file has opset {opset}",
    "fp32-op-types": lambda op_types: f"op types that stay in FP32: {', '.join(op_types)}",
    "quantized-operators": _quantized_operators,
    "quantized-products": lambda products, total, number_format: (
        f"{products} of {total} matrix products with weights are {number_format.upper()}"
    ),
    "slow-convolutions": lambda: "dynamic INT8 makes convolutions slower than FP32; prefer static-qdq-int8 for them",
    "calibrated": lambda inputs: f"calibrated on {inputs} inputs",
    "exported-for": lambda ep: f"exported for {ep}",
    "export-untested": lambda ep, text: f"exported for {ep}; not tested, because the CPU cannot run it ({text})",
    "window-left-out": lambda window: (
        f"llama.cpp attends to all tokens; the model's attention window of {window} tokens is not used"
    ),
    "no-gguf-tokenizer": lambda: (
        "no tokenizer in the GGUF file: llama.cpp does not support the model's; token ids are passed as they are"
    ),
    "wider-tensors": lambda tensors, total: (
        f"{tensors} of {total} tensors are in a wider format: their rows do not divide into blocks of this one"
    ),
    "noise": lambda: "inputs: seeded noise",
    "noise-pictures": lambda: "inputs: seeded noise of several scales, because no photographs were given",
    "synthetic-speech": lambda: "inputs: seeded sounds in the rhythm of speech, because no recordings were given",
    "random-tokens": lambda: "inputs: seeded random token ids, because the model has no tokenizer",
    "byte-tokens": lambda: "inputs: text as bytes and letter pairs, because the model has no tokenizer",
    "assumed-sizes": lambda sizes: f"default sizes, not given by the workload: {', '.join(sizes)}",
    "file-format": _file_format,
    "random-nodes": lambda op_types: f"the file's own answers are random: it has {', '.join(op_types)}",
    "checker-complaint": lambda text: f"ONNX Runtime runs it, though ONNX's checker complains: {text}",
    "opset-raised": lambda before, after: f"raised from opset {before} to {after}, for the quantizer",
    "one-scale-a-tensor": lambda opset: f"one scale a tensor: opset {opset} has none for each channel",
    "exported-by": lambda exporter: f"exported by {exporter}, and checked against PyTorch at other shapes",
    "custom-code": lambda model: (
        f"the code of its own that config.json names (auto_map) is never run: this is {model} of transformers"
    ),
    "part-of-checkpoint": lambda checkpoint, part: f"of the checkpoint, a {checkpoint}, only its {part} is run",
    "inputs-left-out": lambda names: f"inputs that the model can take and does not get here: {', '.join(names)}",
    "pooling": lambda steps: f"the embedding is made as modules.json says: {', '.join(steps)}",
    "noise-for": lambda inputs: f"seeded noise for the inputs {', '.join(inputs)}",
    "guessed-integers": lambda inputs: f"guessed: {', '.join(inputs)}",
    "guessed-samples": lambda samples, axis: f"guessed: {samples} samples a call, along {axis}",
    "windows-of-text": lambda windows, context, scored: (
        f"perplexity over {windows} windows of the text, {scored} tokens of each after {context} as context"
    ),
    "counted-samples": lambda samples, axis: (
        f"{samples} sample{'' if samples == 1 else 's'} a call{f', along {axis}' if axis else ''}"
    ),
    "labels-from-one": lambda: "no label is 0, and one less is right more often: are the labels counted from 1?",
    "answers-without-label": lambda answers, count: (
        f"the model gives {', '.join(map(repr, answers))}{' …' if count > len(answers) else ''}, "
        f"which {'is' if count == 1 else 'are'} no label of any sample"
    ),
}
"""The notes of recipes on artifacts, and of families on inputs."""

GUESSED_MARKS = ("assumed-sizes", "guessed-integers", "guessed-samples")
INPUT_MARKS = (
    "noise",
    "noise-pictures",
    "synthetic-speech",
    "random-tokens",
    "byte-tokens",
    "noise-for",
    *GUESSED_MARKS,
)
"""Those of `BUILD_NOTES` that stand beside every figure, because the inputs are not the user's."""

DETAILS: dict[str, Words] = {
    "not-steady": _not_steady,
    "busy-machine": _busy_machine,
    "on-battery": lambda times, total, unit: f"in {times} of {total} {unit}",
    "throttled": lambda *causes: "; ".join(causes),
    "in-sustained-run": lambda *causes: f"in the sustained run {'; '.join(causes)}",
    "slowed-over-rounds": lambda *signs, slower: f"over the rounds {_slowed(signs, slower)}",
    "slowed-over-minutes": lambda *signs, slower: _slowed(signs, slower),
    "slowed-since-rounds": lambda *signs, slower: f"since the rounds {_slowed(signs, slower)}",
    "clock-fell": lambda first_mhz, last_mhz: (
        f"the clock fell from {first_mhz / 1000:.1f} to {last_mhz / 1000:.1f} GHz"
    ),
    "lower-optimization": lambda asked, status, works, optimizers: (
        f"optimization '{asked}' {_ends(status)}{_by(optimizers)}; measured at '{works}'"
    ),
    "near-heat-limit": lambda temperature_c, limit_c: (
        f"the processor was at {temperature_c:.0f} °C, and holds itself back at {limit_c:.0f} °C"
    ),
}
"""What raised a flag, in figures; the words for the flags are in `text_flags`."""

STARTS: dict[str, Words] = {"start-failed": _start_failed, "start-unanswered": _start_unanswered}
"""Those of `NOTES` that a table of starts shows in the place of a missing start."""

TASK_FAULTS: dict[str, Words] = {
    "task-not-run": lambda: "the labelled samples were not run",
    "task-failed": lambda status, text: f"the labelled samples could not be run: {status}: {text}",
    "task-other-samples": lambda: "the scores are of other labelled samples than the reference's",
    "task-not-finite": lambda: "the scores of the labelled samples are missing or not finite",
}
"""Why a cell has no task metric."""

# One table: a kind has the same words wherever its note stands.
WORDS: dict[str, Any] = REASONS | FAULTS | REMEDIES | NOTES | BUILD_NOTES | DETAILS | TASK_FAULTS
