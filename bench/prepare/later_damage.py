"""Tells damage of the cache that comes while a run measures: it must not be taken for a fault of a target."""

from __future__ import annotations

from collections.abc import Iterable

from bench.prepare import artifacts, worker_code
from bench.prepare.builds import Prepared
from bench.prepare.cache_check import Use, failure_of
from bench.prepare.environments import uses_of
from bench.records import Cell, Observation


class LaterDamage:
    """Looks again at what an observation used; it is asked after a block, when nothing is timed."""

    def __init__(self, prepared: Prepared, cells: Iterable[Cell]) -> None:
        self.prepared = prepared
        self.cells = {cell.id: cell for cell in cells}
        self._looked: set[str] = set()
        """The runtimes of wrong answers that were looked at: a cell may answer wrongly in every block."""

    def explained(self, observation: Observation, *, is_doubtful: bool) -> Observation:
        """The observation, or the failure `damaged-cache` where the files that it comes from are not as they were.

        Of `is_doubtful` ones, which failed or answered wrongly, every file is read that this process has not read; of
        others only sizes and times are compared.
        """
        cell = self.cells.get(observation.cell)
        # A failure of the preparation has its cause already.
        if cell is None or cell.id in self.prepared.failures:
            return observation
        error = self.prepared.check.cause(self._files(cell), thorough=is_doubtful)
        if error is None and is_doubtful and (observation.failure or cell.runtime not in self._looked):
            self._looked.add(cell.runtime)
            error = self.prepared.check.cause(self._programs(cell))
        if error is None:
            return observation
        return Observation(
            cell=observation.cell,
            round=observation.round,
            started=observation.started,
            failure=failure_of(error, "cache"),
            sustained=observation.sustained,
        )

    def _files(self, cell: Cell) -> list[Use]:
        """The artifact and the reference of a cell, which are a few files."""
        made = {
            f"the artifact {cell.artifact_name}": self.prepared.artifacts.get(cell.artifact_name),
            f"the reference of {cell.model}": self.prepared.references.get((cell.model, cell.workload)),
        }
        return [Use(artifacts.THING, artifact.folder, what) for what, artifact in made.items() if artifact]

    def _programs(self, cell: Cell) -> list[Use]:
        """The worker's code and the runtime, which are thousands of files."""
        runtime = self.prepared.runtimes.get(cell.runtime)
        code = Use(worker_code.CODE, self.prepared.code, "the worker's code")
        return [code, *(uses_of(runtime) if runtime else [])]
