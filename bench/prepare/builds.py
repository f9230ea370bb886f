"""Prepares what cells need: targets, sources, references and artifacts, or the failure of a cell."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.matrix import Matrix, Model
from bench.errors import RuntimeSetupError, SourceError
from bench.prepare import sources
from bench.prepare.artifact_builder import ArtifactBuilder, BuildError, Material, runtimes_for
from bench.prepare.artifacts import Artifact, RecordedArtifacts
from bench.prepare.cache_check import CacheCheck, failure_of
from bench.prepare.environments import Environment
from bench.prepare.probe import ProbedTargets, wanted
from bench.prepare.threads import Slots, Threads, usable_cores
from bench.progress import Progress
from bench.records import Cell, Failure, Source, TaskOptions
from bench.worker_process import Worker

MOST_BUILDS = 4
"""How many artifacts are built at once: each worker holds torch, and a model several times."""
OTHER_SOURCE = Failure(
    "unavailable",
    "source",
    "changed",
    "the model's source is not what the earlier run had, and its artifacts are not in the cache",
    "pin the source in the matrix, or keep the cache folder between runs",
)


@dataclasses.dataclass
class Prepared:
    """What the cells need, by the names in the matrix."""

    code: Path
    runtimes: dict[str, Environment] = dataclasses.field(default_factory=dict)
    sources: dict[str, Source] = dataclasses.field(default_factory=dict)
    artifacts: dict[str, Artifact] = dataclasses.field(default_factory=dict)
    """By `Cell.artifact_name`."""
    references: dict[tuple[str, str], Artifact] = dataclasses.field(default_factory=dict)
    """By model and workload."""
    labelled: dict[tuple[str, str], Artifact] = dataclasses.field(default_factory=dict)
    """By model and workload: the labelled samples in the sizes of the workload."""
    failures: dict[str, Failure] = dataclasses.field(default_factory=dict)
    """By cell id: the failures of cells that cannot be measured."""
    check: CacheCheck = dataclasses.field(default_factory=CacheCheck)
    """The checks of what the cells take from the cache."""


def prepare(
    matrix: Matrix,
    cells: Iterable[Cell],
    targets: ProbedTargets,
    cache: Path,
    logs: Path,
    progress: Progress,
    recorded: RecordedArtifacts | None = None,
) -> Prepared:
    """Try the targets and make everything that the cells need; a failure affects only the cells that need what failed.

    All that does not depend on each other runs at the same time: an artifact is built as soon as its runtime is there
    and one of its targets is known to be usable, beside installations and other builds. Nothing is made for targets
    that are unusable on this machine. `recorded` names the artifacts of an earlier run: where the cache still holds
    them they are used, even if others would be made today.
    """
    included = [cell for cell in cells if cell.excluded is None]
    prepared = Prepared(targets.code, targets.pool.environments, check=targets.pool.check)
    # A build computes on all cores for a part of its time only.
    slots = Slots(min(MOST_BUILDS, usable_cores()), targets.stop, targets.machine.memory_bytes * 8 // 10)
    builder = ArtifactBuilder(cache, logs, progress, prepared.runtimes, prepared.code, slots, targets.pool.check)
    recorded = recorded or RecordedArtifacts()
    recorded.lease(builder.cache)
    try:
        targets.stop.also(lambda: builder.end(Worker.kill))
        with Threads(targets.stop) as threads:
            models = _Models(matrix, cache, builder, progress, prepared, recorded, targets)
            for target in wanted(matrix, included):
                threads.start(targets.examine, target)
            for model in dict.fromkeys(cell.model for cell in included):
                selected = [cell for cell in included if cell.model == model]
                threads.start(models.model, threads, matrix.models[model], selected)
    # After Ctrl-C or an error nothing waits for a build to end.
    except BaseException:
        builder.end(Worker.kill)
        raise
    builder.end(Worker.close)
    # Whatever else failed for a cell, what its target is comes first.
    prepared.failures |= {
        cell.id: targets.failures[cell.target] for cell in included if cell.target in targets.failures
    }
    return prepared


class _Models:
    """Prepares the models, each in a thread, and records failures."""

    def __init__(
        self,
        matrix: Matrix,
        cache: Path,
        builder: ArtifactBuilder,
        progress: Progress,
        prepared: Prepared,
        recorded: RecordedArtifacts,
        targets: ProbedTargets,
    ) -> None:
        self.matrix, self.cache, self.builder = matrix, cache, builder
        self.progress, self.prepared, self.recorded, self.targets = progress, prepared, recorded, targets

    def has_runtimes(self, names: Iterable[str], cells: list[Cell]) -> bool:
        """Make the runtimes in which something is built for the cells; where one cannot be made, the cells fail."""
        for name in names:
            try:
                self.targets.pool.ensure(name)
            except RuntimeSetupError as error:
                self.fail(cells, failure_of(error, "runtime"))
                return False
        return True

    def fail(self, cells: Iterable[Cell], failure: Failure) -> None:
        for cell in cells:
            # The first failure is the cause; later ones follow from it.
            self.prepared.failures.setdefault(cell.id, failure)

    def alive(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells without a failure so far; those of a target that is not tried yet are among them."""
        gone = self.targets.failures
        return [cell for cell in cells if cell.id not in self.prepared.failures and cell.target not in gone]

    def model(self, threads: Threads, model: Model, cells: list[Cell]) -> None:
        """Prepare the source, the references and the artifacts of one model."""
        # Beside the installations and probes of its targets: it is the largest runtime.
        if any(self.targets.is_likely(self.matrix.targets[name]) for name in {cell.target for cell in cells}):
            threads.start(self.has_runtimes, [registry.families()[model.family].build_runtime], [])
        if not self.targets.any_usable(cell.target for cell in cells):
            return
        try:
            material = self.material(model)
        except SourceError as error:
            message = f"{model.name}: {error.message}"
            self.progress.step(f"source {message}; {error.hint}")
            self.without_source(threads, model, cells, failure_of(error, "source"))
            return
        # A gate must measure the model that its baseline measured.
        if self.recorded.differs(model.name, material.source):
            self.without_source(threads, model, cells, OTHER_SOURCE)
            return
        if not self.has_runtimes([material.family.build_runtime], cells):
            return
        try:
            material = self.builder.unpacked(material)
        except BuildError as error:
            self.fail(cells, error.failure)
            return
        self.prepared.sources[model.name] = material.source
        self.everything(threads, material, cells)

    def everything(self, threads: Threads, material: Material, cells: list[Cell]) -> None:
        """Prepare the references, then the artifacts of the cells whose reference succeeded."""
        # One reference for a workload, whatever precision or target is compared with it.
        workloads = dict.fromkeys(cell.workload for cell in cells)
        of_workload = [[cell for cell in cells if cell.workload == workload] for workload in workloads]
        for reference in [threads.start(self.reference, material, group) for group in of_workload]:
            reference.result()
        if material.task is not None:
            self.labelled(material, material.task, cells)
        # Without a reference no answer could be checked, so nothing is built for such a cell.
        runnable = self.alive(cell for cell in cells if cell.format is not None)
        for name in dict.fromkeys(cell.artifact_name for cell in runnable):
            threads.start(self.artifact, material, [cell for cell in runnable if cell.artifact_name == name])

    def without_source(self, threads: Threads, model: Model, cells: list[Cell], failure: Failure) -> None:
        """Prepare the cells that recorded artifacts are enough for; the others end with the failure."""
        standing = [cell for cell in cells if self.recorded.is_runnable_from_cache(cell, self.builder.cache)]
        for cell in (cell for cell in cells if cell not in standing):
            self.fail([cell], self.of_damage(cell, failure))
        if standing:
            source = self.recorded.stand_in(model.name)
            self.prepared.sources[model.name] = source
            self.everything(threads, Material(model, source, None), standing)

    def of_damage(self, cell: Cell, failure: Failure) -> Failure:
        """The failure of a cell without its source, or that of the cache where its artifact is there but damaged."""
        keys = (
            self.recorded.artifacts.get(cell.artifact_name),
            self.recorded.references.get(f"{cell.model}/{cell.workload}"),
        )
        for key in filter(None, keys):
            what = f"the artifact {cell.artifact_name}" if key == keys[0] else f"the reference of {cell.model}"
            if error := self.builder.check.of_damage(self.builder.cache.root / key, what, failure):
                return failure_of(error, "cache")
        return failure

    def material(self, model: Model) -> Material:
        """Fetch the model's source and its input data. Raises `SourceError`."""
        root = Path(self.matrix.place).parent
        source = sources.resolve(
            model.source,
            weights=model.weights,
            seed=model.seed,
            cache=self.cache,
            root=root,
            sha256=model.sha256,
            say=self.progress.step,
            check=self.builder.check,
        )
        inputs = model.inputs or registry.families()[model.family].inputs
        data = self._data(inputs, root) if inputs else None
        options, tokenizer = model.input_options, None
        if options.tokenizer:
            tokenizer = sources.resolve_folder(
                options.tokenizer, cache=self.cache, root=root, say=self.progress.step, check=self.builder.check
            )
            options = replace(options, tokenizer=tokenizer[0])
        task = self.task(model, root)
        return Material(model, replace(source, inputs=options), data, tokenizer[1] if tokenizer else "", task)

    def task(self, model: Model, root: Path) -> TaskOptions | None:
        """The labelled samples of a model with their paths on this disk and their digest. Raises `SourceError`."""
        if model.task is None:
            return None
        paths, digests = [], []
        for source in (model.task.inputs, model.task.labels):
            known = self._data(source, root, labels=source == model.task.labels) if source else None
            paths.append(known[0] if known else "")
            digests.append(known[1] if known else "")
        # Without the sources: the same samples at another place are the same.
        read = msgspec.json.encode(replace(model.task, inputs="", labels=""), order="sorted").decode()
        digest = hashlib.sha256("\n".join([*digests, read]).encode()).hexdigest()[:24]
        return replace(model.task, inputs=paths[0], labels=paths[1], digest=digest)

    def _data(self, source: str, root: Path, *, labels: bool = False) -> tuple[str, str]:
        say, check = self.progress.step, self.builder.check
        return sources.resolve_data(source, cache=self.cache, root=root, labels=labels, say=say, check=check)

    def reference(self, material: Material, cells: list[Cell]) -> None:
        """Prepare the reference of one workload."""
        if not self.targets.any_usable(cell.target for cell in cells):
            return
        try:
            reference = self.recorded.reference(cells[0], self.builder.cache)
            if reference is None:
                if not self.has_runtimes([material.family.build_runtime], cells):
                    return
                reference = self.builder.reference(material, cells[0])
        except BuildError as error:
            self.fail(cells, error.failure)
            return
        self.prepared.references[material.model.name, cells[0].workload] = reference

    def labelled(self, material: Material, task: TaskOptions, cells: list[Cell]) -> None:
        """Prepare the labelled samples in the sizes of the first workload of each group, which runs them."""
        alive = self.alive(cells)
        first = {cell.group: cell for cell in reversed(alive)}
        for workload in dict.fromkeys(cell.workload for cell in first.values()):
            hit = [cell for cell in alive if first[cell.group].workload == workload]
            try:
                made = self.builder.labelled(material, task, hit[0])
            except BuildError as error:
                self.fail(hit, error.failure)
                continue
            self.prepared.labelled[material.model.name, workload] = made

    def artifact(self, material: Material, cells: list[Cell]) -> None:
        """Prepare the artifact of one precision in one format."""
        if not self.targets.any_usable(cell.target for cell in cells):
            return
        try:
            artifact = self.recorded.artifact(cells[0], self.builder.cache)
            if artifact is None:
                if not self.has_runtimes(runtimes_for(cells[0]), cells):
                    return
                artifact = self.builder.artifact(material, cells[0])
        except BuildError as error:
            self.fail(cells, error.failure)
            return
        self.prepared.artifacts[cells[0].artifact_name] = artifact
