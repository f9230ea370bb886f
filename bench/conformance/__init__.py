"""Run ONNX's operator tests on every provider: make the cases, probe the targets, run, judge and report."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from bench import __version__, privacy, store
from bench.commands import Value, command_line
from bench.conformance import cases as operator_cases
from bench.conformance import execution
from bench.conformance.cases import Cases
from bench.conformance.verdicts import judge
from bench.declare import catalogue
from bench.declare import matrix as matrices
from bench.declare.matrix import Matrix, Runtime, Target
from bench.declare.suggest import nearest
from bench.errors import Interrupted, NothingMeasuredError, RunFolderError, UsageError
from bench.files import write_atomically, writing
from bench.machine.fingerprint import fingerprint
from bench.prepare import probe, worker_code
from bench.prepare.cache_use import uses_cache
from bench.prepare.environments import EnvironmentPool
from bench.progress import Progress, duration
from bench.records import SCHEMA, CaseOutcome, CaseSeen, CaseSuite, Machine, OperatorRun, OperatorTarget
from bench.run_steps import know_private
from bench.worker_process import Worker

RUN, LINES = "operators.json", "operators.jsonl"
SYNC_EVERY_S = 1.0
"""Seconds between syncs to the disk. A sync takes as long as a case, so a power cut may lose the last second."""


class Options(Struct, frozen=True):
    """The options of a conformance run."""

    matrix: Path
    cache: Path
    reports: Path
    providers: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    out: Path | None = None
    install: bool = False


class Finished(Struct, frozen=True):
    """The result of a finished conformance run: its verdicts and its files."""

    folder: Path
    run: OperatorRun
    outcomes: tuple[CaseOutcome, ...]
    files: tuple[Path, ...]


@uses_cache
def run(options: Options, progress: Progress) -> Finished:
    """Run the cases on every available target, and write the report.

    An interruption keeps what was measured, writes its report, and raises `Interrupted`.
    """
    matrix = matrices.read(options.matrix)
    selected, extra_runtimes = chosen(matrix, options.providers)
    machine = fingerprint()
    now = dt.datetime.now(dt.UTC)
    folder = options.out or options.reports / f"ops-{store.new_name(machine, now)}"
    know_private(matrix, options.cache, folder)
    logs = _create(folder)
    cases = operator_cases.ensure(options.cache, logs / "cases.log", progress)
    # Chosen from the whole suite: one cached file serves every `--only`.
    cases = msgspec.structs.replace(cases, suite=operator_cases.only(cases.suite, options.only))
    runtimes = _TargetRuntimes({**matrix.runtimes, **extra_runtimes}, options.cache, machine, logs, progress)
    # Runtimes of the matrix are installed as for a run; one that only the catalogue has waits for --install.
    targets = tuple(
        runtimes.target(target, install=options.install or target.runtime in matrix.runtimes) for target in selected
    )
    record = _record(options, folder, machine, now, cases.suite, targets)
    # Written before the first case, so that a crash leaves lines that can be read with their suite.
    write_atomically(folder / RUN, privacy.stored(record))
    # After the record is written, which says what the probes found where no target is usable.
    _require_usable_target(targets)
    observations: list[CaseSeen] = []
    try:
        with _lines(folder / LINES) as lines:
            for target in targets:
                if target.tried:
                    _run_target(runtimes, target, cases, observations, lines)
    except KeyboardInterrupt:
        progress.step("interrupted: what was seen is kept; writing its report")
        finished = _report(folder, record, observations)
        raise Interrupted(f"interrupted; the report of what was seen is {finished.files[0]}") from None
    return _report(folder, record, observations)


def chosen(matrix: Matrix, names: tuple[str, ...]) -> tuple[tuple[Target, ...], dict[str, Runtime]]:
    """The named targets of matrix or catalogue, or every provider of the matrix if there are no names.

    Also returns the runtimes that only the catalogue has, by name.
    """
    providers = {name: target for name, target in matrix.targets.items() if target.provider}
    extra_runtimes: dict[str, Runtime] = {}
    for name in names:
        if name not in providers:
            target = _catalogue_target(name, providers)
            providers[name] = target
            if target.runtime not in matrix.runtimes:
                extra_runtimes[target.runtime] = catalogue.runtime(target.runtime)
    if not providers:
        raise UsageError("the matrix has no provider", "name one of the catalogue with --provider")
    return tuple(providers[name] for name in dict.fromkeys(names or providers)), extra_runtimes


def _catalogue_target(name: str, providers: dict[str, Target]) -> Target:
    try:
        return catalogue.target(name)
    except KeyError:
        raise UsageError(f"unknown provider '{name}'", nearest(name, [*providers, *catalogue.rows()])) from None


class _TargetRuntimes:
    """Makes the runtimes and the workers of the targets."""

    def __init__(
        self, known: Mapping[str, Runtime], cache: Path, machine: Machine, logs: Path, progress: Progress
    ) -> None:
        self.machine, self.logs, self.progress = machine, logs, progress
        self.pool = EnvironmentPool(known, cache, progress)
        self.code = worker_code.stage(cache, self.pool.check)

    def target(self, target: Target, *, install: bool) -> OperatorTarget:
        """Probe a target; `install` is whether a missing runtime may be installed."""
        assert target.provider is not None
        log = self.logs / f"probe-{target.name}.log"
        facts = probe.examine(target, self.pool, self.machine, self.code, log, self.progress, install=install)
        # A probe that crashed or hung is no proof against the provider: its cases are tried all the same.
        tried = not probe.is_unusable(facts)
        if not tried:
            self.progress.step(f"{target.name} is unavailable: {facts.message}")
        runtime = self.pool.ensure(target.runtime).record if tried else None
        return OperatorTarget(target.name, target.runtime, runtime, target.provider, facts, tried)

    def worker(self, target: OperatorTarget) -> Worker:
        """A fresh worker for a target's cases."""
        environment = worker_code.child_environment(self.code, target.provider.environment)
        executable = self.pool.ensure(target.runtime_name).executable
        # As for a run: a worker must not take the whole machine down.
        limit = self.machine.memory_bytes * 9 // 10
        return Worker(executable, self.logs / f"{target.name}.log", environment, limit)


def _run_target(
    runtimes: _TargetRuntimes, target: OperatorTarget, cases: Cases, observations: list[CaseSeen], lines: _Lines
) -> None:
    """Run every case on one target, and write the line of each case when it ends."""
    started = time.monotonic()
    setup = execution.CaseTarget(
        target=target.name,
        provider=target.provider,
        payloads=cases.payloads,
        start=lambda: runtimes.worker(target),
        progress=runtimes.progress,
    )
    runtimes.progress.step(f"{target.name}: {len(cases.suite.cases)} cases")
    with closing(execution.run(setup, cases.suite.cases)) as results:  # an interruption here ends its worker too
        for case_seen in results:
            lines.add(case_seen)
            observations.append(case_seen)
    runtimes.progress.step(f"{target.name}: done in {duration(time.monotonic() - started)}")


def _create(folder: Path) -> Path:
    """Make the folder of the run, and return the folder of its logs."""
    with writing(folder):
        try:
            (folder / store.LOGS).mkdir(parents=True)
        except FileExistsError:
            raise RunFolderError(f"there is a run in {folder} already", "name another --out") from None
    return folder / store.LOGS


def _record(
    options: Options,
    folder: Path,
    machine: Machine,
    now: dt.datetime,
    suite: CaseSuite,
    targets: tuple[OperatorTarget, ...],
) -> OperatorRun:
    return OperatorRun(
        schema=SCHEMA,
        bench_version=__version__,
        created=now.isoformat(timespec="seconds"),
        name=folder.name,
        command=command(options),
        machine=machine,
        suite=suite,
        targets=targets,
    )


def command(options: Options) -> str:
    """The command line that makes this run again."""
    flags: dict[str, Value] = {
        "--matrix": options.matrix,
        "--provider": options.providers,
        "--only": options.only,
        "--install": options.install,
    }
    return command_line("ops", flags)


def _require_usable_target(targets: tuple[OperatorTarget, ...]) -> None:
    if not any(target.tried for target in targets):
        reasons = "; ".join(f"{target.name}: {target.facts.message}" for target in targets)
        hints = [target.facts.remedy for target in targets if target.facts.remedy]
        raise NothingMeasuredError(f"no provider could be run: {reasons}", hints[0] if hints else "see `bench doctor`")


class _Lines:
    """Appends one line for each case, and syncs them to the disk once a second."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.synced = file, time.monotonic()

    def add(self, case_seen: CaseSeen) -> None:
        """Write a line and flush it, so that a crash of this process does not lose it."""
        self.file.write(privacy.stored(case_seen) + b"\n")
        self.file.flush()
        if time.monotonic() - self.synced > SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fsync(self.file.fileno())
        self.synced = time.monotonic()


@contextmanager
def _lines(path: Path) -> Iterator[_Lines]:
    with writing(path), path.open("ab") as file:
        lines = _Lines(file)
        try:
            yield lines
        finally:
            # Also after an interruption: the lines of the last second are not on the disk yet.
            lines.sync()


def _report(folder: Path, record: OperatorRun, observations: list[CaseSeen]) -> Finished:
    """Judge the observations, and write the page and the table."""
    # Imported late: the page needs jinja2, which the checks before a run do without.
    from bench.conformance import reports

    record = privacy.scrubbed(record)
    outcomes = judge(record, [privacy.scrubbed(observation) for observation in observations])
    files = []
    for name, render in reports.FORMATS.items():
        path = folder / name
        # A provider's message may hold half of a surrogate pair, which UTF-8 cannot encode.
        write_atomically(path, render(record, outcomes).encode("utf-8", errors="replace"))
        files.append(path)
    return Finished(folder, record, outcomes, tuple(files))


def as_json(finished: Finished) -> dict[str, object]:
    """The data that `--json` prints: the counts of every target, all verdicts, and the paths of the files."""
    from bench.conformance import summary

    return {
        "run": finished.run.name,
        "onnx": finished.run.suite.onnx,
        "targets": [
            {
                "target": summary_row.target.name,
                "execution_provider": summary_row.target.provider.ep,
                "onnxruntime": summary_row.onnxruntime,
                "emulated": summary_row.target.provider.emulated,
                "software": summary.is_software(summary_row.target),
                "counts": summary_row.counts,
                "operators": summary_row.operators,
                "operators_wholly_on_it": summary_row.whole,
            }
            for summary_row in summary.summaries(finished.run, finished.outcomes)
        ],
        "unavailable": {target.name: target.facts for target in finished.run.targets if not target.tried},
        "outcomes": finished.outcomes,
        "files": [str(path) for path in finished.files],
    }
