"""A measured cell in; run for minutes on end in a process of its own, and an observation for each minute out."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import closing
from statistics import median

from msgspec.structs import replace

from bench.machine import state
from bench.measure.eta import Left
from bench.measure.observations import now, with_session
from bench.measure.stopping import CellStates
from bench.measure.visits import Visitor
from bench.progress import Progress
from bench.records import (
    Cell,
    Failed,
    Failure,
    Lasted,
    MachineState,
    Observation,
    Opened,
    Reply,
    Run,
    Stage,
    Sustain,
    Sustained,
)
from bench.worker_process import Worker

MINUTE_S = 60.0


def ends_s(total_s: float) -> tuple[float, ...]:
    """When each minute ends, in seconds; a rest under half a minute belongs to the minute before it."""
    whole = max(1, int(total_s / MINUTE_S + 0.5))
    return (*(number * MINUTE_S for number in range(1, whole)), total_s)


def due(cells: Iterable[Cell], history: CellStates) -> list[Cell]:
    """The cells that are to be run on end: timed, right so far, no emulator's, and not sustained before."""
    alive = (cell for cell in cells if not cell.emulated and not history.ended(cell.id))
    return [cell for cell in alive if history.timings(cell.id) and not history.sustained(cell.id)]


def sustain(run: Run, visitor: Visitor, history: CellStates, left: Left, progress: Progress) -> None:
    """After all rounds, every cell for as many minutes as the run asks for, one after another in random order.

    After, since a machine that is hot from minutes of work would slow down the rounds of what comes next.
    """
    total_s = (run.sustained_minutes or 0.0) * 60
    cells = due((cell for cell in run.cells if cell.excluded is None), history) if total_s else []
    random.Random(f"{run.seed}/sustained").shuffle(cells)
    for cell in cells:
        progress.detail(f"{cell.id} on end; {left.say()}")
        last = None
        with closing(minutes(cell, total_s, visitor)) as lasted:  # so that Ctrl-C ends the worker before the report
            for last in lasted:
                visitor.record(last)
                left.lasted(cell, last.sustained.minute.seconds if last.sustained and last.sustained.minute else None)
                progress.detail(f"{cell.id} on end; {left.say()}")
        progress.step(_line(cell, last, history))


def minutes(cell: Cell, total_s: float, visitor: Visitor) -> Generator[Observation]:
    """Each minute as it ends; where the run ends in a failure, that is the last."""
    folder = visitor.folder(cell)
    ends = ends_s(total_s)
    order = Sustain(visitor.order([cell], 0, folder), ends)
    longest_s = max(end - begin for begin, end in zip((0.0, *ends), ends, strict=False))
    diary = _Diary(cell, total_s)
    with visitor.worker(cell, folder) as worker:
        diary.watch(worker)
        for reply in worker.ask(order, visitor.settings.timeout_s + longest_s, each=True):
            if (seen := diary.take(reply)) is not None:
                yield seen
    if not diary.number:
        yield diary.failed(Failure("failed", "sustain", "protocol", "the worker ended the order without an answer"))


class _Diary:
    """Turns the replies of one sustained run into observations."""

    def __init__(self, cell: Cell, total_s: float) -> None:
        self.cell, self.total_s = cell, total_s
        self.started = now()
        self.number = 0
        self.opened: Opened | None = None

    def watch(self, worker: Worker) -> None:
        """From here on the machine's state belongs to the next minute."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()

    def state(self) -> MachineState:
        """What the machine was doing beside the minute that just ended, while the next one is under way."""
        found = state.since(self.before, max(0.0, self.worker.cpu_s() - self.used_s))
        self.watch(self.worker)
        return found

    def take(self, reply: Reply) -> Observation | None:
        """A minute that is over, or a failure; None for what is neither."""
        match reply:
            case Opened():
                self.opened = reply
            case Stage("sustain"):
                self.watch(self.worker)  # loading and warming up are no part of the first minute
            case Lasted():
                seen = self._seen()
                told = replace(seen.sustained, minute=reply.minute) if seen.sustained else None
                return replace(seen, sustained=told, state=self.state())
            case Failed():
                return self.failed(reply.failure)
            case _:
                pass
        return None

    def failed(self, failure: Failure) -> Observation:
        """The end of a run that should have gone on."""
        return replace(self._seen(), failure=failure)

    def _seen(self) -> Observation:
        self.number += 1
        told = Sustained(asked_s=self.total_s, number=self.number)
        seen = Observation(cell=self.cell.id, round=0, started=self.started, sustained=told)
        return with_session(seen, self.opened) if self.opened else seen


def _line(cell: Cell, last: Observation | None, history: CellStates) -> str:
    """What a cell came to at the end of its minutes, beside its rounds."""
    told = last.sustained if last else None
    if last is None or last.failure or told is None or told.minute is None:
        why = f"{last.failure.status}: {last.failure.message}" if last and last.failure else "no minute was seen"
        return f"{cell.id}: its run on end stopped: {why}"
    rounds_ms = median(median(timing.samples_ns) for timing in history.timings(cell.id)) / 1e6
    return (
        f"{cell.id}: {told.minute.median_ns / 1e6:.3g} ms in the last minute on end, {rounds_ms:.3g} ms in its rounds"
    )
