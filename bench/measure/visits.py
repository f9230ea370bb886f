"""Makes what a worker process needs to measure the cells of a group: its order, environment, meter and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import answer_limits
from bench.declare.matrix import Matrix
from bench.declare.precisions import Precision
from bench.machine.energy import Meter, Meters
from bench.measure import cold_start
from bench.measure.cold_start import StartResults
from bench.measure.compile_cache import CompileCaches
from bench.measure.observations import Record, unanswered
from bench.prepare import worker_code, worker_environment
from bench.prepare.builds import Prepared
from bench.records import (
    Assess,
    Assessed,
    Cell,
    Effort,
    Failed,
    Failure,
    Job,
    Note,
    Observation,
    Provider,
    Run,
    TaskScores,
    Tolerance,
    Visit,
)
from bench.records.plan import Optimization
from bench.shared.number_formats import of_file
from bench.worker_process import CLOSE_WATCH_S, WATCH_S, Worker

OPTIMIZATION_FAULT = "optimization-fault"
"""The kind of the note that names the optimization at fault."""


class Settings(Struct, frozen=True):
    """Settings of every process of a run."""

    effort: Effort
    threads: int
    timeout_s: float
    memory_limit_bytes: int | None
    logs: Path
    compile_cache: Path


class Visitor:
    """Starts the workers of a run; `shortfalls` says by group why a model is expected not to fit its device."""

    def __init__(
        self,
        matrix: Matrix,
        run: Run,
        prepared: Prepared,
        settings: Settings,
        record: Record,
        shortfalls: Mapping[str, str] | None = None,
    ) -> None:
        self.matrix, self.run, self.prepared, self.settings, self.record = matrix, run, prepared, settings, record
        self.shortfalls = shortfalls or {}
        self.compile_caches = CompileCaches(settings.compile_cache)
        self.kit = Meters(run.machine)
        self.starts: dict[str, StartResults] = {}
        self.findings: dict[str, Note] = {}
        """By group: the optimization at fault, and the level that the group is measured at instead."""

    def adopt(self, observations: Iterable[Observation]) -> None:
        """Measure at the levels that an earlier process of the run, or the base of a gate, had to take."""
        groups = {cell.id: cell for cell in self.run.cells}
        for observation in observations:
            cell = groups.get(observation.cell)
            # A level that the matrix sets now is not replaced by what was found without it.
            if cell is None or self.matrix.targets[cell.target].optimization_given:
                continue
            for fact in observation.notes:
                # A baseline of somebody else may name any level.
                works = fact.values.get("works") in get_args(Optimization)
                if fact.kind == OPTIMIZATION_FAULT and fact.values.get("measured") and works:
                    self.findings[cell.group] = fact

    def close(self) -> None:
        """End the run: remove what providers compiled in it, and release the meters."""
        self.compile_caches.close()
        self.kit.close()

    def needs_starts(self, cells: Sequence[Cell]) -> bool:
        """Whether starts must be measured first: the provider has a cache, and the group's first workload is due."""
        provider = self.provider(cells[0])
        return provider is not None and provider.cache is not None and self.first(cells) in cells

    def first(self, cells: Sequence[Cell]) -> Cell:
        """The group's first workload in the order of the plan."""
        # The order of a visit is random, so a start would be that of another workload in each run.
        return next(cell for cell in self.run.cells if cell.group == cells[0].group and cell.excluded is None)

    def measure_starts(self, cells: Sequence[Cell]) -> None:
        """Measure the cold and the cached start of a group's target, with the group's first workload."""
        first = self.first(cells)
        folder = str(self.compile_caches.folder(first.group))
        # Number 0 is no round, so nothing is profiled.
        visit = self.order([first], 0, folder)
        self.starts[first.id] = cold_start.measure_starts(
            visit, lambda: self.worker(first, folder), self.settings.timeout_s
        )

    def labelled(self, cell: Cell) -> Path | None:
        """The folder of the labelled samples that the cell runs for its group; None for any other cell."""
        # The first workload that could be prepared: the labelled samples have its sizes.
        runs = next((c for c in self.run.cells if c.group == cell.group and self._has_labelled(c)), None)
        return self.prepared.labelled[cell.model, cell.workload].folder if runs and runs.id == cell.id else None

    def _has_labelled(self, cell: Cell) -> bool:
        usable = cell.excluded is None and cell.id not in self.prepared.failures
        return usable and (cell.model, cell.workload) in self.prepared.labelled

    def assess(self, cell: Cell, labelled: Path) -> TaskScores:
        """Run every labelled sample in a process of its own, outside of all timed parts; its scores, or its failure."""
        task = self.run.tasks[f"{cell.model}/{cell.workload}"].scores
        folder = self.folder(cell)
        failure: Failure | None = None
        with self.worker(cell, folder) as worker:
            # Number 0 is no round, so nothing is profiled. The time limit is for each reply: a set may be large.
            order = Assess(self.order([cell], 0, folder), str(labelled))
            for reply in worker.ask(order, self.settings.timeout_s, each=True):
                if isinstance(reply, Assessed):
                    return reply.scores
                if isinstance(reply, Failed):
                    failure = failure or reply.failure
        return TaskScores(task.metric, task.digest, failure=failure or unanswered("protocol", "order"))

    def meter(self, cell: Cell) -> Meter:
        """The meter of energy and device memory for a cell's target."""
        facts = self.run.targets.get(cell.target)
        return self.kit.meter(facts.device if facts else None, self.provider(cell))

    def worker(self, cell: Cell, folder: str) -> Worker:
        """A process in the cell's runtime, with the environment variables that its provider needs."""
        log = self.settings.logs / f"{cell.group.replace('/', '--')}.log"
        provider = self.provider(cell)
        named = worker_environment.named_by(self.matrix.targets[cell.target])
        environment = worker_code.child_environment(self.prepared.code, _variables(provider, folder), named)
        # A model that is too large can take a gigabyte between two ordinary checks of its memory.
        watch_s = CLOSE_WATCH_S if cell.group in self.shortfalls else WATCH_S
        executable = self.prepared.runtimes[cell.runtime].executable
        return Worker(executable, log, environment, self.settings.memory_limit_bytes, watch_s)

    def provider(self, cell: Cell) -> Provider | None:
        """The execution provider of a cell's target."""
        return self.matrix.targets[cell.target].provider

    def found(self, cell: Cell) -> tuple[Note, ...]:
        """The fact that the cell is measured at a lower optimization, for each of its observations; else empty."""
        return (self.findings[cell.group],) if cell.group in self.findings else ()

    def optimized(self, cell: Cell) -> Provider | None:
        """The provider of a cell, at the level of optimization that it is measured at."""
        provider, fact = self.provider(cell), self.findings.get(cell.group)
        if provider is None or fact is None:
            return provider
        return replace(provider, optimization=cast(Optimization, fact.values["works"]))

    def folder(self, cell: Cell) -> str:
        """The folder for what a visit compiles: of this run alone where starts are measured, else shared by all runs.

        It is empty text for EP context models: a visit never opens one, because its row names the artifact itself.
        """
        provider = self.provider(cell)
        if provider is None:
            return str(self.settings.compile_cache / cell.runtime / cell.engine)
        if provider.cache is None or provider.cache.kind == "context":
            return ""
        return str(self.compile_caches.folder(cell.group))

    def order(self, cells: Sequence[Cell], number: int, folder: str) -> Visit:
        """The order to the worker."""
        first = cells[0]
        target, precision = self.matrix.targets[first.target], self.matrix.precisions[first.precision]
        artifact = self.prepared.artifacts.get(first.artifact_name)
        tolerance = tolerance_of(first, precision, artifact.record.notes if artifact else ())
        # Planning excludes a cell without a recipe, and the matrix is refused where a recipe has no tolerance.
        assert first.recipe is not None
        assert tolerance is not None
        tolerance = answer_limits.for_weights(tolerance, self.prepared.sources[first.model].weights)
        return Visit(
            engine=first.engine,
            family=first.family,
            source=self.prepared.sources[first.model],
            recipe=first.recipe,
            jobs=tuple(self.job(cell) for cell in cells),
            threads=self.settings.threads,
            effort=self.settings.effort,
            artifact=str(artifact.folder) if artifact else None,
            provider=self.optimized(first),
            mode=target.mode,
            options=target.options,
            tolerance=tolerance,
            scratch=folder,
            # Once is enough: the profiled round speaks for all rounds of the same placement (`judge.placement.worst`).
            profile=number == 1,
        )

    def job(self, cell: Cell) -> Job:
        """A workload with the folder of its inputs and reference outputs."""
        folder = self.prepared.references[cell.model, cell.workload].folder
        return Job(cell.workload, cell.sizes, str(folder))


def tolerance_of(cell: Cell, precision: Precision, notes: Sequence[Note]) -> Tolerance | None:
    """The tolerance of a cell whose artifact has these notes: wider where a user's own file is coarser than FP32."""
    own = of_file(notes)
    if own is not None:
        return precision.tolerance_of(cell.engine, cell.family, own)
    # Older runs did not record the tolerance; they are measured again with the one that is declared today.
    return cell.tolerance or precision.tolerance_of(cell.engine, cell.family)


def _variables(provider: Provider | None, folder: str) -> dict[str, str]:
    """The environment variables of a provider, with the folder of its cache where a variable names it."""
    if provider is None:
        return {}
    variable = provider.cache.name if folder and provider.cache and provider.cache.kind == "environment" else None
    return dict(provider.environment) | ({variable: folder} if variable else {})
