"""Records of what is measured: placements, parity, raw nanoseconds, and the run that holds them."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Note, Record, Weights
from bench.records.machine import Device, Machine, MachineState, TargetFacts
from bench.records.plan import Cell, Tolerance
from bench.records.prepared import Failure, RuntimeRecord
from bench.records.tasks import TaskReference, TaskScores


class Effort(Record, frozen=True):
    """The settings of a budget: blocks, warm-up, bursts and limits. A block is one round of a model."""

    name: str
    min_rounds: int
    """Blocks of every model, whatever they show."""
    max_rounds: int
    half_width: float | None
    """The resolution: blocks of a model continue while comparisons are undecided at this relative difference."""
    warmup_calls: int
    warmup_s: float
    warmup_limit_s: float
    burst_s: float
    cell_limit_s: float
    bursts: int = 1
    """Bursts of `burst_s` that a block takes of each cell, one a turn; fewer where long calls make turns long."""
    minutes: float | None = None
    """Minutes for measuring, after everything is prepared; the first block of every model is made in any case."""


# Gather, Unsqueeze, Concat, Cast and Slice are not among them, because the same types also move activations.
BOOKKEEPING = frozenset({"Shape", "Size", "Constant", "ConstantOfShape"})
"""Ops whose type alone proves that no data of the model passes through them: they read a shape, or nothing."""


# A session's list of providers does not tell this: it may name QNN while every node is on the CPU.
class Placement(Record, frozen=True):
    """Which execution provider each node was assigned to, as ONNX Runtime reports it when it partitions the graph."""

    nodes: dict[str, dict[str, int]]
    """Count of nodes by provider, then by op type."""
    source: str
    """Where it is from, e.g. `assignment-info`."""
    # The assignment leaves out the copies that are inserted after it, so only a profile can count them.
    copies: int | None = None
    """Copies between devices in one profiled call; None where no call was profiled."""
    time_elsewhere: float | None = None
    """Share of a profiled call's wall time spent in the nodes of other providers, 0 to 1; None without a profile."""
    shape_nodes: dict[str, dict[str, int]] = {}
    """The nodes that handle only shapes, as the model's graph shows: by provider, then by op type."""

    def working(self, provider: str) -> dict[str, int]:
        """The provider's nodes by op type, without those that handle only shapes and constants."""
        shapes = self.shape_nodes.get(provider, {})
        ops = self.nodes.get(provider, {}).items()
        computing = {op: count - shapes.get(op, 0) for op, count in ops if op not in BOOKKEEPING}
        return {op: count for op, count in computing.items() if count > 0}

    def has_nothing_on(self, provider: str) -> bool:
        """Whether nothing that computes is on the provider, though the model has nodes."""
        others = [name for name, ops in self.nodes.items() if name != provider and any(ops.values())]
        # A model whose nodes are all on the provider, or that has none, has not fallen back.
        if not others:
            return False
        # A provider may be listed and hold no node.
        if not any(self.nodes.get(provider, {}).values()):
            return True
        # Shape nodes alone on the provider do no work of the model.
        return not self.working(provider) and any(self.working(name) for name in others)


class Start(Record, frozen=True):
    """Time to answer in a fresh process: with the provider's compile cache empty, or as an earlier start filled it."""

    kind: Literal["cold", "cached"]
    import_ns: int
    load_ns: int
    """From the model's file to a session that can be called, compilation at load included."""
    first_call_ns: int
    note: Note | None = None
    """Why nothing was stored for the next start."""


class Energy(Record, frozen=True):
    """Energy over one timed burst."""

    joules: float
    calls: int
    source: str
    """`RAPL package`, `NVML`, `battery`."""


ValueKind = Literal["float", "integer", "boolean", "text"]
"""How the values of an output are compared: numbers with a fraction by distance, all others exactly."""


class Block(Record, frozen=True):
    """The slices of one output, along one axis, whose scales are alike, compared by themselves."""

    axis: int
    """The axis whose slices have unlike scales; 0 is the axis of the samples."""
    first: int
    last: int
    """The first and the last slice of the block; slices of another block may be between them."""
    slices: int
    scale: float
    """RMS of the reference in the block."""
    max_abs_error: float
    relative_error: float | None
    cosine: float


class OutputParity(Record, frozen=True):
    """The distance of one output from the reference."""

    name: str
    kind: ValueKind
    samples: int
    elements: int
    """Compared values; 0 where the output is empty here and in the reference."""
    max_abs_error: float | None = None
    """Of floats and integers; where there are blocks, this figure and the next two are those of the worst block."""
    relative_error: float | None = None
    """RMS of the error over RMS of the reference; None for values that are compared exactly."""
    cosine: float | None = None
    """The lowest cosine of a sample; None for values that are compared exactly."""
    agreement: float | None = None
    """Share of equal values; None for floats."""
    top1_agreement: float | None = None
    """For class scores: share of samples whose best class is the reference's."""
    top5_agreement: float | None = None
    """For class scores: share of samples with the reference's best class among the best five."""
    bounded_by: str = ""
    """The operator that fixes the range of the output, or of its worst block, such as `Sigmoid`; else empty."""
    blocks: tuple[Block, ...] = ()
    """Empty where all parts of the output have one scale."""
    block: int | None = None
    """The index of the worst block, whose figures the output has."""
    fault: Note | None = None
    """Why the output cannot be compared, such as another shape; it is wrong then."""
    random: bool = False
    """True where the reference itself gives another answer when it is made twice; the figures are None then."""


class Parity(Record, frozen=True):
    """The distance of a target's outputs from the FP32 reference over `samples` inputs.

    Each output is compared by itself. The figures are those of the output that decides: the worst against its limit.
    """

    samples: int
    finite: bool
    """False where an output has NaN or an infinity that the reference does not have in the same place."""
    max_abs_error: float | None
    relative_error: float | None
    """RMS of the error over RMS of the reference."""
    cosine: float | None
    """The lowest cosine of the batch."""
    effective_bits: float | None
    """-log2 of the relative error; None where the outputs are identical or not finite."""
    tolerance: Tolerance
    reference: str
    """What computed the reference, e.g. `PyTorch 2.13.0, FP32`."""
    kl_divergence: float | None = None
    """KL divergence of the next token's distribution from the reference's over the same prefix: the mean over `samples`
    positions, in nats."""
    top1_agreement: float | None = None
    """Share of the positions at which the likeliest next token is the reference's; for class scores, share of the
    samples whose best class is the reference's."""
    tokens_compared: int | None = None
    """Tokens of the timed generation that were compared with the reference's."""
    tokens_same: int | None = None
    """How many of these equal the reference's before the first that differs."""
    top5_agreement: float | None = None
    """For class scores: share of the samples with the reference's best class among the best five."""
    agreement: float | None = None
    """Lowest share of equal integers, booleans or texts of an output; None where every output holds floats."""
    found: float | None = None
    """Share of the inputs with a result, where an output is empty for some inputs; None where none is empty."""
    decides: str | None = None
    """The name of the output that decides; None for models that generate and in older runs."""
    outputs: tuple[OutputParity, ...] = ()
    """Each output by itself; empty for models that generate and in older runs."""


class Generation(Record, frozen=True):
    """One timed generation: nanoseconds of its steps, each ending when its tokens are readable on the host."""

    first_ns: int
    """From the prompt, or the audio's features, to the first token."""
    token_ns: tuple[int, ...]
    """Each later step, in order."""
    tokens: int
    """Tokens emitted for each sequence of the batch, the first included; counted, not requested."""
    prompt_tokens: int | None = None
    """Tokens of each prompt where the engine counts them itself, as a server does; None: those of the workload."""
    encode_ns: int | None = None
    """The encoder's part of `first_ns`, where there is an encoder and the engine can tell."""

    @property
    def total_ns(self) -> int:
        """From the prompt to the last token."""
        return self.first_ns + sum(self.token_ns)


# Engines differ in what they store and compute: llama.cpp has its key-value cache in FP16, genai in FP32.
class Traits(Record, frozen=True):
    """How engines that generate differ besides their speed."""

    kv_type: str = ""
    """Number format of the key-value cache, `fp32`."""
    kv_bytes: int | None = None
    """Bytes of the key-value cache of this workload."""
    logits: str = ""
    """Which logits prefill computes: `last token`, `every token`."""
    weights: str = ""
    """How the weights are stored, in the terms of the format: `MatMulNBits, 4 bits, blocks of 32`, `Q4_K_M`."""
    sampling: str = "greedy"
    declared_bits: float | None = None
    """Bits of a weight as the format declares, scales included."""
    weight_bytes: int | None = None
    """Bytes of the files that hold the weights."""
    parameters: int | None = None
    """Weights of the model, as the reference counts them."""
    counted_by: str = "engine"
    """Who counted the tokens: `engine`, `server`, or `chunks` where a server did not say."""


class Transcript(Record, frozen=True):
    """The text of a speech recognizer, and the label that is the right text."""

    text: str
    label: str


class Timing(Record, frozen=True):
    """Raw nanoseconds of one workload in one process."""

    first_call_ns: int
    # Kept, because load, compilation and the first call are figures that users want too.
    warmup_ns: tuple[int, ...]
    # A warm-up that reaches its limit does not stop the measurement; the flag `not-steady` reports it.
    steady: bool
    samples_ns: tuple[int, ...]
    generations: tuple[Generation, ...] = ()
    """For models that generate: the parts of each sample."""
    first_token_ns: int | None = None
    """For models that generate: the time to the first token of the first call."""
    burst_calls: tuple[int, ...] = ()
    """How many of the samples each burst took, in order; empty where there was one burst."""
    turns: tuple[int, ...] = ()
    """The turn of its block that each burst was made in, from 0; empty where bursts of cells did not alternate."""
    cpu_ns: int | None = None
    """CPU time of the worker's process during the samples, all threads; None where another process computes."""


class Minute(Record, frozen=True):
    """One minute of continuous calls. A small model makes millions of calls in it, so not all are kept."""

    seconds: float
    """From the end of the minute before: about 60, 30 to 90 for the last one, and more where one call takes longer."""
    calls: int
    median_ns: int
    p10_ns: int
    p90_ns: int
    """Percentiles of the minute's calls; with over a hundred thousand, of every second, fourth … call."""
    samples_ns: tuple[int, ...]
    """About two hundred of the calls, evenly spaced, in order."""
    first_ns: int | None = None
    """For models that generate: the median time to the first token."""
    token_ns: float | None = None
    """For models that generate: the median over generations of the time of one later token of each sequence."""


class Sustained(Record, frozen=True):
    """Marks an observation as a minute of a sustained run, which is not a round."""

    asked_s: float
    """The requested length of the run."""
    number: int
    """The number of the minute, from 1. An attempt begins with 1, and the last attempt counts."""
    minute: Minute | None = None
    """None where the run ended in a failure before the minute was over."""


class Observation(Record, frozen=True):
    """The result of one block for one cell; a line of `results.jsonl`."""

    cell: str
    round: int
    """The number of the block, from 1. It is 0 where the preparation failed, and for a minute of a sustained run."""
    started: str
    """UTC, ISO 8601."""
    failure: Failure | None = None
    timing: Timing | None = None
    parity: Parity | None = None
    placement: Placement | None = None
    import_ns: int | None = None
    """From the start of the engine's import to its end."""
    load_ns: int | None = None
    """From the model's file to a session that can be called; compilation is here or in the first call."""
    peak_rss_bytes: int | None = None
    baseline_rss_bytes: int | None = None
    """The most memory that the worker had held before it imported its engine."""
    device_memory_bytes: int | None = None
    """Memory of the accelerator that the worker held after the timed burst, where it can be read."""
    energy: Energy | None = None
    device: Device | None = None
    starts: tuple[Start, ...] = ()
    """The cold and the cached start, in the first round of targets with a compile cache."""
    threads: int | None = None
    versions: dict[str, str] = {}
    notes: tuple[Note, ...] = ()
    """What the engine reports about itself, e.g. that it is compiled."""
    traits: Traits | None = None
    transcript: Transcript | None = None
    task: TaskScores | None = None
    """The scores of the labelled samples, which are run once for all workloads of a model, precision and target."""
    state: MachineState = MachineState()
    idle_cpu_percent: float | None = None
    """CPU that the process used while others of its block were timed, in percent of a core."""
    bursts_set_aside: int = 0
    """Bursts of the process that were made again, because other programs used the processor meanwhile."""
    bursts_disturbed: int | None = None
    """Of the bursts of the cell that count, those in which other programs used the processor; None in older runs."""
    visit_s: float | None = None
    """Seconds from the start of the process to the end of its bursts, in a block with those of the others."""
    sustained: Sustained | None = None
    """Set for a minute of a sustained run, which is not a round: `round` is 0."""


class Run(Record, frozen=True):
    """`run.json`: what is needed to read a run's observations, and to run it again."""

    schema: int
    bench_version: str
    created: str
    name: str
    seed: int
    effort: Effort
    threads: int
    command: str
    matrix_path: str
    """As it may be published: relative to where the run was started, or to the user's home."""
    # The text and not the path alone, because a gate builds the base again when the file has changed.
    matrix_text: str
    """Without the values of environment variables, which may be secrets: each is `<set>`."""
    cells: tuple[Cell, ...]
    machine: Machine
    runtimes: dict[str, RuntimeRecord]
    artifacts: dict[str, str]
    """The artifact key of each `model/precision`."""
    weights: dict[str, Weights]
    """By model: whether the source holds pretrained or random weights."""
    source_digests: dict[str, str] = {}
    references: dict[str, str] = {}
    """By `model/workload`: the key of its inputs and reference outputs in the cache."""
    build_notes: dict[str, tuple[Note, ...]] = {}
    """By the key of an artifact or a reference: the notes of its build; those without notes are left out."""
    code: str = ""
    """Digest of the worker's code that measured, 16 hex digits: the name of its folder in the cache."""
    targets: dict[str, TargetFacts] = {}
    """By target: what a probe found before anything was measured. Those without a cell are not on this machine."""
    tasks: dict[str, TaskReference] = {}
    """By `model/workload`: the FP32 reference's scores of the labelled samples, run in the sizes of this workload."""
    sustained_minutes: float | None = None
    """Minutes of the sustained run of each measured cell; None where the run has none."""
    cache_notes: tuple[Note, ...] = ()
    """What was found damaged in the cache and was made again."""
