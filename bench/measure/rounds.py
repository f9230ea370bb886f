"""Visits the prepared cells in rounds, in random order, until each is measured well enough."""

from __future__ import annotations

import random
import time
from collections import defaultdict

from msgspec.structs import replace

from bench.declare.matrix import Matrix
from bench.measure.eta import Eta
from bench.measure.memory_check import shortfalls
from bench.measure.observations import Record, now
from bench.measure.optimization import measured_again
from bench.measure.stopping import CellStates
from bench.measure.sustained import sustain
from bench.measure.visits import Settings, Visitor
from bench.prepare.builds import Prepared
from bench.progress import Progress
from bench.records import Cell, Effort, Observation, Run


def measure(
    matrix: Matrix,
    run: Run,
    prepared: Prepared,
    settings: Settings,
    history: CellStates,
    record: Record,
    progress: Progress,
) -> None:
    """Visit every cell that needs it, model after model, in rounds; `history` holds the observations of an
    interrupted run.

    Models that are expected not to fit their device come last: if one crashes the machine, the rest is measured. Then
    each cell has its sustained run, where the run asks for it.
    """

    def note(observation: Observation) -> None:
        history.add(observation)
        record(observation)

    cells = [cell for cell in run.cells if cell.excluded is None]
    for cell in cells:
        # A failure of preparation is recorded as round 0, once: a resumed run has it already.
        failure = prepared.failures.get(cell.id)
        if failure and not history.ended(cell.id):
            note(Observation(cell=cell.id, round=0, started=now(), failure=failure))
    too_large = shortfalls(run, prepared, settings.memory_limit_bytes)
    for group, why in too_large.items():
        progress.step(f"{group} comes last, as it is expected not to fit: it {why}")
    visitor = Visitor(matrix, run, prepared, settings, note, too_large)
    # A resumed run goes on at the levels that it had to take.
    visitor.adopt(observation for cell in cells for observation in history.rounds[cell.id].values())
    eta = Eta(cells, history, settings.effort, run.sustained_minutes)
    try:
        for last in (False, True):
            turn = [cell for cell in cells if (cell.group in too_large) is last]
            for model in dict.fromkeys(cell.model for cell in turn):
                _rounds([c for c in turn if c.model == model], visitor, history, run.seed, eta, progress)
        sustain(run, visitor, history, eta, progress)
    finally:
        # Also after Ctrl-C: a compile cache that stays would make the next cold start warm.
        visitor.close()


def _rounds(cells: list[Cell], visitor: Visitor, history: CellStates, seed: int, eta: Eta, progress: Progress) -> None:
    """The rounds of one model: all cells first, then those still too uncertain, with their control."""
    effort = visitor.settings.effort
    model = cells[0].model
    for number in range(1, effort.max_rounds + 1):
        groups = _due(cells, number, history, effort)
        # Sorted first, so that the order comes from the seed alone, and not from the order of the matrix.
        order = sorted(groups)
        # The seed makes the random order the same when the run is resumed.
        random.Random(f"{seed}/{model}/{number}").shuffle(order)
        for group in order:
            # Before the first visit, because that visit fills the compile cache.
            if number == 1 and visitor.needs_starts(groups[group]):
                progress.detail(f"cold and cached start of {group}; {eta.text()}")
                visitor.measure_starts(groups[group])
            progress.detail(f"round {number} of {model}: {group}; {eta.text()}")
            start = time.monotonic()
            observations = visitor.visit(groups[group], number)
            # In the first round only: a cell that fails later has worked as it is.
            if number == 1:
                observations = measured_again(visitor, groups[group], observations, history, progress)
            ended = all(history.ended(cell.id) for cell in groups[group])
            eta.visit_done(group, time.monotonic() - start, ended=ended)
            for observation in observations:
                if observation.failure:
                    progress.step(_failed_line(observation))
            if number == 1:
                _assess(groups[group], observations, visitor, progress)
        if groups:
            progress.step(f"{model}: round {number} done; {eta.text()}")
    for cell in cells:
        if line := _cell_line(cell, history):
            progress.step(line)


def _assess(cells: list[Cell], observations: list[Observation], visitor: Visitor, progress: Progress) -> None:
    """Run the labelled samples of a group once, after its first visit, and record the observation again with them."""
    for cell in cells:
        observation = next((o for o in observations if o.cell == cell.id and o.failure is None), None)
        labelled = visitor.labelled(cell)
        if observation is None or labelled is None:
            continue
        progress.detail(f"labelled samples of {cell.group}")
        scores = visitor.assess(cell, labelled)
        # The last observation of a cell and a round counts: the times were on disk before.
        visitor.record(replace(observation, task=scores))
        if scores.failure:
            progress.step(f"{cell.group}: its labelled samples could not be run: {scores.failure.message}")


def _due(cells: list[Cell], number: int, history: CellStates, effort: Effort) -> dict[str, list[Cell]]:
    """The cells that round `number` visits, by group, without those that it visited before an interruption."""
    alive = [cell for cell in cells if not history.ended(cell.id)]
    if number > effort.min_rounds:
        uncertain = [cell for cell in alive if history.uncertain(cell.id, effort)]
        # The control is visited too, so that every round has a ratio.
        alive = uncertain + [
            c for c in alive if c.control and c not in uncertain and any(_pairs(c, o) for o in uncertain)
        ]
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in alive:
        if not history.has(cell.id, number):
            groups[cell.group].append(cell)
    return dict(groups)


def _pairs(control: Cell, other: Cell) -> bool:
    return control.workload == other.workload and control.id != other.id


def _failed_line(observation: Observation) -> str:
    failure = observation.failure
    assert failure is not None
    return f"{observation.cell}: {failure.status} at stage '{failure.stage}': {failure.message}"


def _cell_line(cell: Cell, history: CellStates) -> str | None:
    """The result of a finished cell in one line; None for a failure, which was reported when it happened."""
    observations = list(history.rounds[cell.id].values())
    if not observations or any(o.failure for o in observations):
        return None
    if not all(history.is_right(o) for o in observations):
        return f"{cell.id}: inaccurate: its answers are outside the tolerance, so its speed is withheld"
    if cell.emulated:
        return f"{cell.id}: answers within tolerance; emulated, so its times mean nothing"
    latency_ms = history.latency_ms(cell.id)
    return None if latency_ms is None else f"{cell.id}: {latency_ms:.3g} ms in {len(observations)} rounds"
