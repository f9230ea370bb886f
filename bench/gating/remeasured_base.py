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
from bench.records import Run, RuntimeRecord


class Baseline(Struct, frozen=True):
    """What a recorded run is made again from; `reason` says why it cannot be, and then there is no matrix."""

    run: Run
    matrix: Matrix | None
    recorded: RecordedArtifacts
    code: Path | None = None
    """The worker's code that the run measured with; None where today's must do."""
    reason: str = ""
    notes: tuple[str, ...] = ()


def recreate(run: Run, cache: Path) -> Baseline:
    """Nothing is installed or built yet; what cannot be as it was is noted."""
    try:
        matrix = matrices.parse(run.matrix_text, str(Path(run.matrix_path).expanduser()))
    except MatrixError as error:
        return Baseline(
            run, None, recorded_artifacts(run), reason=f"its matrix cannot be read any more: {error.message}"
        )
    locked = {name: _locked(runtime, run.runtimes.get(name), cache) for name, runtime in matrix.runtimes.items()}
    code = worker_code.recorded(cache, run.code)
    notes = () if code or run.code == worker_code.stage(cache).name else (_other_code(run),)
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


def _other_code(run: Run) -> str:
    """A sentence for readers: a change of the harness itself cannot be seen then."""
    why = f"({run.code}) is not in the cache, or speaks otherwise" if run.code else "is not on record"
    return f"the base's own worker code {why}: both sides run under today's"


def strays(run: Run, again: Run) -> tuple[str, ...]:
    """What is not as it was, though it was made again: packages, interpreters, artifacts."""
    found = [
        line
        for name, recorded in run.runtimes.items()
        if name in again.runtimes
        for line in _package_strays(name, recorded, again.runtimes[name])
    ]
    rebuilt = [name for name, key in again.artifacts.items() if run.artifacts.get(name, key) != key]
    if rebuilt:
        found.append(f"built again, by other tools or code than the base's: {', '.join(rebuilt)}")
    return tuple(found)


def _package_strays(name: str, recorded: RuntimeRecord, made: RuntimeRecord) -> Iterable[str]:
    if recorded.python != made.python:
        yield f"runtime '{name}' of the base has Python {made.python}, and had {recorded.python}"
    other = [package for package, version in recorded.packages.items() if made.packages.get(package) != version]
    if other:
        yield f"runtime '{name}' of the base has other versions than it had: {', '.join(other)}"
