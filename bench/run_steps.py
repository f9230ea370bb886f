"""Holds the steps that a run and a gate share: create the record, try the targets and prepare what the cells need."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from bench import __version__, privacy, store
from bench.commands import IN_PACKAGE, PACKAGE, path_of, shown_path
from bench.declare import hidden_values, registry
from bench.declare import matrix as matrices
from bench.declare.budgets import MOST_MINUTES
from bench.declare.hidden_values import unsealed
from bench.declare.matrix import Matrix
from bench.declare.plan import Plan, whole_plan
from bench.errors import BenchError, UsageError
from bench.prepare import own_runs
from bench.prepare.value_seals import sealing
from bench.progress import Progress
from bench.records import SCHEMA, Cell, Effort, Machine, Note, Run, TargetFacts, TaskReference

if TYPE_CHECKING:
    from bench.prepare.artifacts import RecordedArtifacts
    from bench.prepare.builds import Prepared

SCORES = "scores.json"
"""The file of a labelled set that holds the scores of the reference."""
COUNTS = ("counted-samples", "guessed-samples")
"""The notes of a reference that say how many samples a call counts."""


def new_run(
    matrix: Matrix,
    cells: tuple[Cell, ...],
    effort: Effort,
    threads: int,
    machine: Machine,
    name: str,
    typed: str,
    cache: Path,
) -> Run:
    """The record of a run that is about to begin; the steps that prepare it fill in the rest."""
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
        matrix_text=hidden_values.hidden(matrix.text, _seal(matrix, cache)),
        cells=cells,
        machine=machine,
        runtimes={},
        artifacts={},
        weights={},
    )


def checked_minutes(flag: str, minutes: float | None) -> float | None:
    """The minutes of an option. Raises `UsageError` for what is no time: 0, negative, infinite, NaN, over a day."""
    # Written so that nan does not pass.
    if minutes is not None and not 0 < minutes <= MOST_MINUTES:
        hint = f"give more than 0 and at most {MOST_MINUTES}, a day: {flag} 10"
        raise UsageError(f"{flag} {minutes:g} is not a number of minutes", hint)
    return minutes


def declared(matrix: Path, model: str | None, family: str | None, cache: Path) -> Matrix:
    """The matrix of a file, or the one that is drafted for a model. Raises `BenchError`."""
    registry.remember_in(cache)
    if model is None:
        return matrices.read(matrix)
    from bench.prepare.drafts import drafted_matrix

    return drafted_matrix(model, family or "", cache)


def know_private(matrix: Matrix, cache: Path, folder: Path) -> None:
    """Tell what must not be in a run's files: the paths of its folders, and the values of the matrix's variables."""
    place = Path(matrix.place).expanduser()
    # A matrix that was drafted for a model has a sentence as its place, and its paths start at the current folder.
    root = place.absolute().parent if place.is_file() else Path.cwd()
    folders = {"RUN": folder, "CACHE": cache, "MATRIX": root, IN_PACKAGE: PACKAGE}
    # Of a system's Python it is a folder such as /usr, which names nobody.
    if sys.prefix != sys.base_prefix:
        folders["VENV"] = Path(sys.prefix)
    privacy.know(folders, matrix.text, hidden_values.variables(matrix))


def _seal(matrix: Matrix, cache: Path) -> hidden_values.Seal:
    # Most matrices set no variable, and need no key in the cache.
    return sealing(cache) if any(t.provider and t.provider.environment for t in matrix.targets.values()) else unsealed


def with_hidden_values(stored: Matrix, record: Run, cache: Path, current: Matrix | None = None) -> Matrix:
    """The matrix of a stored run with the values that are not in it: those of `current`, else of its file, else of the
    process. Raises `MatrixError` for a value that none of them has.
    """
    if current is None:
        # The file may be gone, or be another one by now.
        with contextlib.suppress(BenchError):
            current = matrices.read(path_of(record.matrix_path))
    targets = {cell.target for cell in record.cells}
    return hidden_values.restored(stored, current, os.environ, targets, _seal(stored, cache))


def planned_here(
    matrix: Matrix, machine: Machine, only: Sequence[str], skip: Sequence[str], *, with_optional: bool = False
) -> Plan:
    """The plan of a matrix on this machine. Raises `MatrixError` and `UsageError`."""
    from bench.prepare.presence import absent_targets, hardware_of

    absent = absent_targets(matrix, hardware_of(machine))
    return whole_plan(matrix, only, skip, with_optional=with_optional, absent=absent)


def not_here(matrix: Matrix, machine: Machine, plan: Plan) -> dict[str, TargetFacts]:
    """The facts of the targets whose cells are not in a plan because this machine lacks them, for its report."""
    # Imported late: `bench report` needs no probe.
    from bench.prepare import probe

    planned = {cell.target for cell in plan.cells}
    left_out = dict.fromkeys(cell.target for cell in plan.left_out)
    return probe.not_here(matrix, machine, [name for name in left_out if name not in planned])


def prepare(
    matrix: Matrix,
    record: Run,
    cache: Path,
    folder: Path,
    progress: Progress,
    code: Path | None = None,
    recorded: RecordedArtifacts | None = None,
    *,
    is_own: bool = True,
) -> tuple[Prepared, Run]:
    """Try every target, make what the cells need, and write all that to `run.json`.

    `code` is the folder of the worker's code, and `recorded` names artifacts to use, both of an earlier run. `is_own`
    says that the matrix is the user's; a gate's base may have somebody else's, and is not marked as an own run.
    """
    # Imported late: `bench report` needs neither.
    from bench.prepare import builds
    from bench.prepare.probe import new_targets

    logs = folder / store.LOGS
    planned = {cell.target for cell in record.cells}
    lacking = {name: facts for name, facts in record.targets.items() if name not in planned}
    targets = new_targets(matrix, record.machine, cache, logs, progress, code, record.effort.minutes)
    try:
        prepared = builds.prepare(matrix, record.cells, targets, cache, logs, progress, recorded)
    finally:
        # Also after Ctrl-C: a run that ends early must still show what each target was.
        runtimes = {name: environment.record for name, environment in targets.pool.environments.items()}
        known = lacking | targets.facts
        facts = {target: known[target] for target in matrix.targets if target in known}
        notes = (*record.cache_notes, *targets.pool.check.notes)
        record = replace(record, targets=facts, runtimes=runtimes, cache_notes=notes)
        save(folder, record, cache, is_own=is_own)
    # A resumed run keeps what is recorded of a model that cannot be prepared any more.
    artifacts = {name: artifact.record.key for name, artifact in prepared.artifacts.items()}
    references = {f"{m}/{workload}": reference.record.key for (m, workload), reference in prepared.references.items()}
    record = replace(
        record,
        cells=tuple(_counted(cell, prepared) for cell in record.cells),
        artifacts=record.artifacts | artifacts,
        weights=record.weights | {name: source.weights for name, source in prepared.sources.items()},
        source_digests=record.source_digests | {name: source.digest for name, source in prepared.sources.items()},
        references=record.references | references,
        build_notes=record.build_notes | _build_notes(prepared),
        tasks=record.tasks | _tasks(prepared),
        code=prepared.code.name,
    )
    save(folder, record, cache, is_own=is_own)
    return prepared, record


def save(folder: Path, record: Run, cache: Path, *, is_own: bool) -> None:
    """Write `run.json`, and mark the run before as one of this user: only such a run is resumed."""
    # First, so that a process that is killed between the two leaves no run without its mark.
    if is_own:
        own_runs.mark(record, cache)
    store.save(folder, record)


def _counted(cell: Cell, prepared: Prepared) -> Cell:
    """The cell with the rate of the samples that a call was fed, where only the model's file shows them."""
    reference = prepared.references.get((cell.model, cell.workload))
    counts = (
        note.values.get("samples") for note in (reference.record.notes if reference else ()) if note.kind in COUNTS
    )
    samples = next((count for count in counts if isinstance(count, int)), None)
    if samples is None or "samples" not in cell.rates:
        return cell
    return replace(cell, rates=cell.rates | {"samples": float(samples)})


def _tasks(prepared: Prepared) -> dict[str, TaskReference]:
    """By `model/workload`: the scores of the FP32 reference on the labelled samples."""
    return {
        f"{model}/{workload}": msgspec.json.decode((made.folder / SCORES).read_bytes(), type=TaskReference)
        for (model, workload), made in prepared.labelled.items()
    }


def _build_notes(prepared: Prepared) -> dict[str, tuple[Note, ...]]:
    """By key, the notes of the artifacts and references that have some."""
    built = (*prepared.artifacts.values(), *prepared.references.values())
    return {artifact.record.key: artifact.record.notes for artifact in built if artifact.record.notes}


def all_cores(machine: Machine) -> int:
    """The number of usable physical cores: a second thread on a core slows matrix products down more than it helps."""
    # Rounded down: a container's quota may leave 1.5 cores, which two threads do not fit into.
    return max(1, int(min(machine.cpu.physical_cores, machine.cpu.usable_cores)))


def memory_limit(matrix: Matrix, machine: Machine) -> int:
    """The memory limit of a worker in bytes: the matrix's, else nine tenths of the machine's memory."""
    limit = matrix.measure.memory_limit_mb
    # A worker that takes all memory would make the kernel end other processes, this one too.
    return limit * 2**20 if limit else machine.memory_bytes * 9 // 10
