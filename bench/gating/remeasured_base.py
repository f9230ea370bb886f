"""What a recorded run is run again from: its matrix with its runtimes locked, its code, its artifacts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import matrix as matrices
from bench.declare.matrix import Matrix
from bench.declare.targets import Runtime
from bench.errors import MatrixError, RuntimeSetupError
from bench.prepare import environments, worker_code
from bench.prepare.recorded_artifacts import RecordedArtifacts, recorded_artifacts
from bench.records import Note, Run, RuntimeRecord, note


class Baseline(Struct, frozen=True):
    """What a recorded run is made again from; `reason` says why it cannot be, and then there is no matrix."""

    run: Run
    matrix: Matrix | None
    recorded: RecordedArtifacts
    code: Path | None = None
    """The worker's code that the run measured with; None where today's must do."""
    reason: Note | None = None
    notes: tuple[Note, ...] = ()


def recreate(run: Run, cache: Path) -> Baseline:
    """Nothing is installed or built yet; what cannot be as it was is noted."""
    try:
        matrix = matrices.parse(run.matrix_text, str(Path(run.matrix_path).expanduser()))
    except MatrixError as error:
        return Baseline(run, None, recorded_artifacts(run), reason=note("base-matrix-unreadable", text=error.message))
    locked = {name: _locked(runtime, run.runtimes.get(name), cache) for name, runtime in matrix.runtimes.items()}
    code = worker_code.recorded(cache, run.code)
    notes = () if code or run.code == worker_code.stage(cache).name else (note("other-worker-code", code=run.code),)
    return Baseline(run, replace(matrix, runtimes=locked), recorded_artifacts(run), code, notes=notes)


def _locked(runtime: Runtime, recorded: RuntimeRecord | None, cache: Path) -> Runtime:
    """The environment as it was: the very one where the cache still holds it, else every package by its version."""
    if recorded is None or runtime.python or runtime.unavailable:
        return runtime
    try:
        found = environments.find(runtime, cache)
    except RuntimeSetupError:
        found = None
    if found and found.record.packages == recorded.packages:
        return runtime
    return replace(runtime, requires=tuple(_pins(recorded)))


def _pins(recorded: RuntimeRecord) -> Iterable[str]:
    """`torch==2.13.0` for 2.13.0+cpu too: a local version is a build of the public one, and no index lists it."""
    for name, version in recorded.packages.items():
        yield f"{name}=={version.partition('+')[0]}"


def strays(run: Run, remeasured: Run) -> tuple[Note, ...]:
    """What is not as it was, though it was made again: packages, interpreters, artifacts."""
    found = [
        fact
        for name, recorded in run.runtimes.items()
        if name in remeasured.runtimes
        for fact in _package_strays(name, recorded, remeasured.runtimes[name])
    ]
    rebuilt = [name for name, key in remeasured.artifacts.items() if run.artifacts.get(name, key) != key]
    if rebuilt:
        found.append(note("rebuilt-artifacts", names=tuple(rebuilt)))
    return tuple(found)


def _package_strays(name: str, recorded: RuntimeRecord, made: RuntimeRecord) -> Iterable[Note]:
    if recorded.python != made.python:
        yield note("base-python", runtime=name, before=recorded.python, after=made.python)
    other = [package for package, version in recorded.packages.items() if made.packages.get(package) != version]
    if other:
        yield note("base-packages", runtime=name, names=tuple(other))
