"""Records of what a family, an engine and a format declare: the `MANIFEST` at the top of their files.

The orchestrator reads a manifest from the source text and never imports the file, so every value in it is a literal.
"""

from __future__ import annotations

from typing import Literal

from bench.records.base import Record
from bench.records.plan import Tolerance

Task = Literal["forward", "text-generation", "speech-recognition"]
"""What a model does. `forward`: one call gives the whole answer. The others emit tokens one after another."""
SourceKind = Literal["hub", "path", "wheel", "config", "onnx"]


class FamilyManifest(Record, frozen=True, kw_only=True):
    """`MANIFEST` of a family's file."""

    task: Task
    build_runtime: str
    """The runtime in which references are computed, and artifacts of formats that name no runtime are built."""
    sizes: dict[str, int]
    """The sizes of a workload with their defaults: `{"batch": 1, "sequence": 128}`."""
    labels: dict[str, str]
    """The short name of each size in a workload's label: `b1-s128`."""
    rates: dict[str, list[str]]
    """Items in one call by their unit, as the sizes whose product they are; the first is the unit of throughput."""
    open_sizes: bool = False
    """True where a workload may have sizes that are not listed."""
    optional: tuple[str, ...] = ()
    """Sizes that may be 0, and then are in no label."""
    inputs: str | None = None
    """Where the real inputs come from where the model names none, `wheel:…` or `path:…`."""
    opset: int = 0
    """The ONNX opset of the export, where the model names none."""
    format: str = "onnx"
    """The format of the artifacts that a precision's recipe for the family makes."""
    engines: tuple[str, ...] = ("ort",)
    """The engines that run it on an execution provider: the first that can drive the provider is taken."""
    sources: tuple[SourceKind, ...] = ("hub", "path", "wheel", "config")
    """The kinds of source that the family reads."""
    files: tuple[str, ...] = ()
    """The endings of single files that it reads in the place of a folder, such as `.gguf`; `unpack` reads them."""
    has_module: bool = True
    """Whether `load` gives a PyTorch module."""
    class_scores: tuple[str, ...] = ()
    """The outputs that hold one score for each class, of shape (batch, classes)."""
    labelled: tuple[str, ...] = ()
    """The kinds of labelled samples that it can be scored with, its default first: `classes`, `pairs`, `rankings`,
    `answers`, `speech`, `text`. Its module then has `labelled`."""
    tolerances: dict[str, Tolerance] = {}
    """By number format: what holds where a recipe declares no tolerance for this family."""


class EngineRecipe(Record, frozen=True, kw_only=True):
    """A precision that an engine makes itself while it loads the model."""

    number_format: str
    tolerance: dict[str, Tolerance] = {}
    """By family: how far an answer may be from the FP32 reference."""


class EngineManifest(Record, frozen=True, kw_only=True):
    """`MANIFEST` of an engine's file."""

    format: str | None
    """The format of the artifacts that the engine runs; None where it loads a model's source itself."""
    runtime: str = "build"
    """The runtime of a baseline with this engine that names none."""
    modes: tuple[str, ...] = ()
    """The modes that a baseline may ask for; empty where there are none."""
    recipes: dict[str, EngineRecipe] = {}
    """The precisions that the engine makes itself, where `format` is None."""
    tasks: tuple[Task, ...] = ()
    """The tasks that the engine can run; empty: every one, or with a format the families of that format."""
    needs_module: bool = False
    """Whether the engine runs the PyTorch module that the family's `load` gives."""
    names_providers: bool = False
    """Whether the engine names providers itself, and drives only those whose `engine_names` hold its name."""
    variables: tuple[str, ...] = ()
    """Options that name an environment variable, so that what it holds is in no file."""
    addresses: tuple[str, ...] = ()
    """Options that are addresses, in which no password may stand."""
    checked_by: Literal["logits", "text"] = "logits"
    """How a generation is checked: by `Generator.score`, or by `TextGenerator.next_texts`."""
    profiles: bool = False
    """Whether the module has `profiled`, as `ProfilingEngine` says."""
    compiles_context: bool = False
    """Whether the module has `compile_context`, as `CompilingEngine` says."""


class FormatManifest(Record, frozen=True, kw_only=True):
    """`MANIFEST` of a format's file."""

    base: str | None = None
    """The recipe whose artifact the other recipes start from; None where each starts from the source."""
    from_source: tuple[str, ...] = ()
    """The recipes beside the base that start from the source too."""
    build_runtime: str | None = None
    """The runtime that builds from the source; None: the family's own."""
    convert_runtime: str | None = None
    """The runtime that builds from the base artifact; None: the family's own."""
