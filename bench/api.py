"""The public Python interface; `import bench` gives every name of it.

No function prints or ends the process. A mistake that the user can correct raises a `BenchError`, whose text names the
remedy. Paths may be strings. The defaults are those of the command line: the matrix is `matrix.toml` in the current
folder, else the built-in one; the cache is `BENCH_CACHE_DIR`, else the platform's cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.declare import matrix as matrices
from bench.declare.matrix import Matrix
from bench.declare.plan import plan as plan_cells
from bench.default_paths import CACHE_VARIABLE, cache_path, matrix_path
from bench.errors import BenchError, UsageError
from bench.pipeline import FORMATS, RunResult
from bench.progress import Progress, Quiet
from bench.records import Cell

if TYPE_CHECKING:
    import pandas as pd

    from bench.comparison.model import Comparison
    from bench.gating import Finished as GateResult

__all__ = ["BenchError", "RunResult", "compare", "gate", "load_matrix", "plan", "read_run", "run", "to_frame"]

AnyPath = str | os.PathLike[str]
AnyMatrix = Matrix | AnyPath | None
AnyRun = RunResult | AnyPath
Globs = str | Sequence[str]
"""One glob over the ids of cells, or several: 'minilm/int8/*'."""
REPORTS = Path("reports")


def load_matrix(path: AnyPath | None = None) -> Matrix:
    """Read and check a matrix file.

    Raises `MatrixError`, which names the place of the mistake and the nearest valid word.
    """
    return matrices.read(matrix_path(Path(path) if path is not None else None))


def plan(
    matrix: AnyMatrix = None,
    *,
    model: AnyPath | None = None,
    family: str | None = None,
    only: Globs = (),
    skip: Globs = (),
    with_optional: bool = False,
) -> tuple[Cell, ...]:
    """Return the cells of a matrix on this machine, in the order in which they are measured; nothing runs.

    `model` is an ONNX file, a model's folder, a .gguf file, or a name on the hub: a small matrix is made for it.
    `family` says what kind of model it is, where that cannot be seen. `only` keeps the cells that any of its globs
    matches, `skip` leaves cells out, and `with_optional` adds the optional ones. `Cell.excluded` says why a cell will
    not run, and is None where it will. Raises `MatrixError`, and
    `UsageError` for a glob that matches nothing.
    """
    from bench.prepare.presence import absent_targets, hardware

    if model is not None:
        from bench.prepare.drafts import drafted_matrix

        _only_one(matrix, model)
        declared = drafted_matrix(str(model), family or "", _cache(None))
    else:
        declared = matrix if isinstance(matrix, Matrix) else load_matrix(matrix)
    absent = absent_targets(declared, hardware())
    return plan_cells(declared, _globs(only), _globs(skip), with_optional=with_optional, absent=absent)


def run(
    matrix: AnyMatrix = None,
    *,
    model: AnyPath | None = None,
    family: str | None = None,
    only: Globs = (),
    skip: Globs = (),
    with_optional: bool = False,
    budget: str | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    sustained_minutes: float | None = None,
    out: AnyPath | None = None,
    formats: Sequence[str] = FORMATS,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Prepare, measure and judge the cells of a matrix, and write the report; takes minutes to hours.

    `model`, `family` and `with_optional` are those of `plan`. `budget` is 'quick', 'standard' or 'thorough' (default:
    the matrix's).
    `minutes` is the time for measuring, after everything is prepared (default: the matrix's, else the budget's).
    `threads` holds for every target (default: the matrix's, else the physical cores). `sustained_minutes` runs each
    measured cell continuously for so long afterwards. `out` is the run's folder, which must not hold a run (default:
    `reports/<machine>-<time>`). `progress` receives messages about the current step; without it nothing is printed.

    A cell that fails is an outcome, not an exception. Raises `BenchError`: `MatrixError` and `UsageError` before
    anything is measured, `NothingMeasuredError` where no cell could be measured, `DiskError` where the disk is full,
    and `Interrupted` after Ctrl-C. What was measured stays in the folder.
    """
    from bench import pipeline
    from bench.report.formats import known

    _only_one(matrix, model)
    options = pipeline.Options(
        matrix=_matrix_file(matrix),
        model=str(model) if model is not None else None,
        family=family,
        cache=_cache(cache),
        reports=REPORTS,
        only=_globs(only),
        skip=_globs(skip),
        budget=budget,
        minutes=minutes,
        threads=threads,
        out=Path(out) if out is not None else None,
        formats=known(",".join(formats)) if formats else (),
        sustained_minutes=sustained_minutes,
        with_optional=with_optional,
    )
    return pipeline.run(options, progress or Quiet())


def read_run(folder: AnyPath) -> RunResult:
    """Read a recorded run, and judge its observations with the rules of this version.

    Raises `RunFolderError` for a folder that holds no run, a damaged one, or one of another schema.
    """
    from bench import pipeline

    return pipeline.read(Path(folder))


def to_frame(runs: AnyRun | Sequence[AnyRun], *, drop_empty: bool = False) -> pd.DataFrame:
    """Return the cells of one or more runs as a table: one row a cell, in the order of the plan; one column a value.

    The columns are those of results.csv. Their names hold their units: `_ms` milliseconds, `_bytes` bytes, `_j`
    joules, `_tok_s` tokens a second. `NAME_low` and `NAME_high` are the ends of the 95 % confidence interval of
    `NAME`. The types are the pandas types with missing values: `Int64`, `Float64`, `boolean`, `string`, and
    `category` for names; `status` is an ordered category. With `drop_empty`, columns without any value are left out.

    Raises `RunFolderError` for a folder that cannot be read.
    """
    # Imported late: pandas is slow to import, and only tables need it.
    from bench.report.frame import frame_of

    # A text is a sequence too, of its letters, but here it is one folder.
    listed = [runs] if isinstance(runs, RunResult | str | os.PathLike) else runs
    results = [entry if isinstance(entry, RunResult) else read_run(entry) for entry in listed]
    return frame_of([(result.run, result.outcomes) for result in results], drop_empty=drop_empty)


def compare(base: AnyRun, new: AnyRun, *, only: Globs = (), skip: Globs = ()) -> Comparison:
    """Compare two recorded runs cell by cell: changed verdicts and speeds, other differences, and conclusions.

    Changes of speed are relative: 0.05 is 5 % slower. Times are compared only between runs of one machine. It
    gives no pass or fail: `gate` does. Raises `RunFolderError`, `UsageError` for a glob that matches nothing, and
    `NothingToJudgeError` where the runs have no cell in common.
    """
    from bench.comparison import stored

    return stored.compare(_folder(base), _folder(new), _globs(only), _globs(skip))


def gate(
    baseline: AnyRun,
    matrix: AnyMatrix = None,
    *,
    model: AnyPath | None = None,
    family: str | None = None,
    only: Globs = (),
    skip: Globs = (),
    with_optional: bool = False,
    threads: int | None = None,
    budget_minutes: float = 40.0,
    in_sequence: bool = False,
    max_task_loss: float = 0.5,
    trust_baseline: bool = False,
    out: AnyPath | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> GateResult:
    """Measure a matrix in pairs with a recorded run: has a cell become slower, lost support, or worse answers?

    The result's `run.exit_code` is 0 for a pass, 1 for a regression, 3 for an inconclusive result and 4 where nothing
    can be judged; `run.verdict` is the verdict as a sentence, `run.cells` holds each cell. `budget_minutes` is for
    measuring, after everything is prepared. `in_sequence` starts one process at a time, for a device that only one
    process can use. `max_task_loss` is the loss on labelled samples that never fails a gate, in points of the metric,
    of a perplexity in percent. `trust_baseline` allows a baseline that you did not make on this machine to need
    packages, in exact versions, that the matrix does not name.

    Raises `BaselineError` where the baseline is missing, has no raw data or is of another machine, or needs more than
    is allowed, and the errors of `run`.
    """
    from bench import gating

    _only_one(matrix, model)
    options = gating.Options(
        baseline=_folder(baseline),
        matrix=_matrix_file(matrix),
        model=str(model) if model is not None else None,
        family=family,
        cache=_cache(cache),
        reports=REPORTS,
        only=_globs(only),
        skip=_globs(skip),
        threads=threads,
        budget_minutes=budget_minutes,
        in_sequence=in_sequence,
        max_task_loss=max_task_loss,
        with_optional=with_optional,
        trust_baseline=trust_baseline,
        out=Path(out) if out is not None else None,
    )
    return gating.run(options, progress or Quiet())


def _only_one(matrix: AnyMatrix, model: AnyPath | None) -> None:
    if model is not None and matrix is not None:
        raise UsageError("a model makes a matrix of its own", "give either matrix or model")


def _globs(globs: Globs) -> tuple[str, ...]:
    return (globs,) if isinstance(globs, str) else tuple(globs)


def _folder(run: AnyRun) -> Path:
    return run.folder if isinstance(run, RunResult) else Path(run)


def _cache(named: AnyPath | None) -> Path:
    # An empty variable is as good as none: as a path it would be the current folder.
    named = named if named is not None else os.environ.get(CACHE_VARIABLE) or None
    return cache_path(Path(named) if named is not None else None)


def _matrix_file(matrix: AnyMatrix) -> Path:
    """The file of a matrix. A run records the text of that file, so a matrix that differs from it is an error."""
    if not isinstance(matrix, Matrix):
        return matrix_path(Path(matrix) if matrix is not None else None)
    path = Path(matrix.place)
    # The file may have changed since the matrix was loaded.
    if matrices.read(path) != matrix:
        hint = "change the file and load it again, or choose cells with only and skip"
        raise UsageError(f"the matrix is not what {path} says", hint)
    return path
