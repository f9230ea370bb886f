"""The main story: declare, prepare, measure, judge, report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bench import store
from bench.commands import Value, command_line
from bench.declare import matrix as matrices
from bench.declare.budgets import effort_named
from bench.declare.matrix import Matrix
from bench.declare.plan import plan
from bench.errors import Interrupted, NothingMeasuredError, RunFolderError
from bench.prepare.cache_use import uses_cache
from bench.progress import Progress
from bench.records import Machine, Observation, Outcome, Run
from bench.run_steps import all_cores, memory_limit, new_run, prepare, probe

if TYPE_CHECKING:
    from bench.prepare.builds import Prepared

FORMATS = ("html", "csv", "markdown")


class Options(Struct, frozen=True):
    """What the command line asks of a run."""

    matrix: Path
    cache: Path
    reports: Path
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    budget: str | None = None
    threads: int | None = None
    out: Path | None = None
    resume: Path | None = None
    formats: tuple[str, ...] = FORMATS
    sustained_minutes: float | None = None


class RunResult(Struct, frozen=True):
    """A recorded run: its folder, its record, the verdict on each cell, and the files of its report."""

    folder: Path
    run: Run
    outcomes: tuple[Outcome, ...]
    files: tuple[Path, ...] = ()

    def observations(self) -> tuple[Observation, ...]:
        """Read all that was observed, with each timed call in nanoseconds; it may take much memory."""
        return store.read(self.folder)[1]


@uses_cache
def run(options: Options, progress: Progress) -> RunResult:
    """Measure every cell of a matrix and report; an interruption keeps what was measured, and reports it."""
    matrix, folder, record, seen = _begin(options, progress)
    try:
        probed, record = probe(matrix, record, options.cache, folder, progress)
        prepared, record = prepare(matrix, record, probed, options.cache, folder, progress)
        _measure(matrix, record, prepared, options, folder, seen, progress)
    except KeyboardInterrupt:
        progress.step("interrupted: what was measured is kept; writing its report")
        finished = report([folder], options.formats, folder)
        message = f"interrupted; the report of what was measured is {next(iter(finished.files), folder)}"
        raise Interrupted(message, f"go on with: bench run --resume {folder}") from None
    finished = report([folder], options.formats, folder)
    _something_measured(finished)
    return finished


def read(folder: Path) -> RunResult:
    """A recorded run with its verdicts, which are computed from its observations now. Raises `RunFolderError`."""
    from bench.judge.outcome import judge

    record, observations = store.read(folder)
    return RunResult(folder, record, tuple(judge(record, observations)))


def report(folders: Sequence[Path], formats: Sequence[str], out: Path) -> RunResult:
    """Judge the observations of recorded runs again, and render them into `out`; the result is that of the first."""
    from bench.report import formats as renderers
    from bench.report import model

    results = [read(folder) for folder in folders]
    files = renderers.write(model.build([(result.run, result.outcomes) for result in results]), formats, out)
    outcomes = tuple(outcome for result in results for outcome in result.outcomes)
    return replace(results[0], outcomes=outcomes, files=tuple(files))


def _begin(options: Options, progress: Progress) -> tuple[Matrix, Path, Run, tuple[Observation, ...]]:
    """A new run's folder, or the one to go on with and what it has seen."""
    from bench.machine.fingerprint import fingerprint

    machine = fingerprint()
    if options.resume:
        record, seen = store.read(options.resume)
        _same_machine(record, machine, options.resume)
        store.heal(options.resume)
        # What failed before anything was measured may succeed now: the network is back, the disk has room.
        seen = tuple(observation for observation in seen if observation.round > 0 or observation.sustained)
        matrix = matrices.parse(record.matrix_text, str(Path(record.matrix_path).expanduser()))
        progress.step(f"going on with {options.resume}: {len(seen)} observations are there")
        return matrix, options.resume, record, seen
    matrix = matrices.read(options.matrix)
    cells = plan(matrix, options.only, options.skip)
    effort = effort_named(options.budget or matrix.measure.budget)
    threads = options.threads or matrix.measure.threads or all_cores(machine)
    folder = options.out or options.reports / store.new_name(machine, dt.datetime.now(dt.UTC))
    record = new_run(matrix, cells, effort, threads, machine, folder.name, command(options, effort.name))
    record = replace(record, sustained_minutes=options.sustained_minutes)
    store.create(folder, record)
    progress.step(f"{len(cells)} cells on {machine.cpu.brand}, {threads} threads, budget {effort.name}: {folder}")
    return matrix, folder, record, ()


def _same_machine(record: Run, machine: Machine, folder: Path) -> None:
    if record.machine.key != machine.key:
        message = f"{folder} was measured on another machine ({record.machine.key}, this one is {machine.key})"
        raise RunFolderError(message, "start a run of its own here; `bench report` shows both side by side")


def _measure(
    matrix: Matrix,
    record: Run,
    prepared: Prepared,
    options: Options,
    folder: Path,
    seen: Sequence[Observation],
    progress: Progress,
) -> None:
    """The rounds; each observation is on the disk before the next visit begins."""
    from bench.judge.cell_states import CellHistory
    from bench.measure.rounds import measure
    from bench.measure.visits import Settings

    settings = Settings(
        effort=record.effort,
        threads=record.threads,
        timeout_s=matrix.measure.timeout_s,
        memory_limit_bytes=memory_limit(matrix, record.machine),
        logs=folder / store.LOGS,
        compile_cache=options.cache / "compiled",
    )
    states = CellHistory(seen)
    measure(matrix, record, prepared, settings, states, lambda observation: store.append(folder, observation), progress)


def _something_measured(finished: RunResult) -> None:
    """A run whose every cell ended before its turn is not fine, though each has its row."""
    if any(outcome.rounds for outcome in finished.outcomes):
        return
    from bench.report import text

    told = next((o for o in finished.outcomes if o.failure), finished.outcomes[0])
    message = f"nothing was measured; {told.cell.id}: {text.reason(told)}"
    raise NothingMeasuredError(message, text.remedy(told) or f"each cell's reason is in {finished.folder}")


def command(options: Options, budget: str) -> str:
    """How to make this run again, as one would type it."""
    flags: dict[str, Value] = {
        "--matrix": options.matrix,
        "--budget": budget,
        "--only": options.only,
        "--skip": options.skip,
        "--threads": options.threads,
        "--sustained": options.sustained_minutes,
    }
    return command_line("run", flags)
