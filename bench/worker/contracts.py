"""Defines the contracts of families, engines and formats: each is one module, described by one Protocol.

Arrays are NumPy arrays on the host. A feed is one batch: the arrays of a model's inputs, or of its outputs, by name.
An exception of an implementation becomes the failure of the cells that needed it. `bench.worker.refusal.Refusal` gives
the reason why something is not supported and a remedy. Other exceptions are reported by their class and message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from bench.records import (
    Device,
    EngineManifest,
    FamilyManifest,
    FormatManifest,
    Note,
    Placement,
    Probe,
    Provider,
    Source,
    TargetFacts,
    TaskOptions,
    Traits,
    Visit,
)
from bench.worker.feeds import Array, Feed

if TYPE_CHECKING:
    from bench.worker.labelled.sets import LabelledSet

# --- families: one file for each kind of model ------------------------------------------------------------------------


class Family(Protocol):
    """The module of a family. It imports heavy libraries only inside its functions."""

    MANIFEST: FamilyManifest

    def load(self, source: Source) -> Any:
        """The model as a PyTorch module in FP32 and evaluation mode; ValueError where `has_module` is False."""
        ...

    def make_inputs(self, source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
        """The batches of a workload, at least two: the first is timed, all are checked.

        `sizes` are the workload's; `inputs` is the folder or file of real input data, or None.
        """
        ...

    def describe_inputs(self, source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
        """Notes on unusual inputs for readers of the report, for example noise instead of photographs."""
        ...


class ForwardFamily(Family, Protocol):
    """A family of the task `forward`: one call gives all outputs."""

    def reference(self, source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
        """The FP32 outputs of every batch, and the name of what computed them, such as `PyTorch 2.13.0, FP32`."""
        ...

    def comparable(self, outputs: Feed, feed: Feed) -> Feed:
        """What is compared of a batch's outputs, by name: arrays of shape (samples, …). Each is judged by itself."""
        ...


class ExportingFamily(ForwardFamily, Protocol):
    """A family of the task `forward` whose format is `onnx`."""

    def export(self, source: Source, out: Path, opset: int) -> tuple[Note, ...]:
        """Write `out/model.onnx` in FP32 with symbolic dimensions, weights over 2 GB beside it; gives notes."""
        ...

    def calibration(self, source: Source, inputs: str | None, workloads: Sequence[dict[str, int]] = ()) -> list[Feed]:
        """Calibration batches of one sample each, of the sizes of the workloads, else of default sizes.

        None of them is an input that is checked.
        """
        ...


class GeneratingFamily(Family, Protocol):
    """A family whose models generate tokens one by one: the tasks `text-generation` and `speech-recognition`."""

    def folder(self, source: Source, scratch: Path) -> Path:
        """A Hugging Face folder of the model: that of the source, or one that is written into `scratch`."""
        ...

    def reference(self, source: Source, feeds: list[Feed], new: int) -> tuple[list[Feed], str]:
        """For every batch `new` greedy tokens, int64 of (batch, new), with their logits; and what computed them."""
        ...

    def facts(self, source: Source, feeds: list[Feed], outputs: list[Feed]) -> dict[str, Any]:
        """Facts for checks and reports beside the reference, as JSON: `parameters`, and where known `prefixes`."""
        ...


class LabellingFamily(Family, Protocol):
    """A family that declares kinds of labelled samples."""

    def labelled(self, source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
        """Every labelled sample as batches of the sizes of a workload. Raises Refusal for data that do not fit."""
        ...


def labelling(family: Family) -> LabellingFamily:
    """The family as one with labelled samples; ValueError where it declares none."""
    if not family.MANIFEST.labelled:
        raise ValueError("this family takes no labelled samples")
    return cast(LabellingFamily, family)


class UnpackingFamily(Family, Protocol):
    """A family that declares `files`."""

    def unpack(self, source: Source, out: Path) -> tuple[Note, ...]:
        """Make a folder as of the Hugging Face Hub of a single file; gives notes on what the weights were."""
        ...


def forward(family: Family) -> ForwardFamily:
    """The family as one of the task `forward`; ValueError for another task."""
    if family.MANIFEST.task != "forward":
        raise ValueError(f"a model of the task {family.MANIFEST.task!r} does not answer in one call")
    return cast(ForwardFamily, family)


def exporting(family: Family) -> ExportingFamily:
    """The family as one that is exported to ONNX; ValueError where its artifacts are of another format."""
    if family.MANIFEST.task != "forward" or family.MANIFEST.format != "onnx":
        raise ValueError("a model of this family is not exported to a plain ONNX file")
    return cast(ExportingFamily, family)


def generating(family: Family) -> GeneratingFamily:
    """The family as one that generates; ValueError for the task `forward`."""
    if family.MANIFEST.task == "forward":
        raise ValueError("a model that answers in one call generates no tokens")
    return cast(GeneratingFamily, family)


def unpacking(family: Family) -> UnpackingFamily:
    """The family as one that reads single files; ValueError for other families."""
    if not family.MANIFEST.files:
        raise ValueError("a model of this family is no single file")
    return cast(UnpackingFamily, family)


# --- engines: one file drives one library -----------------------------------------------------------------------------


class Loaded(Protocol):
    """The properties that every session has."""

    @property
    def threads(self) -> int | None:
        """The number of compute threads; None where the engine does not know it."""
        ...

    @property
    def notes(self) -> tuple[Note, ...]:
        """Notes for readers of the report, such as limits of this session."""
        ...

    @property
    def device(self) -> Device | None:
        """The device that computes; None where the engine does not know it."""
        ...

    @property
    def placement(self) -> Placement | None:
        """The graph's nodes by execution provider; None where the engine does not know them."""
        ...

    @property
    def complaint(self) -> str:
        """The first error that the library logged while the session was opened, or an empty text."""
        ...


class Session(Loaded, Protocol):
    """A loaded model of a family of the task `forward`."""

    def bind(self, feed: Feed) -> Callable[[], object]:
        """The call that is timed: it runs `feed` once, and ends when its outputs are readable on the host."""
        ...

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        ...


class Stream(Protocol):
    """One greedy generation that is set up but not started: memory is allocated, and the context is in the cache.

    The iteration is timed. Each step ends when its tokens are readable on the host, and yields them as int64 of shape
    (batch,), or None where the engine has no token ids. The end-of-sequence token does not end the generation.
    """

    encode_ns: int | None
    """After the first step: the nanoseconds of the encoder in it; None without an encoder, or where not known."""
    tokens: int | None
    """At the end: the tokens of each sequence as the engine counts them; None where each step is one token."""
    prompt_tokens: int | None
    """At the end: the tokens of the prompt as the engine counts them; None means those of the feed."""

    def __iter__(self) -> Iterator[Array | None]:
        """Yield the steps; the first includes the whole prefill."""
        ...


class Generator(Loaded, Protocol):
    """A loaded model of a family that generates.

    A feed holds `input_ids`, int64 of (batch, prompt); where the workload has a context, `context_ids`, int64 of
    (batch, context), which precede them; for speech `input_features`, float32 of (batch, mels, frames).
    """

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        ...

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation: float32 of (batch, n, vocabulary) for `tokens`, int64 of (batch, n).

        The logits at i predict the token after the prompt and `tokens[:, :i]`. They are computed as in a generation:
        the whole prompt in one call, then token by token.
        """
        ...

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload; `parameters` is filled in by the caller."""
        ...


class TextGenerator(Loaded, Protocol):
    """A generator that gives text but no logits, as a server does; its engine declares `checked_by="text"`."""

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        ...

    def next_texts(self, prefixes: Sequence[str]) -> list[str]:
        """The text of the most likely next token after each prefix."""
        ...

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload."""
        ...


AnySession = Session | Generator | TextGenerator
"""A `Session` for the task `forward`, else a generator: of logits or of text, as the engine's `checked_by` says."""


class Engine(Protocol):
    """The module of an engine."""

    MANIFEST: EngineManifest

    def Session(self, visit: Visit) -> AnySession:  # noqa: N802 - a class in most engines
        """Load the visit's model; deleting the session must free its memory."""
        ...

    def probe(self, order: Probe) -> TargetFacts:
        """Facts about the target on this machine, with a reason and a remedy where it is not available."""
        ...

    def versions(self, provider: Provider | None) -> dict[str, str]:
        """The versions that the libraries themselves report, by package."""
        ...


class ProfilingEngine(Engine, Protocol):
    """An engine that declares `profiles=True`."""

    def profiled(self, visit: Visit, placement: Placement, feed: Feed) -> Placement:
        """The placement with device copies and times, from some calls of a separate session."""
        ...


class CompilingEngine(Engine, Protocol):
    """An engine that declares `compiles_context=True`; its `Session` opens the compiled model with `compiled=True`."""

    def Session(self, visit: Visit, *, compiled: bool = False) -> AnySession:  # noqa: N802 - a class in most engines
        """Load the visit's model, or with `compiled` the one that `compile_context` wrote."""
        ...

    def compile_context(self, visit: Visit) -> None:
        """Compile the model with the provider, and write the result into `visit.scratch`."""
        ...


# --- formats: one file makes one kind of artifact ---------------------------------------------------------------------


class Format(Protocol):
    """The module of a format; its recipes are functions under the decorator `bench.worker.recipes.recipe`."""

    MANIFEST: FormatManifest
