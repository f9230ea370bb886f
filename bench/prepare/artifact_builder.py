"""Takes the references and artifacts of a model from the cache, or builds them with a worker in a build runtime."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from bench.declare import registry
from bench.declare.matrix import Model
from bench.errors import ReadOnlyCacheError
from bench.prepare import worker_code
from bench.prepare.artifacts import THING, Artifact, Artifacts, Kind, key_of
from bench.prepare.cache_check import CacheCheck, Use, failure_of, lacks
from bench.prepare.environments import Environment, distribution_name, uses_of
from bench.prepare.threads import Slots, usable_cores
from bench.progress import Progress, duration
from bench.records import (
    ArtifactRecord,
    Build,
    Built,
    Cell,
    Failed,
    Failure,
    InputOptions,
    Label,
    Note,
    Order,
    Recipe,
    Refer,
    Source,
    TaskOptions,
    Unpack,
)
from bench.worker_process import Worker

# Exporting and converting a model of some gigabytes takes minutes.
BUILD_TIMEOUT_S = 1800.0
ARCHITECTURE = "architecture"
"""The kind of a refusal that no recipe of a format can change."""


class BuildError(Exception):
    """An artifact could not be made; holds the failure that its cells end with."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Material(Struct, frozen=True):
    """The inputs of a model's artifacts."""

    model: Model
    source: Source
    data: tuple[str, str] | None
    """The folder of its input data, and the digest of the data."""
    tokenizer: str = ""
    """The digest of the tokenizer of its input data."""
    task: TaskOptions | None = None
    """Its labelled samples, with paths of this machine."""
    unpacked: ArtifactRecord | None = None
    """The record of the folder that was made of a single file."""

    @property
    def folder(self) -> str | None:
        """The folder of its input data."""
        return self.data[0] if self.data else None

    @property
    def family(self) -> registry.Family:
        """The family of the model."""
        return registry.families()[self.model.family]


class Work(Struct, frozen=True):
    """What a build means for others: its rank, and the memory that it may take."""

    rank: tuple[int, ...]
    memory_bytes: int


class ArtifactBuilder:
    """Builds artifacts with workers in the build runtimes; a worker that has died is replaced.

    Several threads may use it: `slots` limit how many artifacts are built at once.
    """

    def __init__(
        self,
        cache: Path,
        logs: Path,
        progress: Progress,
        runtimes: Mapping[str, Environment],
        code: Path,
        slots: Slots | None = None,
        check: CacheCheck | None = None,
    ) -> None:
        self.slots = slots or Slots(1)
        self.check = check or CacheCheck(say=progress.step)
        self.cache = Artifacts(cache / "artifacts", self.slots.stop, self.check)
        self.logs, self.progress, self.runtimes, self.code = logs, progress, runtimes, code
        # Kept between builds: starting a worker imports torch, which takes seconds.
        self.workers: dict[tuple[str, int], Worker] = {}
        """By runtime and number."""
        self._busy: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self.failed: dict[str, Failure] = {}
        """By key: what could not be made in this run. Every precision needs the same export."""
        self.unknown: dict[tuple[str, str], Failure] = {}
        """By format and digest of the source: architectures that the format does not take, whatever the recipe."""

    def end(self, end: Callable[[Worker], None]) -> None:
        """Close the workers after the last build, or kill them after an error."""
        with self._lock:
            workers = list(self.workers.values())
        for worker in workers:
            end(worker)
            # Its log is cleaned then.
            worker.close()

    def unpacked(self, material: Material) -> Material:
        """The material with a folder in the place of a single file. Raises `BuildError`."""
        source, runtime = material.source, material.family.build_runtime
        if source.kind != "file":
            return material
        # Not the model's name: all models of a matrix that name this file share its folder.
        parts = self._parts(material, runtime) | {"what": "source", "model": ""}

        def order(out: Path) -> Order:
            return Unpack(material.model.family, source, str(out))

        what = f"folder of {Path(source.path).name}"
        artifact = self._ensure("source", what, parts, order, runtime, work=_work(material))
        folder = replace(source, kind="folder", path=str(artifact.folder), file=source.path)
        return replace(material, source=folder, unpacked=artifact.record)

    def reference(self, material: Material, cell: Cell) -> Artifact:
        """The inputs of a workload, and the outputs of PyTorch in FP32. Raises `BuildError`."""
        model = material.model
        sizes = _sizes(cell.sizes)
        runtime = material.family.build_runtime
        parts = self._parts(material, runtime, data=True) | {
            "what": "reference",
            "workload": cell.workload,
            "sizes": sizes,
        }

        def order(out: Path) -> Order:
            return Refer(model.family, material.source, cell.sizes, material.folder, str(out))

        what = f"reference of {model.name} {cell.workload}"
        # What is true of the weights is in the notes of every row, since every row has a reference.
        notes = material.unpacked.notes if material.unpacked else ()
        return self._ensure("reference", what, parts, order, runtime, notes, work=_work(material))

    def labelled(self, material: Material, task: TaskOptions, cell: Cell) -> Artifact:
        """The labelled set in the sizes of a workload, and the scores of the FP32 reference. Raises `BuildError`."""
        model, runtime = material.model, material.family.build_runtime
        sizes = ",".join(f"{name}={size}" for name, size in cell.sizes.items())
        parts = self._parts(material, runtime, data=True, labelled=True) | {
            "what": "labelled",
            "sizes": sizes,
            "task": task.digest,
        }

        def order(out: Path) -> Order:
            return Label(model.family, material.source, cell.sizes, task, str(out))

        what = f"labelled samples of {model.name}"
        return self._ensure("reference", what, parts, order, runtime, work=_work(material))

    def artifact(self, material: Material, cell: Cell) -> Artifact:
        """The artifact of a cell, built from the source or from the format's base artifact. Raises `BuildError`."""
        assert cell.recipe is not None
        form = registry.formats()[cell.format or ""]
        # The base is exported once, and every other recipe converts it.
        if not _converts(form, cell.recipe.name):
            return self._build(material, form, cell.recipe)
        return self._build(material, form, cell.recipe, self._build(material, form, Recipe(form.base or "")))

    def _build(
        self, material: Material, form: registry.Format, recipe: Recipe, parent: Artifact | None = None
    ) -> Artifact:
        model = material.model
        runtime = _build_runtime(material.family, form, converts=parent is not None)
        opset = model.opset or material.family.opset
        # Only conversions read input data, for calibration: an export does not depend on it.
        parts = self._parts(material, runtime, form.name, data=parent is not None) | {
            "what": "artifact",
            "format": form.name,
            "opset": str(opset),
            "recipe": recipe.name,
            # Sorted: the order in which a matrix writes options means nothing.
            "options": ",".join(f"{name}={value}" for name, value in sorted(recipe.options.items())),
            "parent": parent.record.key if parent else "",
        }
        # Only a conversion of one call's graph calibrates. A generator's takes minutes, and its sizes change nothing.
        workloads = model.workloads if parent and not material.family.generates else ()
        if workloads:
            parts["workloads"] = ";".join(_sizes(sizes) for sizes in workloads)

        def order(out: Path) -> Order:
            folder = str(parent.folder) if parent else None
            return Build(
                form.name, model.family, material.source, recipe, str(out), folder, material.folder, opset, workloads
            )

        base_notes = parent.record.notes if parent else ()
        place = form.name, material.source.digest
        if place in self.unknown:
            raise BuildError(self.unknown[place])
        try:
            what = f"{recipe.name} of {model.name}"
            return self._ensure("model", what, parts, order, runtime, base_notes, work=_work(material))
        except BuildError as error:
            if error.failure.kind == ARCHITECTURE:
                self.unknown[place] = error.failure
            raise

    def _parts(
        self, material: Material, runtime: str, form: str | None = None, *, data: bool = False, labelled: bool = False
    ) -> dict[str, str]:
        """The parts that identify an artifact of a model; the provider that runs it is not one of them."""
        source = material.source
        made_of = {"unpacked": material.unpacked.key} if material.unpacked else {}
        return made_of | {
            "model": material.model.name,
            "family": material.model.family,
            "source": source.digest,
            # Random weights of one seed are not the pretrained ones of the same files.
            "weights": source.weights,
            "seed": str(source.seed),
            "inputs": _inputs(material) if data else "",
            "tools": _tools(self.runtimes[runtime]),
            # Of the staged code and not of this package: a gate builds with the code that its base had.
            "code": worker_code.staged_build_digest(
                self.cache.root.parent, self.code, material.model.family, form, labelled=labelled
            ),
        }

    def _ensure(
        self,
        kind: Kind,
        what: str,
        parts: dict[str, str],
        order: Callable[[Path], Order],
        runtime: str,
        base_notes: tuple[Note, ...] = (),
        *,
        work: Work,
    ) -> Artifact:
        """The artifact from the cache, or built now by a worker; what is true of its base is true of it too."""
        key, built = key_of(parts), False
        folder = self.cache.root / key

        def build(aside: Path) -> tuple[Note, ...]:
            nonlocal built
            # Another thread may have tried it while this one waited for the lock.
            if key in self.failed:
                raise BuildError(self.failed[key])
            built = True
            return (*base_notes, *self._ask(runtime, order(aside), what))

        if key in self.failed:
            raise BuildError(self.failed[key])
        waiting = f"waiting {what}"

        def waits() -> None:
            self.progress.work(waiting, f"waiting for {what}, which is being built")

        try:
            artifact = self.cache.ensure(kind, parts, build, self._turn(what, work), waits)
        except BuildError as error:
            failure = self._cause(folder, what, error.failure, runtime)
            self.failed[key] = failure
            raise BuildError(failure) from None
        except ReadOnlyCacheError:
            missing = lacks(self.cache.root.parent, what)
            failure = failure_of(self.check.of_damage(folder, what, missing) or missing, "cache")
            self.failed[key] = failure
            raise BuildError(failure) from None
        finally:
            self.progress.work(waiting, None)
        if built:
            self.check.healed(THING, folder, what)
            size = artifact.record.size_bytes / 2**20
            self.progress.step(f"built {what}: {size:.1f} MiB in {duration(artifact.record.seconds)}")
        return artifact

    def _cause(self, folder: Path, what: str, failure: Failure, runtime: str) -> Failure:
        """The failure of a build, or that of the cache where what the build needs, or should replace, is damaged."""
        environment = self.runtimes[runtime]
        error = self.check.of_damage(folder, what, failure) or self.check.cause(
            [Use(worker_code.CODE, self.code, "the worker's code"), *uses_of(environment)]
        )
        return failure_of(error, "cache") if error else failure

    @contextlib.contextmanager
    def _turn(self, what: str, work: Work) -> Iterator[None]:
        """Wait until something can be built, and say so while it is."""
        with self.slots.held(work.rank, work.memory_bytes):
            self.progress.work(what, f"building {what}")
            try:
                yield
            finally:
                self.progress.work(what, None)

    def _ask(self, runtime: str, order: Order, what: str) -> tuple[Note, ...]:
        built: Built | None = None
        failed: Failed | None = None
        with self._worker(runtime) as worker:
            # All replies are read, also after a failure: an unread one would be taken for the reply to the next order.
            for reply in worker.ask(order, BUILD_TIMEOUT_S):
                # A worker that was killed, because all must end, has not failed.
                self.slots.stop.check()
                if isinstance(reply, Failed):
                    failure = reply.failure
                    self.progress.step(f"{what}: {failure.status} at stage '{failure.stage}': {failure.message}")
                    failed = failed or reply
                if isinstance(reply, Built):
                    built = reply
        if failed:
            raise BuildError(failed.failure)
        assert built is not None
        return built.notes

    def _threads(self) -> dict[str, str]:
        """Variables that share the cores between builds: threads that wait for one another's core make no progress."""
        number = max(1, usable_cores() // self.slots.number)
        return {} if self.slots.number == 1 else {"OMP_NUM_THREADS": str(number), "OMP_WAIT_POLICY": "PASSIVE"}

    @contextlib.contextmanager
    def _worker(self, runtime: str) -> Iterator[Worker]:
        """A worker of the runtime that no other thread uses."""
        with self._lock:
            # Under the lock: a worker that starts later would not be killed.
            self.slots.stop.check()
            number = next(n for n in itertools.count(1) if (runtime, n) not in self._busy)
            place = runtime, number
            self._busy.add(place)
            worker = self.workers.get(place)
            # A build that crashed has taken its worker along; the next artifact gets a new one.
            if worker is not None and not worker.alive:
                worker.close()
            if worker is None or not worker.alive:
                # A log for each, since a failure quotes the end of it.
                log = self.logs / f"build-{runtime}{f'-{number}' if number > 1 else ''}.log"
                environment = worker_code.child_environment(self.code, self._threads())
                # Nine tenths of the memory, as in a run, where slots have eight: a file may ask for any amount.
                limit_bytes = self.slots.memory_bytes and self.slots.memory_bytes * 9 // 8
                worker = Worker(self.runtimes[runtime].executable, log, environment, limit_bytes)
                self.workers[place] = worker
        try:
            yield worker
        finally:
            with self._lock:
                self._busy.discard(place)


def _work(material: Material) -> Work:
    """The rank of a model's builds, and about how much memory one takes."""
    generates = material.family.generates
    size_bytes = _size_bytes(material.source)
    # Weights of 4 bits become 32 bits, and an export holds them several times.
    factor = 24 if material.source.kind == "file" else 6
    unknown = 8 * 2**30 if generates else 0
    # The longest first: else one core waits at the end while the last model is built.
    return Work((0 if generates else 1,), 2**30 + (factor * size_bytes if size_bytes else unknown))


def _size_bytes(source: Source) -> int:
    """The size of the largest files of a source; 0 for random weights."""
    path = Path(source.path)
    if source.weights == "random" or not source.path:
        return 0
    try:
        files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def runtimes_for(cell: Cell) -> tuple[str, ...]:
    """The runtimes in which a cell's reference and artifact are built."""
    family = registry.families()[cell.family]
    if cell.format is None or cell.recipe is None:
        return (family.build_runtime,)
    form = registry.formats()[cell.format]
    converts = _converts(form, cell.recipe.name)
    used = [_build_runtime(family, form), *([_build_runtime(family, form, converts=True)] if converts else [])]
    return tuple(dict.fromkeys((family.build_runtime, *used)))


def _converts(form: registry.Format, recipe: str) -> bool:
    """Whether a recipe starts from the format's base artifact, and not from the source."""
    return form.base is not None and recipe != form.base and recipe not in form.from_source


def _build_runtime(family: registry.Family, form: registry.Format, *, converts: bool = False) -> str:
    """The runtime that builds an artifact, or converts the format's base artifact; the family's where none is named."""
    return (form.convert_runtime if converts else form.build_runtime) or family.build_runtime


def _sizes(sizes: Mapping[str, int]) -> str:
    return ",".join(f"{name}={size}" for name, size in sizes.items())


def _inputs(material: Material) -> str:
    """The digest of the input data, and how inputs are made from it where the matrix says so."""
    options = replace(material.source.inputs, tokenizer=material.tokenizer)
    made = "" if options == InputOptions() else msgspec.json.encode(options, order="sorted").decode()
    return (material.data[1] if material.data else "") + made


def _tools(environment: Environment) -> str:
    """The versions of the packages that the build runtime lists: an artifact's bytes depend on them."""
    versions = {str(canonicalize_name(name)): version for name, version in environment.record.packages.items()}
    # Every runtime gets numpy from WORKER_NEEDS, though its own list need not name it.
    names = sorted({distribution_name(requirement) for requirement in environment.record.requires} | {"numpy"})
    return " ".join(f"{name} {versions.get(name, '?')}" for name in names)
