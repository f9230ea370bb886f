"""Cells in; for each one the artifact, the source and the reference it needs, or the failure that it ends with, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.declare import vocabulary
from bench.declare.matrix import Matrix, Model
from bench.errors import RuntimeSetupError, SourceError
from bench.prepare import sources, worker_code
from bench.prepare.artifacts import Artifact, Artifacts, Kind
from bench.prepare.runtimes import Ready, Shelf
from bench.prepare.targets import Settled
from bench.processes import Worker
from bench.progress import Progress, duration
from bench.records import Built, Cell, Convert, Export, Failed, Failure, Order, Recipe, Refer, Source

EXPORTED = Recipe(name="fp32")
BUILD_TIMEOUT_S = 1800.0


class BuildError(Exception):
    """An artifact could not be made; holds the failure that its cells end with."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclasses.dataclass
class Prepared:
    """What the cells need, by the names the matrix gives them."""

    code: Path
    runtimes: dict[str, Ready] = dataclasses.field(default_factory=dict)
    sources: dict[str, Source] = dataclasses.field(default_factory=dict)
    artifacts: dict[tuple[str, str], Artifact] = dataclasses.field(default_factory=dict)
    """By model and precision."""
    references: dict[tuple[str, str], Artifact] = dataclasses.field(default_factory=dict)
    """By model and workload."""
    failures: dict[str, Failure] = dataclasses.field(default_factory=dict)
    """By cell id: what ended before it could be measured."""


def prepare(
    matrix: Matrix, cells: Iterable[Cell], settled: Settled, cache: Path, logs: Path, progress: Progress
) -> Prepared:
    """Make everything that the cells need; a failure costs the cells that needed it, and no other.

    Nothing is made for targets that are not on this machine.
    """
    wanted = [cell for cell in cells if cell.excluded is None]
    failures = {cell.id: settled.failures[cell.target] for cell in wanted if cell.target in settled.failures}
    prepared = Prepared(settled.code, settled.shelf.made, failures=failures)
    builder = _Builder(matrix, cache, logs, progress, prepared)
    try:
        builder.runtimes_of([cell for cell in wanted if cell.id not in failures], settled.shelf)
        for model in dict.fromkeys(cell.model for cell in wanted):
            mine = [cell for cell in wanted if cell.model == model and cell.id not in prepared.failures]
            builder.model(matrix.models[model], mine)
    except BaseException:
        builder.end(Worker.kill)
        raise
    builder.end(Worker.close)
    return prepared


class _Builder:
    """Walks the models; keeps one build worker alive for all that is missing, and starts another when it dies."""

    def __init__(self, matrix: Matrix, cache: Path, logs: Path, progress: Progress, prepared: Prepared) -> None:
        self.matrix, self.cache, self.logs, self.progress, self.prepared = matrix, cache, logs, progress, prepared
        self.artifacts = Artifacts(cache / "artifacts")
        self.workers: dict[str, Worker] = {}

    def end(self, way: Callable[[Worker], None]) -> None:
        """Close the workers when all is built; kill them when it will not be."""
        for worker in self.workers.values():
            way(worker)

    def runtimes_of(self, cells: list[Cell], shelf: Shelf) -> None:
        """Make the runtimes that the cells are built in; those they run in are there."""
        for name in dict.fromkeys(self.build_runtime(cell) for cell in cells):
            try:
                shelf.ensure(name)
            except RuntimeSetupError as error:
                failure = Failure("unavailable", "runtime", type(error).__name__, error.message, error.hint)
                self.fail((cell for cell in cells if self.build_runtime(cell) == name), failure)

    def build_runtime(self, cell: Cell) -> str:
        return vocabulary.families()[cell.family].build_runtime

    def fail(self, cells: Iterable[Cell], failure: Failure) -> None:
        for cell in cells:
            self.prepared.failures.setdefault(cell.id, failure)

    def model(self, model: Model, cells: list[Cell]) -> None:
        """The source, the references and the artifacts of one model."""
        if not cells:
            return
        try:
            source, inputs = self.source(model)
        except SourceError as error:
            message = f"{model.name}: {error.message}"
            self.progress.step(f"source {message}; {error.hint}")
            self.fail(cells, Failure("unavailable", "source", type(error).__name__, error.message, error.hint))
            return
        self.prepared.sources[model.name] = source
        for workload in dict.fromkeys(cell.workload for cell in cells):
            self.reference(model, source, inputs, [cell for cell in cells if cell.workload == workload])
        in_onnx = [cell for cell in cells if vocabulary.engines()[cell.engine].needs_artifact]
        for precision in dict.fromkeys(cell.precision for cell in in_onnx):
            self.artifact(model, source, inputs, [cell for cell in in_onnx if cell.precision == precision])

    def source(self, model: Model) -> tuple[Source, tuple[str, str] | None]:
        """The model's source on this disk, and its input data with their digest."""
        self.progress.detail(f"source of {model.name}: {model.source}")
        root = Path(self.matrix.place).parent
        source = sources.resolve(
            model.source,
            weights=model.weights,
            seed=model.seed,
            cache=self.cache,
            root=root,
            sha256=model.sha256,
            say=self.progress.step,
        )
        wanted = model.inputs or vocabulary.families()[model.family].inputs
        data = sources.resolve_data(wanted, cache=self.cache, root=root, say=self.progress.step) if wanted else None
        return source, data

    def reference(self, model: Model, source: Source, inputs: tuple[str, str] | None, cells: list[Cell]) -> None:
        """The inputs of a workload and what PyTorch in FP32 makes of them."""
        first = cells[0]
        sizes = ",".join(f"{name}={size}" for name, size in first.sizes.items())
        parts = self.parts(model, source, inputs) | {"what": "reference", "workload": first.workload, "sizes": sizes}

        def order(out: Path) -> Order:
            return Refer(model.family, source, first.sizes, inputs[0] if inputs else None, str(out))

        try:
            name = f"{model.name} {first.workload}"
            artifact = self.ensure("reference", f"reference of {name}", parts, order, first)
        except BuildError as error:
            self.fail(cells, error.failure)
            return
        self.prepared.references[model.name, first.workload] = artifact

    def artifact(self, model: Model, source: Source, inputs: tuple[str, str] | None, cells: list[Cell]) -> None:
        """The ONNX model of one precision: the export, or what its recipe makes of the export."""
        recipe = cells[0].recipe
        assert recipe is not None
        try:
            exported = self.export(model, source, cells[0])
            artifact = exported if recipe == EXPORTED else self.convert(model, source, inputs, cells[0], exported)
        except BuildError as error:
            self.fail(cells, error.failure)
            return
        self.prepared.artifacts[model.name, cells[0].precision] = artifact

    def export(self, model: Model, source: Source, cell: Cell) -> Artifact:
        opset = model.opset or vocabulary.families()[model.family].opset
        parts = self.parts(model, source, None) | {"what": "export", "opset": str(opset), "recipe": "fp32"}

        def order(out: Path) -> Order:
            return Export(model.family, source, opset, str(out))

        return self.ensure("model", f"export of {model.name}", parts, order, cell)

    def convert(
        self, model: Model, source: Source, inputs: tuple[str, str] | None, cell: Cell, exported: Artifact
    ) -> Artifact:
        recipe = cell.recipe
        assert recipe is not None
        options = ",".join(f"{name}={value}" for name, value in sorted(recipe.options.items()))
        parts = self.parts(model, source, inputs) | {
            "what": "convert",
            "recipe": recipe.name,
            "options": options,
            "parent": exported.record.key,
        }

        def order(out: Path) -> Order:
            return Convert(model.family, source, recipe, str(exported.folder), inputs[0] if inputs else None, str(out))

        return self.ensure("model", f"{recipe.name} of {model.name}", parts, order, cell)

    def parts(self, model: Model, source: Source, inputs: tuple[str, str] | None) -> dict[str, str]:
        """What every artifact of a model is made of; never the provider it will run on."""
        ready = self.prepared.runtimes[vocabulary.families()[model.family].build_runtime]
        return {
            "model": model.name,
            "family": model.family,
            "source": source.digest,
            "weights": source.weights,
            "seed": str(source.seed),
            "inputs": inputs[1] if inputs else "",
            "tools": _tools(ready),
            "code": worker_code.build_digest(model.family),
        }

    def ensure(
        self, kind: Kind, what: str, parts: dict[str, str], order: Callable[[Path], Order], cell: Cell
    ) -> Artifact:
        """The artifact from the cache, or built by a worker with what it prints in a log of its own."""

        built = False

        def build(aside: Path) -> tuple[str, ...]:
            nonlocal built
            built = True
            self.progress.detail(f"building: {what}")
            return self.ask(self.build_runtime(cell), order(aside))

        artifact = self.artifacts.ensure(kind, parts, build)
        if built:
            size = artifact.record.size_bytes / 2**20
            self.progress.step(f"built {what}: {size:.1f} MiB in {duration(artifact.record.seconds)}")
        return artifact

    def ask(self, runtime: str, order: Order) -> tuple[str, ...]:
        notes: tuple[str, ...] = ()
        for reply in self.worker(runtime).ask(order, BUILD_TIMEOUT_S):
            if isinstance(reply, Failed):
                self.progress.step(f"failed at stage '{reply.failure.stage}': {reply.failure.message}")
                raise BuildError(reply.failure)
            if isinstance(reply, Built):
                notes = reply.notes
        return notes

    def worker(self, runtime: str) -> Worker:
        held = self.workers.get(runtime)
        if held is None or not held.alive:
            ready = self.prepared.runtimes[runtime]
            log = self.logs / f"build-{runtime}.log"
            self.workers[runtime] = Worker(ready.executable, log, worker_code.child_environment(self.prepared.code))
        return self.workers[runtime]


def _tools(ready: Ready) -> str:
    """The versions of what the build runtime lists: the tools that an artifact's bytes depend on."""
    held = {name.lower().replace("_", "-"): version for name, version in ready.record.packages.items()}
    asked = (requirement.replace("_", "-").lower() for requirement in ready.record.requires)
    names = sorted({_distribution(requirement) for requirement in asked} | {"numpy"})
    return " ".join(f"{name} {held.get(name, '?')}" for name in names)


def _distribution(requirement: str) -> str:
    stops = [requirement.find(mark) for mark in "=<>!~[; @" if mark in requirement]
    return requirement[: min(stops)] if stops else requirement
