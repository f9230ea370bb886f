"""Records of what a matrix plans: recipes, tolerances, providers and cells."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from bench.records.base import DeviceType, Option, Record


class Recipe(Record, frozen=True):
    """How a precision is made: the name of a format's recipe or of an engine's own, with its options."""

    name: str
    options: dict[str, Option] = {}
    number_format: str = ""
    """The number format of the result: `int8`; empty in older runs, which did not record it."""


class Tolerance(Record, frozen=True):
    """How far an output may be from the FP32 reference; None sets no limit."""

    min_cosine: float | None = None
    """The lowest cosine allowed in a batch."""
    max_relative_error: float | None = None
    """RMS of the error over RMS of the reference."""
    max_kl: float | None = None
    """For models that generate: mean KL divergence of the next token's distribution from the reference's, in nats."""
    max_kl_random: float | None = None
    """The same for random weights, where it is lower: their distributions are flat, and 4 bits change them less."""
    min_top1: float | None = None
    """For models that generate: share of positions at which the likeliest next token is the reference's."""
    # For FP32: quantized models differ from the first tokens on, so they are checked by KL divergence and top-1.
    same_tokens: bool = False
    """For models that generate: the generated tokens must be those of the reference."""
    # The plan fills in the limits below by number format, where they are None: `bench.declare.answer_limits`.
    max_bounded_error: float | None = None
    """An absolute error up to this is right whatever its relative error, for outputs whose last operator fixes their
    range, such as Sigmoid; None: the relative error counts."""
    min_agreement: float | None = None
    """Share of integers, booleans and texts that must equal the reference's; None asks for all."""
    clear_agreement: float | None = None
    """Below this share of equal best classes, best tokens or exact values, the answers are `approximate`."""
    clear_tokens: float | None = None
    """Below this share of generated tokens before the first that differs, the answers are `approximate`."""
    clear_kl: float | None = None
    """Above this KL divergence the answers are `approximate`."""


class DeviceChoice(Record, frozen=True):
    """A device of a provider: its type, and its index among the devices of that type; None leaves it open."""

    type: DeviceType | None = None
    index: int | None = None

    def __str__(self) -> str:
        """`gpu.1`, `gpu`, `1`, or nothing."""
        return ".".join(str(part) for part in (self.type, self.index) if part is not None)


class CompileCache(Record, frozen=True):
    """Where a provider stores what it compiled, so that a second start is faster.

    `option`: the provider option `name` takes a folder. `environment`: the variable `name` takes a folder.
    `context`: ONNX Runtime writes an EP context model, which is opened instead of the model.
    """

    kind: Literal["option", "environment", "context"]
    name: str = ""


Optimization = Literal["none", "basic", "extended", "all"]
"""ONNX Runtime's levels of graph optimization."""


CPU_PROVIDER = "CPUExecutionProvider"
"""ONNX Runtime's own kernels: every session has them, and nodes that no other provider takes are computed there.

It is the one provider that code may name. What any other does differently is a key of its row in the catalogue.
"""


class DeviceOption(Record, frozen=True):
    """The option that chooses the device of a provider inside a wheel; a plugin gets the device directly."""

    name: str
    indexed: tuple[DeviceType, ...] = ()
    """The types of device that it can choose among by index."""
    names_type: bool = False
    """True where its value names the type, `GPU.1` or `CPU`; False where it is the index alone."""


class ThreadsOption(Record, frozen=True):
    """The option that sets the number of threads of a provider that computes on the CPU."""

    name: str
    unless: dict[str, str] = {}
    """Other options that can hold the number, each with a word in its value that shows it."""


class KnownRefusal(Record, frozen=True):
    """What an engine must not run on a provider, because the process would die."""

    engine: str
    part: Literal["encoder"]
    """The part of a model that is not run."""
    message: str
    remedy: str


def _key(meaning: str) -> Meta:
    """The meaning of a key, which `docs/providers.md` and the JSON Schema of the matrix quote."""
    return Meta(description=meaning)


# kw_only, because `Provider` adds a field without a default after these, which all have one.
class ProviderBehavior(Record, frozen=True, kw_only=True):
    """What a provider does differently from others. Each field is a key of its catalogue row or of a matrix's table."""

    device_option: Annotated[
        DeviceOption | None,
        _key(
            "the option that chooses the device, for a provider inside a wheel: its `name`, the types of device that "
            "it accepts an index for (`indexed`), and whether its value contains the name of the type (`names_type`)"
        ),
    ] = None
    only_device: Annotated[
        DeviceType | None, _key("the only type of device that it computes on, where no option chooses one")
    ] = None
    uses_cuda: Annotated[
        bool, _key("it computes with CUDA, whose libraries are loaded from their wheels before the first session")
    ] = False
    device_memory: Annotated[
        str,
        _key("ONNX Runtime's name for the memory that the provider computes in; `cpu` means the memory of the host"),
    ] = "cpu"
    graph_option: Annotated[str, _key("the option that makes it record a CUDA graph and replay it")] = ""
    takes_options: Annotated[bool, _key("false if the provider has no options, so there is no option to check")] = True
    boolean_words: Annotated[
        bool, _key("true where its options read `True` and `False`; the others read `1` and `0`")
    ] = False
    threads_option: Annotated[
        ThreadsOption | None,
        _key(
            "the option that takes the number of threads on the CPU: its `name`, and other options that can hold the "
            "number, each with the word that shows that it does (`unless`)"
        ),
    ] = None
    session_threads: Annotated[bool, _key("true where it computes with the threads of the session")] = False
    imitates_gpu: Annotated[bool, _key("on a device of type `cpu` it runs a GPU's driver in software")] = False
    engine_names: Annotated[
        dict[str, str],
        _key("its name in engines that have names of their own; an empty name where it is the engine's default"),
    ] = {}
    refusals: Annotated[
        tuple[KnownRefusal, ...],
        _key(
            "what is not run on it because the process would die: `engine`, `part` of the model (`encoder`), `message` "
            "and `remedy`"
        ),
    ] = ()


class Provider(ProviderBehavior, frozen=True):
    """What a worker needs to open a session on one device of an execution provider."""

    ep: str
    plugin: str | None = None
    """The Python module of a plugin that is registered at run time; None for a provider inside the wheel."""
    device: DeviceChoice = DeviceChoice()
    options: dict[str, Option] = {}
    session: dict[str, str] = {}
    """Session configuration entries."""
    optimization: Optimization = "all"
    """How far ONNX Runtime optimizes the graph; `all` is its own default."""
    # Set before the process starts, because libraries read their variables when they are imported.
    environment: dict[str, str] = {}
    """Environment variables of the worker's process; set by the parent when it starts it."""
    # With a dynamic batch, QNN puts every node on the CPU without an error.
    static_shapes: bool = False
    """True where the provider takes fixed shapes only: each workload gets a session of its own with its sizes in it."""
    emulated: bool = False
    """True where software emulates the device: answers count, times mean nothing."""
    cache: CompileCache | None = None
    hint: str = ""
    """What to install or plug in where the provider cannot be used."""
    known_options: tuple[str, ...] | None = None
    """The options that the catalogue knows; None for a provider that it does not know."""


class Cell(Record, frozen=True):
    """One cell of the matrix: model x precision x target x workload."""

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
    """The device that the row requests, `gpu`, `npu.0`; None where the provider has only one type."""
    emulated: bool = False
    """True where software emulates the device: the cell is in no ranking."""
    control: bool = False
    excluded: str | None = None
    format: str | None = None
    """The format of the artifact that the engine runs; None where it makes the precision itself."""
    tolerance: Tolerance | None = None
    """How far the answers may be from the FP32 reference; None in older runs, which did not record it."""

    @property
    def id(self) -> str:
        """`minilm/int8/cpu/b1-s128`."""
        # Stored observations name their cell by this text, so its form must not change.
        return f"{self.model}/{self.precision}/{self.target}/{self.workload}"

    @property
    def artifact_name(self) -> str:
        """The name of the artifact of the cell: `minilm/int8`; `llama/int4/gguf` in a format that is not plain ONNX."""
        return "/".join([self.model, self.precision, *([self.format] if self.format not in (None, "onnx") else [])])

    @property
    def group(self) -> str:
        """The group of the cell; one process visits the cells of a group: `minilm/int8/cpu`."""
        return f"{self.model}/{self.precision}/{self.target}"
