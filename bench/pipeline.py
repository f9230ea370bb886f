"""The whole story in one screen: declare, prepare, measure, judge, report."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bench import __version__, store
from bench.declare import matrix as matrices
from bench.declare.budgets import effort_named
from bench.declare.matrix import Matrix
from bench.declare.plan import plan
from bench.errors import Interrupted, NothingMeasuredError, RunFolderError
from bench.progress import Progress
from bench.records import SCHEMA, Cell, Effort, Machine, Observation, Outcome, Run

if TYPE_CHECKING:
    from bench.prepare.builds import Prepared
    from bench.prepare.probe import Settled
    from bench.prepare.recorded_artifacts import Kept

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


class Finished(Struct, frozen=True):
    """A run that is over: its folder, its verdicts and the files of its report."""

    folder: Path
    run: Run
    outcomes: tuple[Outcome, ...]
    files: tuple[Path, ...]


def run(options: Options, progress: Progress) -> Finished:
    """Measure every cell of a matrix and report; an interruption keeps what was measured, and reports it."""
    matrix, folder, record, seen = _begin(options, progress)
    try:
        settled, record = probe(matrix, record, options.cache, folder, progress)
        prepared, record = prepare(matrix, record, settled, options.cache, folder, progress)
        _measure(matrix, record, prepared, options, folder, seen, progress)
    except KeyboardInterrupt:
        progress.step("interrupted: what was measured is kept; writing its report")
        finished = report([folder], options.formats, folder)
        message = f"interrupted; the report of what was measured is {finished.files[0]}"
        raise Interrupted(message, f"go on with: bench run --resume {folder}") from None
    finished = report([folder], options.formats, folder)
    _something_measured(finished)
    return finished


def report(folders: Sequence[Path], formats: Sequence[str], out: Path) -> Finished:
    """Judge the observations of finished runs again, and render them into `out`."""
    from bench.judge.outcome import judge
    from bench.report import formats as renderers
    from bench.report import model

    runs = [store.read(folder) for folder in folders]
    judged = [(record, judge(record, observations)) for record, observations in runs]
    files = renderers.write(model.build(judged), formats, out)
    outcomes = tuple(outcome for _, found in judged for outcome in found)
    return Finished(folders[0], judged[0][0], outcomes, tuple(files))


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


def new_run(
    matrix: Matrix, cells: tuple[Cell, ...], effort: Effort, threads: int, machine: Machine, name: str, typed: str
) -> Run:
    """The record of a run that is about to begin; what preparing finds out is filled in later."""
    return Run(
        schema=SCHEMA,
        bench_version=__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        name=name,
        seed=matrix.measure.seed,
        effort=effort,
        threads=threads,
        command=typed,
        matrix_path=shown_path(Path(matrix.place)),
        matrix_text=matrix.text,
        cells=cells,
        machine=machine,
        runtimes={},
        artifacts={},
        weights={},
    )


def _same_machine(record: Run, machine: Machine, folder: Path) -> None:
    if record.machine.key != machine.key:
        message = f"{folder} was measured on another machine ({record.machine.key}, this one is {machine.key})"
        raise RunFolderError(message, "start a run of its own here; `bench report` shows both side by side")


def probe(
    matrix: Matrix, record: Run, cache: Path, folder: Path, progress: Progress, code: Path | None = None
) -> tuple[Settled, Run]:
    """Try every target in a worker before anything is built for it, and write into `run.json` what each one is here."""
    from bench.prepare.probe import settle

    settled = settle(matrix, record.cells, record.machine, cache, folder / store.LOGS, progress, code)
    runtimes = {name: ready.record for name, ready in settled.shelf.made.items()}
    record = replace(record, targets=settled.facts, runtimes=runtimes)
    store.save(folder, record)
    return settled, record


def prepare(
    matrix: Matrix,
    record: Run,
    settled: Settled,
    cache: Path,
    folder: Path,
    progress: Progress,
    kept: Kept | None = None,
) -> tuple[Prepared, Run]:
    """Make what the cells need, and write into `run.json` what that turned out to be."""
    from bench.prepare import builds

    prepared = builds.prepare(matrix, record.cells, settled, cache, folder / store.LOGS, progress, kept)
    record = replace(
        record,
        runtimes={name: ready.record for name, ready in prepared.runtimes.items()},
        artifacts={name: artifact.record.key for name, artifact in prepared.artifacts.items()},
        weights={name: source.weights for name, source in prepared.sources.items()},
        source_digests={name: source.digest for name, source in prepared.sources.items()},
        references={f"{m}/{workload}": made.record.key for (m, workload), made in prepared.references.items()},
        code=prepared.code.name,
    )
    store.save(folder, record)
    return prepared, record


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
    from bench.measure.rounds import measure
    from bench.measure.visits import Settings

    settings = Settings(
        effort=record.effort,
        threads=record.threads,
        timeout_s=matrix.measure.timeout_s,
        memory_limit_bytes=memory_limit(matrix, record.machine),
        logs=folder / store.LOGS,
        scratch=options.cache / "compiled",
    )
    measure(matrix, record, prepared, settings, seen, lambda observation: store.append(folder, observation), progress)


def all_cores(machine: Machine) -> int:
    """The physical cores that may be used: a second thread on a core slows matrix products down more than it helps."""
    return max(1, int(min(machine.cpu.physical_cores, machine.cpu.usable_cores)))


def memory_limit(matrix: Matrix, machine: Machine) -> int:
    """The matrix's limit, else nine tenths of the machine: a worker must not take the machine down with it."""
    limit = matrix.measure.memory_limit_mb
    return limit * 2**20 if limit else machine.memory_bytes * 9 // 10


def _something_measured(finished: Finished) -> None:
    """A run whose every cell ended before its turn is not fine, though each has its row."""
    if any(outcome.rounds for outcome in finished.outcomes):
        return
    from bench.report import text

    told = next((o for o in finished.outcomes if o.failure), finished.outcomes[0])
    message = f"nothing was measured; {told.cell.id}: {text.reason(told)}"
    raise NothingMeasuredError(message, text.remedy(told) or f"each cell's reason is in {finished.folder}")


def command(options: Options, budget: str) -> str:
    """How to make this run again, as one would type it."""
    words = ["bench", "run", "--matrix", shown_path(options.matrix), "--budget", budget]
    for flag, globs in (("--only", options.only), ("--skip", options.skip)):
        for glob in globs:
            words += [flag, glob]
    if options.threads:
        words += ["--threads", str(options.threads)]
    if options.sustained_minutes:
        words += ["--sustained", f"{options.sustained_minutes:g}"]
    return shlex.join(words)


def shown_path(path: Path) -> str:
    """A path as it may be published: relative where it can be, without the user's home."""
    absolute = path.expanduser().resolve()
    for root, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if absolute.is_relative_to(root):
            return prefix + absolute.relative_to(root).as_posix()
    return absolute.as_posix()
