"""Prepared cells in, observations out as they are made: who is visited next, and until when."""

from __future__ import annotations

import datetime as dt
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from bench.declare.matrix import Matrix
from bench.judge import outcome, stats
from bench.prepare import state, worker_code
from bench.prepare.builds import Prepared
from bench.processes import Worker
from bench.progress import Progress, duration
from bench.records import (
    Cell,
    Effort,
    Failed,
    Failure,
    Job,
    MachineState,
    Measured,
    Observation,
    Opened,
    Reply,
    Run,
    Visit,
)

Record = Callable[[Observation], None]


class Settings(Struct, frozen=True):
    """What holds for every visit of a run."""

    effort: Effort
    threads: int
    timeout_s: float
    memory_limit_bytes: int | None
    logs: Path
    scratch: Path


def measure(
    matrix: Matrix,
    run: Run,
    prepared: Prepared,
    settings: Settings,
    seen: Sequence[Observation],
    record: Record,
    progress: Progress,
) -> None:
    """Visit every cell that needs it, model after model, in rounds; `seen` is what an interrupted run left."""
    history = _History(seen)

    def note(observation: Observation) -> None:
        history.add(observation)
        record(observation)

    cells = [cell for cell in run.cells if cell.excluded is None]
    for cell in cells:
        failure = prepared.failures.get(cell.id)
        if failure and not history.ended(cell.id):
            note(Observation(cell=cell.id, round=0, started=_now(), failure=failure))
    visitor = _Visitor(matrix, run, prepared, settings, note)
    left = _Left(cells, history, settings.effort)
    for model in dict.fromkeys(cell.model for cell in cells):
        _rounds([c for c in cells if c.model == model], visitor, history, run.seed, left, progress)


def _rounds(
    cells: list[Cell], visitor: _Visitor, history: _History, seed: int, left: _Left, progress: Progress
) -> None:
    """The rounds of one model: everyone at first, then those still too uncertain, and the control beside them."""
    effort = visitor.settings.effort
    model = cells[0].model
    for number in range(1, effort.max_rounds + 1):
        groups = _due(cells, number, history, effort)
        order = sorted(groups)
        random.Random(f"{seed}/{model}/{number}").shuffle(order)
        for group in order:
            progress.detail(f"round {number} of {model}: {group}; {left.say()}")
            start = time.monotonic()
            seen = visitor.visit(groups[group], number)
            ended = all(history.ended(cell.id) for cell in groups[group])
            left.spent(group, time.monotonic() - start, ended=ended)
            for observation in seen:
                if observation.failure:
                    progress.step(_failed_line(observation))
        if groups:
            progress.step(f"{model}: round {number} done; {left.say()}")
    for cell in cells:
        if line := _cell_line(cell, history):
            progress.step(line)


def _due(cells: list[Cell], number: int, history: _History, effort: Effort) -> dict[str, list[Cell]]:
    """The cells that round `number` visits, by group; those it has visited already are left out."""
    alive = [cell for cell in cells if not history.ended(cell.id)]
    if number > effort.min_rounds:
        open_ = [cell for cell in alive if history.uncertain(cell.id, effort)]
        # The control goes along, so that every round has a ratio.
        alive = open_ + [c for c in alive if c.control and c not in open_ and any(_pairs(c, o) for o in open_)]
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in alive:
        if not history.has(cell.id, number):
            groups[cell.group].append(cell)
    return dict(groups)


def _pairs(control: Cell, other: Cell) -> bool:
    return control.workload == other.workload and control.id != other.id


class _History:
    """What is known of each cell so far."""

    def __init__(self, seen: Iterable[Observation]) -> None:
        self.rounds: dict[str, dict[int, Observation]] = defaultdict(dict)
        for observation in seen:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        self.rounds[observation.cell][observation.round] = observation

    def has(self, cell: str, number: int) -> bool:
        return number in self.rounds[cell]

    def ended(self, cell: str) -> bool:
        """Whether another visit could change nothing: it failed, or its answer was wrong."""
        return any(o.failure or not _right(o) for o in self.rounds[cell].values())

    def uncertain(self, cell: str, effort: Effort) -> bool:
        """Whether a cell's interval is still too wide, and its time not used up."""
        if effort.half_width is None:
            return False
        timings = [o.timing for o in self.rounds[cell].values() if o.timing]
        spent = sum(o.visit_s or 0 for o in self.rounds[cell].values())
        width = stats.half_width([math.log(median(t.samples_ns)) for t in timings])
        return spent < effort.cell_limit_s and (width is None or width > effort.half_width)


def _right(observation: Observation) -> bool:
    """Whether an answer is within its tolerance; the verdict itself is `judge`'s."""
    parity = observation.parity
    if parity is None:
        return True
    return not outcome.faults(parity)


class _Visitor:
    """Makes one visit: a fresh process for one group of cells."""

    def __init__(self, matrix: Matrix, run: Run, prepared: Prepared, settings: Settings, record: Record) -> None:
        self.matrix, self.run, self.prepared, self.settings, self.record = matrix, run, prepared, settings, record

    def visit(self, cells: list[Cell], number: int) -> list[Observation]:
        """Measure the cells of a group in one process; after a death the rest go on in a fresh one."""
        waiting = list(cells)
        random.Random(f"{self.run.seed}/{cells[0].group}/{number}").shuffle(waiting)
        seen: list[Observation] = []
        while waiting:
            new = self._once(waiting, number)
            seen += new
            done = {observation.cell for observation in new}
            waiting = [cell for cell in waiting if cell.id not in done]
        return seen

    def _once(self, cells: list[Cell], number: int) -> list[Observation]:
        log = self.settings.logs / f"{cells[0].group.replace('/', '--')}.log"
        environment = worker_code.child_environment(self.prepared.code)
        ready = self.prepared.runtimes[cells[0].runtime]
        sheet = _Sheet(cells, number, self.record)
        with Worker(ready.executable, log, environment, self.settings.memory_limit_bytes) as worker:
            sheet.watch(worker)
            for reply in worker.ask(self.order(cells), self.settings.timeout_s):
                sheet.take(reply)
        sheet.unanswered()
        return sheet.made

    def order(self, cells: list[Cell]) -> Visit:
        first = cells[0]
        target, precision = self.matrix.targets[first.target], self.matrix.precisions[first.precision]
        artifact = self.prepared.artifacts.get((first.model, first.precision))
        assert first.recipe is not None
        return Visit(
            engine=first.engine,
            family=first.family,
            source=self.prepared.sources[first.model],
            recipe=first.recipe,
            jobs=tuple(self.job(cell) for cell in cells),
            threads=self.settings.threads,
            effort=self.settings.effort,
            artifact=str(artifact.folder) if artifact else None,
            provider=target.provider,
            mode=target.mode,
            options=target.options,
            tolerance=precision.tolerance,
            scratch=str(self.settings.scratch / first.runtime / first.engine),
        )

    def job(self, cell: Cell) -> Job:
        folder = self.prepared.references[cell.model, cell.workload].folder
        return Job(cell.workload, cell.sizes, str(folder))


class _Sheet:
    """Turns the replies of one visit into observations, each recorded at once."""

    def __init__(self, cells: list[Cell], number: int, record: Record) -> None:
        self.open = {cell.workload: cell for cell in cells}
        self.number, self.record = number, record
        self.started, self.start = _now(), time.monotonic()
        self.opened: Opened | None = None
        self.made: list[Observation] = []

    def watch(self, worker: Worker) -> None:
        """From here on the machine's state belongs to the next workload."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()

    def state(self) -> MachineState:
        """What the machine was doing beside the workload that just ended."""
        return state.since(self.before, max(0.0, self.worker.cpu_s() - self.used_s))  # a dead worker's time is lost

    def take(self, reply: Reply) -> None:
        """Keep what a reply says; a workload that is over becomes an observation."""
        match reply:
            case Opened():
                self.opened = reply
            case Measured():
                self.measured(reply)
            case Failed():
                # A death amid one workload says nothing about the others; one before the first says it of all.
                hit = [reply.workload] if reply.workload in self.open else list(self.open)
                for workload in hit:
                    self.note(workload, Observation("", 0, "", failure=reply.failure, state=self.state()))
            case _:
                pass

    def measured(self, reply: Measured) -> None:
        seen = Observation("", 0, "", timing=reply.timing, parity=reply.parity, state=self.state())
        self.note(reply.workload, replace(seen, peak_rss_bytes=reply.peak_rss_bytes))

    def note(self, workload: str, seen: Observation) -> None:
        cell = self.open.pop(workload)
        spent = time.monotonic() - self.start
        seen = replace(seen, cell=cell.id, round=self.number, started=self.started, visit_s=round(spent, 3))
        if self.opened:
            seen = replace(
                seen,
                placement=self.opened.placement,
                import_ns=self.opened.import_ns,
                load_ns=self.opened.load_ns,
                threads=self.opened.threads,
                versions=self.opened.versions,
                notes=self.opened.notes,
            )
        self.made.append(seen)
        self.record(seen)
        self.start = time.monotonic()
        self.watch(self.worker)

    def unanswered(self) -> None:
        """A worker that ends an order without a word on a workload has a fault; unless others of it were answered."""
        if self.made:
            return
        failure = Failure("failed", "protocol", "protocol", "the worker ended the visit without an answer")
        for workload in list(self.open):
            self.note(workload, Observation("", 0, "", failure=failure))


class _Left:
    """An honest estimate of what is still to do: the visits that are certain, at what the last visit like them took."""

    def __init__(self, cells: list[Cell], history: _History, effort: Effort) -> None:
        self.visits: dict[str, int] = {}
        for cell in cells:
            if not history.ended(cell.id):
                missing = sum(not history.has(cell.id, number) for number in range(1, effort.min_rounds + 1))
                self.visits[cell.group] = max(missing, self.visits.get(cell.group, 0))
        self.took: dict[str, float] = {}

    def spent(self, group: str, seconds: float, *, ended: bool) -> None:
        """A visit is over; `ended` says that there will be no other."""
        self.took[group] = seconds
        self.visits[group] = 0 if ended else max(0, self.visits.get(group, 0) - 1)

    def say(self) -> str:
        """`17 visits to go, about 3 min 20 s`."""
        visits = sum(self.visits.values())
        if not self.took:
            return f"{visits} visits to go"
        mean = sum(self.took.values()) / len(self.took)
        left = sum(count * self.took.get(group, mean) for group, count in self.visits.items())
        return f"{visits} visits to go, about {duration(left)}"


def _failed_line(observation: Observation) -> str:
    failure = observation.failure
    assert failure is not None
    return f"{observation.cell}: {failure.status} at stage '{failure.stage}': {failure.message}"


def _cell_line(cell: Cell, history: _History) -> str | None:
    """What a finished cell came to; a failure was said when it happened."""
    seen = list(history.rounds[cell.id].values())
    if not seen or any(o.failure for o in seen):
        return None
    if not all(_right(o) for o in seen):
        return f"{cell.id}: inaccurate: its answers are outside the tolerance, so its speed is withheld"
    medians = [median(o.timing.samples_ns) / 1e6 for o in seen if o.timing]
    return f"{cell.id}: {median(medians):.3g} ms in {len(medians)} rounds"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
