"""Runs the main steps: declare, prepare, measure, judge, report."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bench import privacy, store
from bench.commands import Value, command_line, joined, path_of, shown_model
from bench.declare import matrix as matrices
from bench.declare.budgets import effort_named
from bench.declare.matrix import Matrix
from bench.declare.plan import undescribed
from bench.errors import BenchError, DiskError, Interrupted, NothingMeasuredError, RunFolderError
from bench.files import error_of_the_machine
from bench.prepare import own_runs
from bench.prepare.beside import writable
from bench.prepare.cache_use import uses_cache
from bench.progress import Progress
from bench.records import Comparison, Machine, Observation, Outcome, Run
from bench.run_steps import (
    all_cores,
    checked_minutes,
    declared,
    know_private,
    memory_limit,
    new_run,
    not_here,
    planned_here,
    prepare,
    with_hidden_values,
)

if TYPE_CHECKING:
    from bench.prepare.builds import Prepared

FORMATS = ("html", "csv", "markdown")


class Options(Struct, frozen=True):
    """The settings of a run."""

    matrix: Path
    cache: Path
    reports: Path
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    budget: str | None = None
    minutes: float | None = None
    """Minutes for measuring; None takes the matrix's, else those of the budget."""
    threads: int | None = None
    out: Path | None = None
    resume: Path | None = None
    formats: tuple[str, ...] = FORMATS
    sustained_minutes: float | None = None
    wait_minutes: float | None = None
    """How long to wait until a busy machine is quiet; None to ask at a terminal, and not to wait elsewhere."""
    rank_approximate: bool = False
    """Whether the reports rank approximate cells too."""
    model: str | None = None
    """The model that is measured without a matrix: a path, or a name on the hub."""
    family: str | None = None
    """What kind of model that is, where it cannot be seen."""
    with_optional: bool = False
    """Whether optional cells run too, and targets that the machine seems to lack."""
    typed_cache: Path | None = None
    """The cache, where the command line names it: whoever goes on must name it too."""


class RunResult(Struct, frozen=True):
    """A recorded run: its folder, its record, the verdict on each cell, and the files of its report."""

    folder: Path
    run: Run
    outcomes: tuple[Outcome, ...]
    files: tuple[Path, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    """How the cells that people compare differ in speed, each pair of cells with right answers once; each has the name
    of its run."""
    runs: tuple[RunResult, ...] = ()
    """Of a report of several runs, each of them: cells of different runs are not ranked with each other."""

    def observations(self) -> tuple[Observation, ...]:
        """Read every observation, with each timed call in nanoseconds. This may need much memory."""
        return store.read(self.folder)[1]


@uses_cache
def run(options: Options, progress: Progress) -> RunResult:
    """Measure every cell of a matrix and write the report; after an interruption, report what was measured until then.

    Raises `Interrupted` after an interruption, and `RunFolderError` where another process measures into the folder.
    """
    from bench.prepare.artifacts import recorded_artifacts

    with contextlib.ExitStack() as held:
        matrix, folder, record, observations = _begin(options, progress, held)
        try:
            # The same models as before: a file of that name may be another one by now, or be missing.
            recorded = recorded_artifacts(record) if options.resume else None
            prepared, record = prepare(matrix, record, options.cache, folder, progress, recorded=recorded)
            _measure(matrix, record, prepared, options, folder, observations, progress)
            finished = report([folder], options.formats, folder, rank_approximate=options.rank_approximate)
        # Hours of measuring are worth a report, even where cells are missing.
        except KeyboardInterrupt:
            raise _interrupted(options, folder, progress) from None
        except (DiskError, OSError) as error:
            known = error if isinstance(error, DiskError) else error_of_the_machine(error)
            if known is None:
                raise
            # Of a folder that was removed nothing is left to go on with.
            then = f"; then {_go_on(options, folder)}" if (folder / store.RUN).exists() else ""
            raise DiskError(known.message, f"{known.hint}{then}") from None
        finally:
            # Every worker has ended; what one that was killed has left is cleaned here.
            privacy.clean_logs(folder / store.LOGS)
    _something_measured(finished)
    return finished


def _interrupted(options: Options, folder: Path, progress: Progress) -> Interrupted:
    """Write the report of what was measured, unless the user interrupts again; the last line says how to go on."""
    go_on = _go_on(options, folder)
    try:
        progress.step("interrupted: what was measured is kept; writing its report (interrupt again to leave that out)")
        finished = report([folder], options.formats, folder, rank_approximate=options.rank_approximate)
    except KeyboardInterrupt:
        message = "interrupted; what was measured is kept, without a report"
        report_alone = joined(("bench", "report", str(folder)))
        return Interrupted(message, f"{go_on}, or write the report alone: {report_alone}")
    # Such as a full disk: that must hide neither the interruption nor how to go on.
    except (BenchError, OSError) as error:
        why = error.message if isinstance(error, BenchError) else str(error)
        return Interrupted(f"interrupted; what was measured is kept, but there is no report: {why}", go_on)
    return Interrupted(f"interrupted; the report of what was measured is {next(iter(finished.files), folder)}", go_on)


def _go_on(options: Options, folder: Path) -> str:
    return f"go on with: {_resuming(options, folder)}"


def read(folder: Path) -> RunResult:
    """Read a recorded run and compute its verdicts from its observations. Raises `RunFolderError`."""
    # Imported late: judging loads numpy and scipy, and `bench plan` must stay quick.
    from bench.judge.outcome import judge_run

    record, observations = store.read(folder)
    judged = judge_run(record, observations)
    return RunResult(folder, record, judged.outcomes, comparisons=judged.comparisons)


def report(folders: Sequence[Path], formats: Sequence[str], out: Path, *, rank_approximate: bool = False) -> RunResult:
    """Judge recorded runs again and render them into `out`; returns the first run with the outcomes of all."""
    from bench.report import formats as renderers
    from bench.report import model

    results = [read(folder) for folder in folders]
    tables = model.build(
        [(result.run, result.outcomes) for result in results],
        [result.comparisons for result in results],
        rank_approximate=rank_approximate,
    )
    files = renderers.write(tables, formats, out)
    # The terminal's table shows the cells of all runs.
    outcomes = tuple(outcome for result in results for outcome in result.outcomes)
    comparisons = tuple(comparison for result in results for comparison in result.comparisons)
    runs = tuple(results) if len(results) > 1 else ()
    return replace(results[0], outcomes=outcomes, files=tuple(files), comparisons=comparisons, runs=runs)


def _begin(
    options: Options, progress: Progress, held: contextlib.ExitStack
) -> tuple[Matrix, Path, Run, tuple[Observation, ...]]:
    """Create a new run's folder, or read the one to resume with its observations; `held` keeps others out of it."""
    from bench.machine.fingerprint import fingerprint
    from bench.prepare.forecast import too_short

    for flag, minutes in (
        ("--minutes", options.minutes),
        ("--sustained", options.sustained_minutes),
        ("--wait-minutes", options.wait_minutes),
    ):
        checked_minutes(flag, minutes)
    machine = fingerprint()
    if options.resume:
        # Before it is read: another process may be adding observations.
        held.enter_context(store.held(options.resume))
        record, observations = store.read(options.resume)
        # Before anything is changed in the folder: times of two machines must not be in one run.
        _same_machine(record, machine, options.resume)
        _own_run(record, options)
        store.heal(options.resume)
        # What failed before anything was measured may succeed now: the network is back, the disk has room.
        observations = tuple(
            observation for observation in observations if observation.round > 0 or observation.sustained
        )
        # The recorded text and not today's file: the run must go on with the matrix that it began with.
        matrix = matrices.parse(record.matrix_text, str(path_of(record.matrix_path)))
        _check_cells(record, matrix, options.resume / store.RUN)
        matrix = with_hidden_values(matrix, record, options.cache)
        know_private(matrix, options.cache, options.resume)
        # A run that was killed left logs as libraries wrote them.
        privacy.clean_logs(options.resume / store.LOGS)
        if options.minutes:
            # More blocks are more of the same, so the time may be another one.
            record = replace(record, effort=replace(record.effort, minutes=options.minutes))
        progress.step(f"going on with {options.resume}: {len(observations)} observations are there")
        return matrix, options.resume, record, observations
    matrix = declared(options.matrix, options.model, options.family, options.cache)
    # All that can be wrong with the options is found before the folder is made: a mistake leaves nothing behind.
    planned = planned_here(matrix, machine, options.only, options.skip, with_optional=options.with_optional)
    cells = planned.cells
    effort = effort_named(options.budget or matrix.measure.budget)
    effort = replace(effort, minutes=options.minutes or matrix.measure.minutes or effort.minutes)
    threads = options.threads or matrix.measure.threads or all_cores(machine)
    folder = options.out or options.reports / store.new_name(machine, dt.datetime.now(dt.UTC))
    know_private(matrix, options.cache, folder)
    record = new_run(matrix, cells, effort, threads, machine, folder.name, command(options, effort.name), options.cache)
    absent = not_here(matrix, machine, planned)
    record = replace(record, sustained_minutes=options.sustained_minutes, targets=absent)
    own_runs.mark(record, options.cache)
    store.create(folder, record)
    held.enter_context(store.held(folder))
    for warning in planned.warnings:
        progress.step(warning)
    amounts = f"{_counted(len(cells), 'cell')} on {machine.cpu.brand}, {_counted(threads, 'thread')}"
    progress.step(f"{amounts}, budget {effort.name}: {folder}")
    if short := too_short([cell for cell in cells if cell.excluded is None], effort):
        progress.step(short)
    return matrix, folder, record, ()


def _check_cells(record: Run, matrix: Matrix, path: Path) -> None:
    if not record.cells:
        raise RunFolderError(f"{path} has no cells", "was it edited? run again")
    if unknown := undescribed(matrix, record.cells):
        raise RunFolderError(f"the matrix in {path} has no {unknown}", "was it edited? run again")


def _resuming(options: Options, folder: Path) -> str:
    """The command line that goes on with a run, to be copied: as it was typed, where that still matters."""
    typed: list[str] = []
    if options.formats != FORMATS:
        typed += ["--format", ",".join(options.formats)]
    if options.rank_approximate:
        typed += ["--rank-approximate"]
    if options.typed_cache is not None:
        # With another cache the run would be that of somebody else.
        typed += ["--cache-dir", str(options.typed_cache)]
    return joined(("bench", "run", "--resume", str(folder), *typed))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _same_machine(record: Run, machine: Machine, folder: Path) -> None:
    if record.machine.key != machine.key:
        message = f"{folder} was measured on another machine ({record.machine.key}, this one is {machine.key})"
        raise RunFolderError(message, "start a run of its own here; `bench report` shows both side by side")


def _own_run(record: Run, options: Options) -> None:
    """Raise `RunFolderError` for a run of somebody else: to go on, its matrix says what is installed and started."""
    if not own_runs.is_own(record, options.cache):
        message = f"{options.resume} was not made by you on this machine with the cache {options.cache}, or was changed"
        hint = (
            "name its --cache-dir; or look at its matrix_text, save it as a file, and start a run of your own with it"
        )
        raise RunFolderError(message, hint)


def _measure(
    matrix: Matrix,
    record: Run,
    prepared: Prepared,
    options: Options,
    folder: Path,
    observations: Sequence[Observation],
    progress: Progress,
) -> None:
    """Measure the blocks; each observation is on the disk, and in the report, before the next block begins."""
    from bench.prepare.later_damage import LaterDamage
    from bench.prepare.quiet_machine import check_quiet

    # The look at the machine waits for a part of a second, in which numpy and scipy are loaded for the judge.
    with ThreadPoolExecutor(max_workers=1) as threads:
        threads.submit(importlib.import_module, "bench.judge.cell_states")
        check_quiet(record.machine.cpu.usable_cores, options.wait_minutes, progress, _resuming(options, folder))
    from bench.judge.bursts import is_shared
    from bench.judge.cell_states import CellHistory
    from bench.measure.measuring import measure
    from bench.measure.visits import Settings

    settings = Settings(
        effort=record.effort,
        threads=record.threads,
        timeout_s=matrix.measure.timeout_s,
        memory_limit_bytes=memory_limit(matrix, record.machine),
        logs=folder / store.LOGS,
        compile_cache=writable(options.cache) / "compiled",
    )
    states = CellHistory(observations, shared=is_shared(record.machine))

    later = LaterDamage(prepared, record.cells)

    def explained(observation: Observation) -> Observation:
        is_doubtful = observation.failure is not None or not states.is_right(observation)
        return later.explained(observation, is_doubtful=is_doubtful)

    def append_all(appended: Sequence[Observation]) -> None:
        store.append(folder, *map(explained, appended))

    def append(observation: Observation) -> None:
        append_all((observation,))

    def write_report() -> None:
        try:
            progress.results(report([folder], options.formats, folder, rank_approximate=options.rank_approximate))
        # A file of the report may be open in a program that locks it. What is measured is in another file.
        except DiskError as error:
            progress.step(f"no report so far: {error.message}")

    measure(matrix, record, prepared, settings, states, append, progress, Occasionally(write_report), append_all)


class Occasionally:
    """Does work when it is called, unless it did so a short while ago.

    After work of `s` seconds nothing is done for `PAUSE * s` seconds, so at most 1 / PAUSE of a run's time is spent on
    its report.
    """

    PAUSE = 10

    def __init__(self, work: Callable[[], object]) -> None:
        self.work, self.due_s = work, 0.0

    def __call__(self) -> None:
        """Do the work, where it is due."""
        began = time.monotonic()
        if began < self.due_s:
            return
        self.work()
        ended = time.monotonic()
        self.due_s = ended + self.PAUSE * (ended - began)


def _something_measured(finished: RunResult) -> None:
    """Raise `NothingMeasuredError` where every cell ended before it was measured."""
    if any(outcome.rounds for outcome in finished.outcomes):
        return
    from bench.report import text

    example = next((o for o in finished.outcomes if o.failure), finished.outcomes[0])
    message = f"nothing was measured; {example.cell.id}: {text.reason(example)}"
    raise NothingMeasuredError(message, text.remedy(example) or f"each cell's reason is in {finished.folder}")


def command(options: Options, budget: str) -> str:
    """The command line that repeats this run."""
    flags: dict[str, Value] = {
        # `--out` is left out: a folder holds one run.
        "--matrix": None if options.model else options.matrix,
        "--model": shown_model(options.model) if options.model else None,
        "--family": options.family,
        "--budget": budget,
        "--minutes": options.minutes,
        "--only": options.only,
        "--skip": options.skip,
        "--with-optional": options.with_optional,
        "--threads": options.threads,
        "--sustained": options.sustained_minutes,
    }
    return command_line("run", flags)
