"""Run `bench gate`: find cells that became slower, lost support or answer worse since a recorded run.

The base is rebuilt from what its run recorded, and measured together with the new side in pairs of fresh processes. A
cell whose base cannot be rebuilt is compared with its stored numbers, and the gate says so.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict, replace

from bench import __version__, privacy, store
from bench.errors import BaselineError, Interrupted, RunFolderError, faults_belong_to
from bench.gating import reports, text
from bench.gating.budget import checked
from bench.gating.cells import answer
from bench.gating.choice import choose
from bench.gating.decision import Rules
from bench.gating.foreign import admitted
from bench.gating.measuring import PAIRS, Gate, Measured
from bench.gating.options import Options, command
from bench.gating.sides import SIDES, Place
from bench.gating.verdicts import SideResult
from bench.judge.differences import differences
from bench.judge.outcome import judge
from bench.machine.fingerprint import fingerprint
from bench.prepare import own_runs
from bench.prepare.cache_use import uses_cache
from bench.prepare.presence import absent_targets, hardware_of
from bench.progress import Progress
from bench.records import SCHEMA, GateRun, Machine, Note, Observation, Run
from bench.run_steps import declared, know_private

__all__ = ["Finished", "Options", "run"]

MOST_THREADS_PER_CORE = 4


class Finished(Struct, frozen=True):
    """The result of a finished gate: its record with the exit code, and the files of its report."""

    folder: Path
    run: GateRun
    files: tuple[Path, ...]


@uses_cache
def run(options: Options, progress: Progress) -> Finished:
    """Measure and judge the new side against the base, and write the report.

    An interruption keeps what was measured, writes its report, and raises `Interrupted`.
    """
    checked(options.budget_minutes)
    base, observations = baseline(options.baseline)
    machine = fingerprint()
    # Checked before the matrix is read and anything is installed: times of two machines are never gated.
    same_machine(base, machine, options.baseline)
    matrix = declared(options.matrix, options.model, options.family, options.cache)
    recorded = {outcome.cell.id: outcome for outcome in judge(base, observations)}
    absent = absent_targets(matrix, hardware_of(machine))
    choice = choose(
        base, recorded, matrix, options.only, options.skip, with_optional=options.with_optional, absent=absent
    )
    place = _place(options, machine)
    know_private(matrix, options.cache, place.folder)
    foreign = None
    if not own_runs.is_own(base, options.cache):
        _check_threads(base, machine)
        foreign = admitted(base, choice, matrix, options.cache, progress.step, trusted=options.trust_baseline)
        choice = foreign.choice
    progress.step(f"{len(choice.both)} cells against {base.name}, on {machine.cpu.brand}: {place.folder}")
    try:
        with faults_belong_to(place.folder):
            gate = Gate(options, SideResult(base, observations), matrix, choice, place, progress, foreign)
            try:
                measured = gate.measure()
            finally:
                gate.close()  # ends the workers of both sides, after an error too
            record = _record(options, base, measured, place)
            finished = Finished(place.folder, record, tuple(reports.write(record, place.folder)))
    # While it prepares, or a second time while what was measured is judged.
    except KeyboardInterrupt:
        message = f"interrupted; nothing was judged, and the pairs so far are in {place.folder}"
        raise Interrupted(message, "a gate cannot be resumed: run it again with another --out") from None
    # Raised only now, so that an interrupted gate has its record and report on the disk.
    if measured.interrupted:
        raise Interrupted(f"interrupted; what was judged so far is in {finished.files[0]}")
    return finished


def baseline(folder: Path) -> tuple[Run, tuple[Observation, ...]]:
    """Read the run to judge against, with its observations.

    Raises `BaselineError` if there is no run or no raw data, `RunFolderError` if it is damaged or has another schema.
    """
    if not (folder / store.RUN).is_file():
        message = f"there is no baseline in {folder}: it holds no {store.RUN}"
        raise BaselineError(message, "name the folder of a run, as `bench run --out` makes it")
    base, observations = store.read(folder)
    if not base.cells:
        message = f"the baseline in {folder} has no cell: its {store.RUN} plans none"
        raise BaselineError(message, "record a baseline again")
    if not observations:
        message = f"the baseline in {folder} has no raw data: {store.RESULTS} is missing or empty"
        raise BaselineError(message, "keep the run's whole folder, not its report alone")
    return base, observations


def same_machine(base: Run, machine: Machine, folder: Path) -> None:
    """Raise `BaselineError` if the base was recorded on another machine: their times are not comparable."""
    if base.machine.key != machine.key:
        message = f"the baseline in {folder} is of another machine (key {base.machine.key}; this one is {machine.key})"
        raise BaselineError(message, "record a baseline here; `bench compare` shows both side by side")


def _check_threads(base: Run, machine: Machine) -> None:
    """Raise `BaselineError` for a number of threads of somebody else's run that no measurement needs."""
    if not 0 < base.threads <= MOST_THREADS_PER_CORE * machine.cpu.logical_cores:
        message = f"the baseline {base.name} says that it was measured with {base.threads} threads"
        raise BaselineError(message, f"record a new one: this machine has {machine.cpu.logical_cores} logical cores")


def _place(options: Options, machine: Machine) -> Place:
    now = dt.datetime.now(dt.UTC)
    folder = options.out or options.reports / f"gate-{store.new_name(machine, now)}"
    # Checked before anything is measured: a gate takes minutes, and must not replace an earlier one.
    if (folder / reports.FORMATS[0].FILE).exists():
        raise RunFolderError(f"there is a gate in {folder} already", "name another --out")
    store.refuse_links(folder, (*SIDES, PAIRS))
    return Place(folder, options.cache, machine)


def _record(options: Options, base: Run, measured: Measured, place: Place) -> GateRun:
    gate_answer = answer(measured.cells, measured.null, measured.too_short)
    difference_notes = _differences(base, measured.new_run)
    record = GateRun(
        schema=SCHEMA,
        bench_version=__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        name=place.folder.name,
        command=command(options),
        machine=place.machine,
        base=base.name,
        base_created=base.created,
        differences=text.sentences(difference_notes),
        null=measured.null,
        cells=measured.cells,
        exit_code=gate_answer.exit_code,
        verdict=gate_answer.sentence,
        notes=text.sentences(measured.notes),
        minutes=round(measured.minutes, 2),
        budget_minutes=options.budget_minutes,
        effects=_figures(Rules(task_loss=options.max_task_loss)),
        difference_facts=difference_notes,
        verdict_facts=gate_answer.facts,
        note_facts=measured.notes,
    )
    return privacy.scrubbed(record)


def _differences(base: Run, new: Run) -> tuple[Note, ...]:
    """The differences between base and new run, without those that the gate itself makes."""
    # A gate measures fewer cells, and for another time, than the run that it is compared with.
    cells = {cell.id: cell for cell in base.cells}
    chosen = tuple(cells[cell.id] for cell in new.cells)
    artifacts = {name: key for name, key in base.artifacts.items() if name in new.artifacts}
    return differences(replace(base, cells=chosen, artifacts=artifacts, effort=new.effort), new)


def _figures(rules: Rules) -> dict[str, float]:
    """The numeric rules, which the record holds for its readers."""
    return {
        name: float(value)
        for name, value in asdict(rules).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
