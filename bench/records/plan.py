"""What a matrix plans: recipes, tolerances, providers and cells."""

from __future__ import annotations

from typing import Literal

from bench.records.base import DeviceType, Option, Record


class Recipe(Record, frozen=True):
    """How a precision is made: the name of a format's recipe or of an engine's own, with its options."""

    name: str
    options: dict[str, Option] = {}
    number_format: str = ""
    """The number format that it leaves: `int8`; empty in runs of before it was recorded."""


class Tolerance(Record, frozen=True):
    """How far an output may be from the FP32 reference; what is None is not asked for."""

    min_cosine: float | None = None
    """The lowest cosine of a batch."""
    max_relative_error: float | None = None
    """RMS of the error over RMS of the reference."""
    max_kl: float | None = None
    """Of models that generate: mean KL divergence of the next token's distribution from the reference's, in nats."""
    min_top1: float | None = None
    """Of models that generate: share of positions at which the likeliest next token is the reference's."""
    same_tokens: bool = False
    """Of models that generate: the generated tokens must be the reference's."""


class DeviceChoice(Record, frozen=True):
    """Which of a provider's devices: of a type, at an index among those; None leaves that open."""

    type: DeviceType | None = None
    index: int | None = None

    def __str__(self) -> str:
        """`gpu.1`, `gpu`, `1`, or nothing."""
        return ".".join(str(part) for part in (self.type, self.index) if part is not None)


class CompileCache(Record, frozen=True):
    """Where a provider keeps what it compiled, so that a second start is quicker.

    `option`: the provider option `name` takes a folder. `environment`: the variable `name` takes a folder.
    `context`: ONNX Runtime writes an EP context model, which is opened in the model's place.
    """

    kind: Literal["option", "environment", "context"]
    name: str = ""


Optimization = Literal["none", "basic", "extended", "all"]
"""ONNX Runtime's levels of graph optimization."""


class Provider(Record, frozen=True):
    """All that a worker needs to open a session on one execution provider and one of its devices."""

    ep: str
    plugin: str | None = None
    """The Python module of a plugin that is registered at run time; None for a provider inside the wheel."""
    device: DeviceChoice = DeviceChoice()
    options: dict[str, Option] = {}
    session: dict[str, str] = {}
    """Session configuration entries."""
    optimization: Optimization = "all"
    """How far ONNX Runtime optimizes the graph; `all` is its own default."""
    environment: dict[str, str] = {}
    """Environment variables of the worker's process; set by the parent when it starts it."""
    static_shapes: bool = False
    """True where the provider takes fixed shapes only: each workload gets a session of its own with its sizes in it."""
    emulated: bool = False
    """True where the device is imitated in software: answers count, times mean nothing."""
    cache: CompileCache | None = None
    hint: str = ""
    """What to install or plug in where it cannot be used."""
    known_options: tuple[str, ...] | None = None
    """The options that the catalogue knows; None for a provider that it does not know."""


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
    device: str | None = None
    """The device that the row asks for, `gpu`, `npu.0`; None where the provider has but one kind."""
    emulated: bool = False
    """True where the device is imitated in software: the cell is in no ranking."""
    control: bool = False
    excluded: str | None = None
    format: str | None = None
    """The format of the artifact that the engine runs; None where it makes the precision itself."""
    tolerance: Tolerance | None = None
    """How far the answers may be from the FP32 reference; None in runs of before it was recorded."""

    @property
    def id(self) -> str:
        """`minilm/int8/cpu/b1-s128`."""
        return f"{self.model}/{self.precision}/{self.target}/{self.workload}"

    @property
    def artifact_name(self) -> str:
        """What the cells of one artifact share: `minilm/int8`; `llama/int4/gguf` in a format that is no plain ONNX."""
        return "/".join([self.model, self.precision, *([self.format] if self.format not in (None, "onnx") else [])])

    @property
    def group(self) -> str:
        """Cells of one group are visited by one process: `minilm/int8/cpu`."""
        return f"{self.model}/{self.precision}/{self.target}"
