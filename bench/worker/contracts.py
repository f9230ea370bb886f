"""What a family, an engine and a format must have: each is a module, and its file is described by one Protocol here.

Arrays are NumPy arrays on the host. A feed is one batch: the arrays of a model's inputs, or of its outputs, by name.
Whatever an implementation raises becomes the failure of the cells that needed it. `bench.worker.refusal.Refusal` says
why something is not supported and what helps; any other exception is reported by its class and its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

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
    Traits,
    Visit,
)
from bench.worker.feeds import Array, Feed

# --- families: one file for each kind of model ------------------------------------------------------------------------


class Family(Protocol):
    """What every family's module has; it imports heavy libraries inside its functions only."""

    MANIFEST: FamilyManifest

    def load(self, source: Source) -> Any:
        """The model as a PyTorch module in FP32 and evaluation mode; ValueError where `has_module` is False."""
        ...

    def make_inputs(self, source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
        """The batches of a workload, two at least: the first is timed, all are checked.

        `sizes` are the workload's; `inputs` is the folder or file of real input data, or None.
        """
        ...

    def describe_inputs(self, source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[str, ...]:
        """What a reader would not expect of the inputs, such as noise in the place of photographs."""
        ...


class ForwardFamily(Family, Protocol):
    """A family of the task `forward`: one call gives the whole answer."""

    def reference(self, source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
        """The outputs of every batch in FP32, and who computed them."""
        ...

    def comparable(self, outputs: Feed, feed: Feed) -> Array:
        """What is compared of a batch's outputs: float64 of (rows, values), a row for each sample."""
        ...


class ExportingFamily(ForwardFamily, Protocol):
    """A family of the task `forward` whose format is `onnx`."""

    def export(self, source: Source, out: Path, opset: int) -> tuple[str, ...]:
        """Write `out/model.onnx` in FP32 with symbolic dimensions, weights over 2 GB beside it; gives notes."""
        ...

    def calibration(self, source: Source, inputs: str | None) -> list[Feed]:
        """Batches of one sample to calibrate with; none of them is an input that is checked."""
        ...


class GeneratingFamily(Family, Protocol):
    """A family whose models emit tokens one after another: the tasks `text-generation` and `speech-recognition`."""

    def folder(self, source: Source, scratch: Path) -> Path:
        """A Hugging Face folder of the model: the source's own, or one that is written into `scratch`."""
        ...

    def reference(self, source: Source, feeds: list[Feed], new: int) -> tuple[list[Feed], str]:
        """For every batch `new` greedy tokens, int64 of (batch, new), with their logits; and who computed them."""
        ...

    def facts(self, source: Source, feeds: list[Feed], outputs: list[Feed]) -> dict[str, Any]:
        """What checks and readers need beside the reference, as JSON: `parameters`, and where known `prefixes`."""
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


# --- engines: one file drives one library -----------------------------------------------------------------------------


class Loaded(Protocol):
    """What every session says of the model that it loaded."""

    @property
    def threads(self) -> int | None:
        """How many threads it computes with; None where the engine cannot tell."""
        ...

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a reader must know of it."""
        ...

    @property
    def device(self) -> Device | None:
        """Where it computes; None where the engine cannot tell."""
        ...

    @property
    def placement(self) -> Placement | None:
        """The graph's nodes by execution provider; None where the engine cannot tell."""
        ...

    @property
    def complaint(self) -> str:
        """The first error that the library logged while the session was opened, or nothing."""
        ...


class Session(Loaded, Protocol):
    """A loaded model of a family of the task `forward`."""

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once, and ends when its outputs are readable on the host; it is what is timed."""
        ...

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        ...


class Stream(Protocol):
    """One greedy generation, set up and not begun: what a request allocates is there, and its context is filled.

    Iterating it is what is timed. Each step ends when its tokens are readable on the host, and gives them, int64 of
    shape (batch,), or None where an engine sees no token ids. The end-of-sequence token does not end it.
    """

    encode_ns: int | None
    """After the first step: what the encoder took of it, where there is one and the engine can tell."""
    tokens: int | None
    """At the end: the tokens of each sequence as the engine counted them; None where each step is one."""
    prompt_tokens: int | None
    """At the end: the tokens of the prompt as the engine counted them; None: those of the feed."""

    def __iter__(self) -> Iterator[Array | None]:
        """The steps: the first has all of prefill in it."""
        ...


class Generator(Loaded, Protocol):
    """A loaded model of a family that generates.

    A feed holds `input_ids`, int64 of (batch, prompt); where the workload has a context, `context_ids`, int64 of
    (batch, context), which stand before them; for speech `input_features`, float32 of (batch, mels, frames).
    """

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        ...

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation: float32 of (batch, n, vocabulary) for `tokens`, int64 of (batch, n).

        Those at i tell the token after the prompt and `tokens[:, :i]`, computed as the generation computes them: the
        prompt at once, then token by token.
        """
        ...

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload; `parameters` is filled in by the caller."""
        ...


class TextGenerator(Loaded, Protocol):
    """A `Generator` that shows text and no logits, as a server does: the engine declares `checked_by="text"`."""

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        ...

    def next_texts(self, prefixes: Sequence[str]) -> list[str]:
        """The text of the likeliest next token after each prefix."""
        ...

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload."""
        ...


AnySession = Session | Generator | TextGenerator
"""A `Session` for the task `forward`, else a generator: of logits or of text, as the engine's `checked_by` says."""


class Engine(Protocol):
    """What every engine's module has."""

    MANIFEST: EngineManifest

    def Session(self, visit: Visit) -> AnySession:  # noqa: N802 - a class in most engines
        """Load the visit's model; what the session holds is freed when the session is."""
        ...

    def probe(self, order: Probe) -> TargetFacts:
        """What the target is on this machine; a reason and a remedy where it is not available."""
        ...

    def versions(self, provider: Provider | None) -> dict[str, str]:
        """The versions that the libraries themselves report, by package."""
        ...


class ProfilingEngine(Engine, Protocol):
    """An engine that declares `profiles=True`."""

    def profiled(self, visit: Visit, placement: Placement, feed: Feed) -> Placement:
        """The placement with copies between devices and times, seen in some calls of a session of its own."""
        ...


class CompilingEngine(Engine, Protocol):
    """An engine that declares `compiles_context=True`; its `Session` takes `compiled=True` to open what was written."""

    def Session(self, visit: Visit, *, compiled: bool = False) -> AnySession:  # noqa: N802 - a class in most engines
        """Load the visit's model, or with `compiled` what `compile_context` wrote of it."""
        ...

    def compile_context(self, visit: Visit) -> None:
        """Write what the provider compiles of the model into `visit.scratch`."""
        ...


# --- formats: one file makes one kind of artifact ---------------------------------------------------------------------


class Format(Protocol):
    """What every format's module has, beside its recipes: functions under `bench.worker.recipes.recipe`."""

    MANIFEST: FormatManifest
