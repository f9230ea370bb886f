"""Records that judging computes from observations: intervals, speeds and outcomes."""

from __future__ import annotations

from bench.records.base import Note, Record, Status, Weights
from bench.records.machine import MachineState
from bench.records.plan import Cell
from bench.records.prepared import Failure
from bench.records.seen import Parity, Placement, Start, Traits


class Comparisons(Record, frozen=True):
    """How many comparisons between the cells of a model people read, such as each cell with its control."""

    total: int
    undecided: int
    """Those whose interval neither shows a difference nor is as narrow as the resolution asked for."""


class Interval(Record, frozen=True):
    """An estimate and its 95 % confidence interval; the ends are None with a single round."""

    value: float
    low: float | None
    high: float | None

    def excludes(self, value: float) -> bool:
        """Whether the interval shows that the truth is not `value`; False without an interval."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


class Comparison(Record, frozen=True):
    """One cell compared with another of the same model and workload, by the ids of their cells."""

    a: str
    b: str
    ratio: Interval
    """How many times as fast `a` is as `b`, from the blocks that held both."""
    decided: bool
    """Whether more blocks are of little use: the difference is certain, or the interval as narrow as asked for."""
    run: str = ""
    """The name of the run whose blocks it is from; cells of two runs are never compared."""


class GenerationSpeed(Record, frozen=True):
    """The speeds of a model that generates; decoding and prefill are different work and are never added up."""

    first_token_ms: Interval
    """Time from the prompt, or the audio, to the first token."""
    prefill_tok_s: Interval | None
    """Prompt tokens a second; None for models whose first token does not come from a prompt, as in speech."""
    decode_tok_s: Interval | None
    """Tokens a second after the first, over the whole batch; None where one token was generated."""
    token_p50_ms: Interval | None
    token_p90_ms: Interval | None
    token_p99_ms: Interval | None
    """Percentiles of the time between tokens, averaged over rounds; None with too few independent steps."""
    encode_ms: Interval | None = None
    real_time_factor: Interval | None = None
    """Seconds of computing for a second of audio: below 1 is faster than speech."""
    prefill_ratio: Interval | None = None
    """The ratio to the control in the same rounds: 2.0 is twice as fast."""
    decode_ratio: Interval | None = None


class Speed(Record, frozen=True):
    """The speed of a cell; only a cell with right answers has one."""

    latency_ms: Interval
    """The geometric mean over rounds of the median call of a round, as of every other figure with an interval."""
    p90_ms: Interval | None
    p95_ms: Interval | None
    p99_ms: Interval | None
    """Percentiles of the calls of a round; None with too few independent calls. The 50th is the latency."""
    throughput: dict[str, Interval]
    """Items a second by name, in the order of the cell's rates."""
    ratio_to_control: Interval | None
    """The speed relative to the control in the same rounds: 2.0 is twice as fast."""
    control: str | None
    """The id of the control of the ratio."""
    resolvable: float | None
    """The smallest relative difference that this cell's rounds detect with 80 % power."""
    rounds_ms: tuple[float, ...]
    """The median call of each round, the values of the latency; a round is one process."""
    generation: GenerationSpeed | None = None


class SustainedMinute(Record, frozen=True):
    """One minute of a sustained run, with the state of the machine."""

    seconds: float
    calls: int
    latency_ms: float
    """The minute's median call."""
    p90_ms: float
    decode_tok_s: float | None
    state: MachineState


class SustainedSpeed(Record, frozen=True):
    """The speed of a cell that runs continuously for minutes, relative to the bursts of its rounds."""

    asked_minutes: float
    minutes: tuple[SustainedMinute, ...]
    ratio: Interval | None
    """Speed of the last minute over that of the rounds, of decoding for models that generate: 0.9 is 10 % slower.

    The interval is a prediction interval: it includes 1 unless the minute lies outside what one more process of the
    rounds can show by chance. Its ends are None after a single round."""
    ratio_to_first: float | None
    """Speed of the last minute over that of the first; None with a single minute."""
    flags: tuple[Note, ...] = ()
    ended: Note | None = None
    """Why it ended early; None where it did not."""


class TaskResult(Record, frozen=True):
    """The task metric of a cell, and its loss against the FP32 reference on the same samples."""

    metric: str
    samples: int
    value: float | None = None
    """None where the samples could not be run, or an answer was not finite."""
    reference: float | None = None
    loss: Interval | None = None
    """Above 0 is worse: in points (hundredths) of the metric, of a perplexity in percent of the reference's."""
    needed: int | None = None
    """Samples that would show a loss of half a point, or of 0.5 % of a perplexity, with 80 % power; None where no
    sample differs."""
    fault: Note | None = None
    """Why there is no value."""
    notes: tuple[Note, ...] = ()
    """How the samples were read, and what suggests that their labels mean other classes than the model's."""


class Outcome(Record, frozen=True):
    """The verdict on one cell."""

    cell: Cell
    status: Status
    reason: Note
    """The fact behind the status; `bench.report.text.reason` turns it into text."""
    remedy: Note | None = None
    failure: Failure | None = None
    speed: Speed | None = None
    sustained: SustainedSpeed | None = None
    parity: Parity | None = None
    placement: Placement | None = None
    nodes_on_target: int | None = None
    nodes_elsewhere: int | None = None
    fallback_ops: tuple[str, ...] = ()
    bookkeeping_ops: tuple[str, ...] = ()
    device: str | None = None
    """The device that the cell ran on, with its name where known: `gpu.0 NVIDIA H100`."""
    file_format: str | None = None
    """The number format that the model's own file holds, read from it; None for FP32, and for exports."""
    executed: str | None = None
    """The number format that a probe measured on this target for the format that the cell asks for (see `Executed`)."""
    cold: Start | None = None
    cached: Start | None = None
    import_ms: Interval | None = None
    load_ms: Interval | None = None
    first_call_ms: Interval | None = None
    first_answer_ms: Interval | None = None
    """Import, load and first call of a fresh process, added up in each round."""
    peak_rss_bytes: int | None = None
    """The largest value of any round, as for the two fields below."""
    model_rss_bytes: int | None = None
    """The peak minus the worker's baseline: the memory of engine and model."""
    device_memory_bytes: int | None = None
    energy_j: Interval | None = None
    """Joules of one inference."""
    energy_source: str | None = None
    energy_per_token_j: Interval | None = None
    """Joules of one emitted token."""
    cpu_ms: Interval | None = None
    """CPU time of one call, summed over threads."""
    cores_used: Interval | None = None
    """That CPU time over the wall time of the same calls: 1.9 is almost two cores."""
    traits: Traits | None = None
    bits_per_weight: float | None = None
    """The bits of the files that hold the weights, over the number of weights; counted, not declared."""
    first_token_from_nothing_ms: Interval | None = None
    """Import, load and first token of a fresh process, added up in each round."""
    word_error_rate: float | None = None
    """Wrong, missing and extra words over the words of the label; the worst of the rounds."""
    optimization: str | None = None
    """The level of graph optimization that the cell was measured at, where the one asked for fails or is wrong."""
    faulty_optimizers: tuple[str, ...] = ()
    """The graph optimizers that make it fail or answer wrong, where they were found."""
    task: TaskResult | None = None
    """None where the model has no labelled samples."""
    threads: int | None = None
    rounds: int = 0
    calls: int = 0
    flags: tuple[Note, ...] = ()
    """The warnings of the numbers, with the figures behind them, in the order of `judge.flags.RULES`."""
    notes: tuple[Note, ...] = ()
    build_notes: tuple[Note, ...] = ()
    """Notes on the cell's artifact, then on its inputs."""
    versions: dict[str, str] = {}
    weights: Weights | None = None
    artifact: str | None = None
