"""Prepare one side of a gate, with its own run folder and workers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench import run_steps, store
from bench.declare.budgets import GATE
from bench.declare.matrix import Matrix
from bench.gating.remeasured_base import Baseline, rebuild_differences
from bench.gating.verdicts import SideResult
from bench.measure.blocks import Bursts, measure_block
from bench.measure.observations import now
from bench.measure.visits import Settings, Visitor
from bench.measure.warm_session import Member
from bench.prepare.beside import writable
from bench.prepare.builds import Prepared
from bench.prepare.later_damage import LaterDamage
from bench.progress import Progress
from bench.records import Cell, Machine, Note, Observation, Run

SIDES = ("base", "new")
"""The names of the sides, and of their folders."""


class Place(Struct, frozen=True):
    """The folders of a gate, and the machine that it runs on."""

    folder: Path
    cache: Path
    machine: Machine


class GateSide:
    """One side: its run record, its prepared artifacts, and the observations of its cells."""

    def __init__(self, name: str, matrix: Matrix, run: Run, prepared: Prepared, place: Place) -> None:
        self.name, self.run, self.prepared = name, run, prepared
        self.folder = place.folder / name
        self.observations: list[Observation] = []
        self.later = LaterDamage(prepared, run.cells)
        settings = Settings(
            effort=GATE,
            threads=run.threads,
            timeout_s=matrix.measure.timeout_s,
            memory_limit_bytes=run_steps.memory_limit(matrix, place.machine),
            logs=self.folder / store.LOGS,
            compile_cache=writable(place.cache) / "compiled",
        )
        self.visitor = Visitor(matrix, run, prepared, settings, self.keep)
        for cell in run.cells:
            # A cell that cannot be prepared has an observation too, so that `bench report` can render a side as a run.
            if failure := prepared.failures.get(cell.id):
                self.keep(Observation(cell=cell.id, round=0, started=now(), failure=failure))

    def adopt(self, base: SideResult) -> None:
        """Measure at the levels of optimization that the recorded base had to take, so that a pair has one level."""
        self.visitor.adopt(base.observations)

    def keep(self, observation: Observation) -> None:
        """Write an observation to the disk at once, as a run does, so that an interruption loses nothing."""
        observation = self.later.explained(observation, is_doubtful=observation.failure is not None)
        self.observations.append(observation)
        store.append(self.folder, observation)

    def note(self, observations: Sequence[Observation]) -> None:
        """Keep the observations of a pair's processes; each gets a round number of its own."""
        for observation in observations:
            # Pairs of each kind count from 1, and of two observations with one round number only the last is read.
            number = sum(earlier.cell == observation.cell for earlier in self.observations) + 1
            self.keep(replace(observation, round=number))

    def result(self) -> SideResult:
        """The run, observations and failures of this side so far."""
        return SideResult(self.run, tuple(self.observations), self.prepared.failures)

    def side(self, cell: Cell) -> Member:
        """This side of a pair of one cell."""
        return Member(self.name, (cell,), self.visitor)

    def measure_alone(self, cell: Cell, number: int) -> None:
        """Measure one cell in a process of its own, as round `number`, to compare it with stored numbers."""
        rng = random.Random(f"{self.run.seed}/{cell.id}/{number}")
        bursts = Bursts(1 if cell.emulated else GATE.bursts, GATE.burst_s)
        for session in measure_block([self.side(cell)], number, bursts, rng).sessions:
            for observation in session.observations():
                self.keep(observation)

    def close(self) -> None:
        """End the workers of this side."""
        self.visitor.close()


def new_side(
    matrix: Matrix, cells: tuple[Cell, ...], threads: int, command: str, place: Place, progress: Progress
) -> GateSide:
    """Prepare the side that is judged."""
    name = f"{place.folder.name}-new"
    record = run_steps.new_run(matrix, cells, GATE, threads, place.machine, name, command, place.cache)
    return _side("new", matrix, record, place, progress)


def base_side(
    base: Baseline, matrix: Matrix, cells: tuple[Cell, ...], command: str, place: Place, progress: Progress
) -> tuple[GateSide, tuple[Note, ...]]:
    """Rebuild and prepare the base from its record; also return what differs from the record."""
    name = f"{place.folder.name}-base"
    record = run_steps.new_run(matrix, cells, GATE, base.run.threads, place.machine, name, command, place.cache)
    side = _side("base", matrix, record, place, progress, base)
    return side, rebuild_differences(base.run, side.run)


def _side(
    name: str, matrix: Matrix, record: Run, place: Place, progress: Progress, base: Baseline | None = None
) -> GateSide:
    folder = place.folder / name
    store.create(folder, record)
    progress.step(f"preparing the {name} side: {len(record.cells)} cells")
    # The base runs under the worker code that measured it, so that a change of the harness shows as a change too.
    code, recorded = (base.code, base.recorded) if base else (None, None)
    prepared, record = run_steps.prepare(matrix, record, place.cache, folder, progress, code, recorded, is_own=False)
    return GateSide(name, matrix, record, prepared, place)
