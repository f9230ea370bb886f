"""Every value that crosses a file or a process, and the history of its schema.

Schema 1 (2026-11): the first.

Missing is `None`, never zero. Times are integer nanoseconds (`_ns`), memory is bytes, and units live in the names.
Raw samples are kept for ever; what is derived from them is computed when it is read.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SCHEMA = 1

Status = Literal[
    "ok",
    "partial",
    "inaccurate",
    "unsupported",
    "unavailable",
    "excluded",
    "failed",
    "crashed",
    "timeout",
    "out-of-memory",
]
Weights = Literal["pretrained", "random"]


class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """The base of all records: frozen, and strict when it is read."""


# --- the plan ---------------------------------------------------------------------------------------------------------


class Recipe(Record, frozen=True):
    """How a precision is made: a name of `RECIPES` (an engine's or the build's) and its options."""

    name: str
    options: dict[str, bool | int | float | str] = {}

    @property
    def number_format(self) -> str:
        """The number format that the recipe leaves: the last word of its name, `int8` of `static-qdq-int8`."""
        return self.name.rsplit("-", 1)[-1]


class Tolerance(Record, frozen=True):
    """What an output may differ from the FP32 reference: lowest cosine of a batch, and error relative to its RMS."""

    min_cosine: float
    max_relative_error: float | None = None


class Cell(Record, frozen=True):
    """One box of the matrix: model x precision x target x workload."""

    model: str
    precision: str
    target: str
    workload: str
    family: str
    source: str
    engine: str
    runtime: str
    sizes: dict[str, int]
    rates: dict[str, float]
    """Items in one call by name, e.g. `{"sequences": 8, "tokens": 1024}`; the first is the cell's throughput unit."""
    recipe: Recipe | None = None
    provider: str | None = None
    """The ONNX Runtime execution provider the nodes must be on; None for another engine."""
    control: bool = False
    excluded: str | None = None

    @property
    def id(self) -> str:
        """`minilm/int8/cpu/b1-s128`."""
        return f"{self.model}/{self.precision}/{self.target}/{self.workload}"

    @property
    def group(self) -> str:
        """Cells of one group are visited by one process: `minilm/int8/cpu`."""
        return f"{self.model}/{self.precision}/{self.target}"


# --- preparation ------------------------------------------------------------------------------------------------------


class Source(Record, frozen=True):
    """A model's origin, resolved to this machine's disk, as a worker loads it."""

    kind: Literal["folder", "config", "onnx"]
    path: str
    """The folder of weights, config and tokenizer; the config's JSON file; or the .onnx file."""
    weights: Weights
    digest: str
    """SHA-256 over the content of every file of the source."""
    seed: int = 0


class RuntimeRecord(Record, frozen=True):
    """A named Python environment as it was found: what was asked for, and every package that it resolved to."""

    name: str
    requires: tuple[str, ...]
    python: str
    """The version of the interpreter, e.g. `3.11.7`; never its path."""
    packages: dict[str, str]
    key: str
    """SHA-256 over the requirements and the interpreter, shortened: the name of its folder in the cache."""
    existing: bool = False
    """True for an interpreter of the user's, used as it is."""


class ArtifactRecord(Record, frozen=True):
    """A model folder or a reference in the cache: its key, and the parts that the key was made of."""

    key: str
    kind: Literal["model", "reference"]
    parts: dict[str, str]
    files: dict[str, str]
    """SHA-256 by file name, relative to the artifact's folder."""
    size_bytes: int
    seconds: float
    created: str
    notes: tuple[str, ...] = ()


class Failure(Record, frozen=True):
    """Why a cell has no number: which stage, what kind, the first line of the real error, and the tail of stderr."""

    status: Status
    stage: str
    kind: str
    """The exception's class, or `signal`, `exit`, `timeout`, `memory`."""
    message: str
    remedy: str = ""
    exit_code: int | None = None
    signal: str | None = None
    stderr_tail: str = ""


# --- the machine ------------------------------------------------------------------------------------------------------


class Cpu(Record, frozen=True):
    """The processor, by stable facts only."""

    brand: str
    architecture: str
    isa: tuple[str, ...]
    """The instruction sets that matter to inference, e.g. `avx2`, `avx512_vnni`, `avx512_bf16`, `amx_int8`."""
    physical_cores: int
    logical_cores: int
    usable_cores: float
    """What affinity and a container's quota leave, in cores."""
    caches: dict[str, int]
    """Bytes by level, e.g. `{"L2": 1048576}`."""


class Accelerator(Record, frozen=True):
    """A GPU or NPU that the operating system shows."""

    kind: Literal["gpu", "npu"]
    name: str
    vendor: str
    driver: str | None = None
    memory_bytes: int | None = None


class Machine(Record, frozen=True):
    """The fingerprint. It holds no hostname, serial number, user name or address."""

    cpu: Cpu
    memory_bytes: int
    accelerators: tuple[Accelerator, ...]
    os: str
    os_version: str
    kernel: str
    hypervisor: str | None
    container: str | None
    python: str
    key: str
    """SHA-256 over the stable fields, 12 hex digits: equal on two runs of one machine, reboots included."""


class MachineState(Record, frozen=True):
    """What the machine was doing beside one visit; state is no part of the machine's key."""

    load_1min: float | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    steal_percent: float | None = None
    """Share of CPU time taken by the hypervisor during the visit."""
    other_cpu_percent: float | None = None
    """CPU time that other processes used during the visit, as a share of all cores."""
    available_bytes: int | None = None


# --- measuring --------------------------------------------------------------------------------------------------------


class Effort(Record, frozen=True):
    """How much measuring a budget buys."""

    name: str
    min_rounds: int
    max_rounds: int
    half_width: float | None
    """Rounds go on until the 95 % interval of a cell's latency is within this share, or `max_rounds`."""
    warmup_calls: int
    warmup_s: float
    warmup_limit_s: float
    burst_s: float
    cell_limit_s: float


class Placement(Record, frozen=True):
    """Which execution provider each node was assigned to, as ONNX Runtime tells it at partitioning time."""

    nodes: dict[str, dict[str, int]]
    """Count of nodes by provider, then by op type."""
    source: str
    """`assignment-info`, or how else it was learnt."""


class Parity(Record, frozen=True):
    """The distance of a target's outputs from the FP32 reference over `samples` inputs."""

    samples: int
    finite: bool
    max_abs_error: float | None
    relative_error: float | None
    """RMS of the error over RMS of the reference."""
    cosine: float | None
    """The lowest of the batch."""
    effective_bits: float | None
    """-log2 of the relative error; None where the outputs are identical or not finite."""
    tolerance: Tolerance
    reference: str
    """What the reference was computed by, e.g. `PyTorch 2.13.0, FP32`."""


class Timing(Record, frozen=True):
    """Raw nanoseconds of one workload in one process."""

    first_call_ns: int
    warmup_ns: tuple[int, ...]
    steady: bool
    samples_ns: tuple[int, ...]


class Observation(Record, frozen=True):
    """What one round saw of one cell; a line of `results.jsonl`."""

    cell: str
    round: int
    started: str
    """UTC, ISO 8601."""
    failure: Failure | None = None
    timing: Timing | None = None
    parity: Parity | None = None
    placement: Placement | None = None
    import_ns: int | None = None
    """From the start of the engine's import to its end."""
    load_ns: int | None = None
    """From the model's file to a session that can be called; compile happens here or in the first call."""
    peak_rss_bytes: int | None = None
    threads: int | None = None
    versions: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    """What the engine has to say of itself, e.g. `compiled by inductor, static shapes`."""
    state: MachineState = MachineState()
    visit_s: float | None = None


class Run(Record, frozen=True):
    """`run.json`: all that is needed to read a run's observations, and to run it again."""

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
    matrix_text: str
    cells: tuple[Cell, ...]
    machine: Machine
    runtimes: dict[str, RuntimeRecord]
    artifacts: dict[str, str]
    """The artifact key of each `model/precision`."""
    weights: dict[str, Weights]
    """By model: what the source turned out to hold."""
    source_digests: dict[str, str] = {}


# --- judged -----------------------------------------------------------------------------------------------------------


class Interval(Record, frozen=True):
    """An estimate and its 95 % confidence interval; the ends are None where one round cannot tell."""

    value: float
    low: float | None
    high: float | None


class Speed(Record, frozen=True):
    """What a cell's samples say; present only for cells whose answers are right."""

    latency_ms: Interval
    p50_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput: dict[str, Interval]
    """Items a second by name, in the order of the cell's rates."""
    ratio_to_control: Interval | None
    """Speed over the control's in the same rounds: 2.0 is twice as fast."""
    control: str | None
    """The id of the control's cell that the ratio is against."""
    resolvable: float | None
    """The smallest relative difference that this cell's rounds could have told from noise."""


class Outcome(Record, frozen=True):
    """The verdict on one cell."""

    cell: Cell
    status: Status
    reason: str
    remedy: str = ""
    failure: Failure | None = None
    speed: Speed | None = None
    parity: Parity | None = None
    placement: Placement | None = None
    nodes_on_target: int | None = None
    nodes_elsewhere: int | None = None
    fallback_ops: tuple[str, ...] = ()
    bookkeeping_ops: tuple[str, ...] = ()
    import_ms: float | None = None
    load_ms: float | None = None
    first_call_ms: float | None = None
    peak_rss_bytes: int | None = None
    threads: int | None = None
    rounds: int = 0
    calls: int = 0
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    weights: Weights | None = None
    artifact: str | None = None


# --- orders to a worker, and its replies ------------------------------------------------------------------------------


class Export(Record, frozen=True, tag="export", tag_field="order"):
    """Load a source and write `model.onnx` (FP32) into `out`."""

    family: str
    source: Source
    opset: int
    out: str


class Convert(Record, frozen=True, tag="convert", tag_field="order"):
    """Make the artifact of a recipe from the FP32 artifact's folder."""

    family: str
    source: Source
    recipe: Recipe
    parent: str
    inputs: str | None
    out: str


class Refer(Record, frozen=True, tag="refer", tag_field="order"):
    """Make the inputs of a workload, and the reference outputs, into `out`."""

    family: str
    source: Source
    sizes: dict[str, int]
    inputs: str | None
    out: str


class Job(Record, frozen=True):
    """One workload of a visit: its label, and the folder of its inputs and reference outputs."""

    workload: str
    sizes: dict[str, int]
    reference: str


class Visit(Record, frozen=True, tag="visit", tag_field="order"):
    """Load one model on one target, then measure its workloads in the order given."""

    engine: str
    family: str
    source: Source
    recipe: Recipe
    jobs: tuple[Job, ...]
    threads: int
    effort: Effort
    artifact: str | None = None
    provider: str | None = None
    options: dict[str, bool | int | float | str] = {}
    session: dict[str, str] = {}
    mode: str = ""
    tolerance: Tolerance | None = None
    scratch: str = ""
    """A folder that outlives the visit, for what the engine compiles."""


class Probe(Record, frozen=True, tag="probe", tag_field="order"):
    """Say what the engine and its target are on this machine, without a model."""

    engine: str
    provider: str | None = None
    options: dict[str, bool | int | float | str] = {}
    mode: str = ""


Order = Export | Convert | Refer | Visit | Probe


class Stage(Record, frozen=True, tag="stage", tag_field="reply"):
    """The worker enters a stage: what it was doing, should it die."""

    name: str
    workload: str | None = None


class Built(Record, frozen=True, tag="built", tag_field="reply"):
    """An artifact's files are written."""

    notes: tuple[str, ...] = ()


class Opened(Record, frozen=True, tag="opened", tag_field="reply"):
    """The engine is loaded and the session can be called."""

    import_ns: int
    load_ns: int
    threads: int
    versions: dict[str, str]
    placement: Placement | None = None
    notes: tuple[str, ...] = ()


class Measured(Record, frozen=True, tag="measured", tag_field="reply"):
    """One workload is measured."""

    workload: str
    timing: Timing
    parity: Parity
    peak_rss_bytes: int


class Probed(Record, frozen=True, tag="probed", tag_field="reply"):
    """What a probe found."""

    available: bool
    versions: dict[str, str]
    devices: tuple[str, ...] = ()
    message: str = ""
    remedy: str = ""


class Failed(Record, frozen=True, tag="failed", tag_field="reply"):
    """An order, or one workload of it, went wrong; the worker lives on."""

    failure: Failure
    workload: str | None = None


class Done(Record, frozen=True, tag="done", tag_field="reply"):
    """The order is finished; the next one may come."""


Reply = Stage | Built | Opened | Measured | Probed | Failed | Done
