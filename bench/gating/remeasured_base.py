"""Find what a recorded run can be rebuilt from: its matrix with locked runtimes, its code and its artifacts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.commands import path_of
from bench.declare import matrix as matrices
from bench.declare.matrix import Matrix
from bench.declare.plan import undescribed
from bench.declare.requirements import exact
from bench.declare.targets import Runtime, with_bases
from bench.errors import MatrixError, RuntimeSetupError
from bench.prepare import environments, worker_code
from bench.prepare.artifacts import RecordedArtifacts, recorded_artifacts
from bench.records import Note, Run, RuntimeRecord, note
from bench.run_steps import with_hidden_values


class Baseline(Struct, frozen=True):
    """What a recorded run is rebuilt from. If it cannot be rebuilt, `matrix` is None and `reason` says why."""

    run: Run
    matrix: Matrix | None
    recorded: RecordedArtifacts
    code: Path | None = None
    """The worker code that the run used; None if today's must be used."""
    reason: Note | None = None
    notes: tuple[Note, ...] = ()


def recreate(run: Run, cache: Path, admitted: Matrix | None = None, current: Matrix | None = None) -> Baseline:
    """Plan how to rebuild a run. Nothing is installed or built yet; `notes` hold what will differ.

    `admitted` is what is rebuilt of a run that somebody else made, with its runtimes; None for the user's own run.
    `current` is the matrix of the new side: a run stores no values of environment variables, so they are taken from it.
    """
    try:
        # `run.json` holds the path relative to the home, so that it may be published.
        matrix = admitted or matrices.parse(run.matrix_text, str(path_of(run.matrix_path)))
    except MatrixError as error:
        return Baseline(run, None, recorded_artifacts(run), reason=note("base-matrix-unreadable", text=error.message))
    try:
        matrix = with_hidden_values(matrix, run, cache, current)
    except MatrixError as error:
        return Baseline(run, None, recorded_artifacts(run), reason=note("base-lacks-values", text=error.message))
    if unknown := undescribed(matrix, run.cells):
        return Baseline(
            run, None, recorded_artifacts(run), reason=note("base-matrix-unreadable", text=f"it has no {unknown}")
        )
    recorded = {} if admitted else run.runtimes
    locked = {name: _locked(runtime, recorded.get(name), cache) for name, runtime in matrix.runtimes.items()}
    # Code of another protocol cannot be used, since this version cannot speak to it; today's is taken then.
    code = worker_code.recorded(cache, run.code)
    # A base that today's code measured runs under the same code again, whatever the cache has lost.
    notes = () if code or run.code == worker_code.stage(cache).name else (note("other-worker-code", code=run.code),)
    return Baseline(run, replace(matrix, runtimes=with_bases(locked)), recorded_artifacts(run), code, notes=notes)


def _locked(runtime: Runtime, recorded: RuntimeRecord | None, cache: Path) -> Runtime:
    """The runtime with the recorded packages: unchanged if the cache holds that environment, else pinned."""
    # An interpreter of the user cannot be rebuilt: it is used as it is, and differences are noted.
    if recorded is None or runtime.python or runtime.unavailable:
        return runtime
    if has_packages(runtime, recorded, cache):
        return runtime
    return replace(runtime, requires=tuple(_pins(recorded)))


def has_packages(runtime: Runtime, recorded: RuntimeRecord, cache: Path) -> bool:
    """Whether the cache holds the runtime with the recorded packages."""
    try:
        environment = environments.find(runtime, cache)
    except RuntimeSetupError:
        return False
    # The same requirements may have been resolved to other versions since, so the packages decide.
    return environment is not None and environment.record.packages == recorded.packages


def _pins(recorded: RuntimeRecord) -> Iterable[str]:
    """Requirements such as `torch==2.13.0`, one for each package."""
    for name, version in recorded.packages.items():
        # What is no name and no version cannot be installed; that it is missing is told as a difference.
        if requirement := exact(name, version):
            yield requirement


def rebuild_differences(run: Run, remeasured: Run) -> tuple[Note, ...]:
    """What differs between the recorded base and the rebuilt one: packages, Python versions, artifacts."""
    notes = [
        fact
        for name, recorded in run.runtimes.items()
        if name in remeasured.runtimes
        for fact in _package_differences(name, recorded, remeasured.runtimes[name])
    ]
    # Another key: something that the artifact is made from differs from what was recorded.
    rebuilt = [name for name, key in remeasured.artifacts.items() if run.artifacts.get(name, key) != key]
    if rebuilt:
        notes.append(note("rebuilt-artifacts", names=tuple(rebuilt)))
    return tuple(notes)


def _package_differences(name: str, recorded: RuntimeRecord, remeasured: RuntimeRecord) -> Iterable[Note]:
    if recorded.python != remeasured.python:
        yield note("base-python", runtime=name, before=recorded.python, after=remeasured.python)
    other = [package for package, version in recorded.packages.items() if remeasured.packages.get(package) != version]
    if other:
        yield note("base-packages", runtime=name, names=tuple(other))
