"""Whether anything got slower or lost support against a recorded run: the story of `bench gate`.

The base is made again from what its run recorded, and measured beside the new side in pairs of fresh processes. What
cannot be made again is compared with its stored numbers, and the gate says so.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict, replace

from bench import __version__, store
from bench.declare import matrix as matrices
from bench.errors import BaselineError, Interrupted, RunFolderError
from bench.gating import reports, text
from bench.gating.cells import answer
from bench.gating.choice import choose
from bench.gating.decision import Rules
from bench.gating.measuring import Gate, Measured
from bench.gating.options import Options, typed
from bench.gating.sides import Place
from bench.gating.verdicts import SideResult
from bench.judge.differences import differences
from bench.judge.outcome import judge
from bench.machine.fingerprint import fingerprint
from bench.prepare.cache_use import uses_cache
from bench.progress import Progress
from bench.records import SCHEMA, GateRun, Machine, Note, Observation, Run

__all__ = ["Finished", "Options", "run"]


class Finished(Struct, frozen=True):
    """A gate that is over: its record, whose exit code is the answer, and the files of its report."""

    folder: Path
    run: GateRun
    files: tuple[Path, ...]


@uses_cache
def run(options: Options, progress: Progress) -> Finished:
    """Judge the new side against the base; an interruption keeps what was measured, and reports it."""
    base, seen = baseline(options.baseline)
    machine = fingerprint()
    same_machine(base, machine, options.baseline)
    matrix = matrices.read(options.matrix)
    recorded = {outcome.cell.id: outcome for outcome in judge(base, seen)}
    choice = choose(base, recorded, matrix, options.only, options.skip)
    place = _place(options, machine)
    progress.step(f"{len(choice.both)} cells against {base.name}, on {machine.cpu.brand}: {place.folder}")
    gate = Gate(options, SideResult(base, seen), matrix, choice, place, progress)
    try:
        measured = gate.measure()
    finally:
        gate.close()
    record = _record(options, base, measured, place)
    finished = Finished(place.folder, record, tuple(reports.write(record, place.folder)))
    if measured.interrupted:
        raise Interrupted(f"interrupted; what was judged so far is in {finished.files[0]}")
    return finished


def baseline(folder: Path) -> tuple[Run, tuple[Observation, ...]]:
    """The run to judge against; `BaselineError` where there is none, or its raw data is missing.

    `RunFolderError` for one that is damaged or has another schema.
    """
    if not (folder / store.RUN).is_file():
        message = f"there is no baseline in {folder}: it holds no {store.RUN}"
        raise BaselineError(message, "name the folder of a run, as `bench run --out` makes it")
    base, seen = store.read(folder)
    if not seen:
        message = f"the baseline in {folder} has no raw data: {store.RESULTS} is missing or empty"
        raise BaselineError(message, "keep the run's whole folder, not its report alone")
    return base, seen


def same_machine(base: Run, machine: Machine, folder: Path) -> None:
    """Machines are never gated against one another."""
    if base.machine.key != machine.key:
        message = f"the baseline in {folder} is of another machine (key {base.machine.key}; this one is {machine.key})"
        raise BaselineError(message, "record a baseline here; `bench compare` shows both side by side")


def _place(options: Options, machine: Machine) -> Place:
    now = dt.datetime.now(dt.UTC)
    folder = options.out or options.reports / f"gate-{store.new_name(machine, now)}"
    if (folder / reports.FORMATS[0].FILE).exists():
        raise RunFolderError(f"there is a gate in {folder} already", "name another --out")
    return Place(folder, options.cache, machine)


def _record(options: Options, base: Run, measured: Measured, place: Place) -> GateRun:
    found = answer(measured.cells, measured.null, measured.too_short)
    differs = _differences(base, measured.new_run)
    return GateRun(
        schema=SCHEMA,
        bench_version=__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        name=place.folder.name,
        command=typed(options),
        machine=place.machine,
        base=base.name,
        base_created=base.created,
        differences=text.sentences(differs),
        null=measured.null,
        cells=measured.cells,
        exit_code=found.exit_code,
        verdict=found.sentence,
        notes=text.sentences(measured.notes),
        minutes=round(measured.minutes, 2),
        budget_minutes=options.budget_minutes,
        effects=_figures(Rules()),
        difference_facts=differs,
        verdict_facts=found.facts,
        note_facts=measured.notes,
    )


def _differences(base: Run, new: Run) -> tuple[Note, ...]:
    """What differs, but for what this gate itself chose: its cells, and how long it measures them."""
    cells = {cell.id: cell for cell in base.cells}
    chosen = tuple(cells[cell.id] for cell in new.cells)
    artifacts = {name: key for name, key in base.artifacts.items() if name in new.artifacts}
    return differences(replace(base, cells=chosen, artifacts=artifacts, effort=new.effort), new)


def _figures(rules: Rules) -> dict[str, float]:
    """The rules that are numbers, for readers of the record."""
    return {name: float(value) for name, value in asdict(rules).items() if isinstance(value, (int, float))}
