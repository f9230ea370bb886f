"""Makes the sustained run of each measured cell: minutes of calls in one process, one observation a minute."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import closing

from msgspec.structs import replace

from bench.machine.energy import Meter
from bench.measure.eta import Eta
from bench.measure.observations import ReplyMapper, unanswered
from bench.measure.stopping import CellStates
from bench.measure.visits import Visitor
from bench.progress import Progress
from bench.records import Cell, Observation, Run, Sustain

MINUTE_S = 60.0


def ends_s(total_s: float) -> tuple[float, ...]:
    """When each minute ends, in seconds; a remainder under half a minute belongs to the minute before it."""
    # The half rounds a remainder of half a minute or more up to a minute of its own.
    whole = max(1, int(total_s / MINUTE_S + 0.5))
    return (*(number * MINUTE_S for number in range(1, whole)), total_s)


def due(cells: Iterable[Cell], history: CellStates) -> list[Cell]:
    """The cells that need a sustained run: timed, right so far, not emulated, and without a complete one."""
    alive = (cell for cell in cells if not cell.emulated and not history.ended(cell.id))
    return [cell for cell in alive if history.timings(cell.id) and not history.sustained(cell.id)]


def sustain(run: Run, visitor: Visitor, history: CellStates, eta: Eta, progress: Progress) -> None:
    """Run every cell for the minutes that the run asks for, one after another in random order.

    This comes after all rounds, because a machine that is hot from minutes of work would slow down the rounds.
    """
    total_s = (run.sustained_minutes or 0.0) * 60
    cells = due((cell for cell in run.cells if cell.excluded is None), history) if total_s else []
    random.Random(f"{run.seed}/sustained").shuffle(cells)
    for cell in cells:
        progress.detail(f"sustained run of {cell.id}; {eta.text()}")
        last = None
        with closing(minutes(cell, total_s, visitor)) as lasted:  # so that Ctrl-C ends the worker before the report
            for last in lasted:
                visitor.record(last)
                eta.sustained_for(
                    cell, last.sustained.minute.seconds if last.sustained and last.sustained.minute else None
                )
                progress.detail(f"sustained run of {cell.id}; {eta.text()}")
        progress.step(_line(cell, last, history))


def minutes(cell: Cell, total_s: float, visitor: Visitor) -> Generator[Observation]:
    """The observation of each minute as it ends; a failure is the last one."""
    folder = visitor.folder(cell)
    ends = ends_s(total_s)
    order = Sustain(visitor.order([cell], 0, folder), ends)
    # The worker is silent for a whole minute, so the time limit of a reply must be longer than that.
    longest_s = max(end - begin for begin, end in zip((0.0, *ends), ends, strict=False))
    # Round 0, because a minute of a sustained run is not a round.
    mapper = ReplyMapper(0, Meter(), total_s)
    with visitor.worker(cell, folder) as worker:
        mapper.watch(worker)
        for reply in worker.ask(order, visitor.settings.timeout_s + longest_s, each=True):
            if (observation := mapper.take(reply)) is not None:
                yield replace(observation, cell=cell.id)
    # Without any observation, a resumed run would repeat the sustained run.
    if not mapper.minutes:
        yield replace(mapper.failed(unanswered("sustain", "order")), cell=cell.id)


def _line(cell: Cell, last: Observation | None, history: CellStates) -> str:
    """The last minute of a cell beside its rounds, in one line."""
    sustained = last.sustained if last else None
    if last is None or last.failure or sustained is None or sustained.minute is None:
        why = f"{last.failure.status}: {last.failure.message}" if last and last.failure else "no minute was seen"
        return f"{cell.id}: its sustained run stopped: {why}"
    latency_ms = history.latency_ms(cell.id)
    rounds = f", {latency_ms:.3g} ms in its rounds" if latency_ms else ""
    return f"{cell.id}: {sustained.minute.median_ns / 1e6:.3g} ms in the last minute of the sustained run{rounds}"
