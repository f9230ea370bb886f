"""Verbs and flags in, exit codes out; nothing else exits."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import __version__
from bench.cli import judging
from bench.cli.options import (
    CacheFlag,
    FormatFlag,
    JsonFlag,
    MatrixFlag,
    OnlyFlag,
    SkipFlag,
    cache_path,
    known_formats,
    matrix_path,
    print_json,
    with_progress,
)
from bench.errors import BenchError, Interrupted, UsageError

if TYPE_CHECKING:
    from bench.pipeline import Finished

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmark and compatibility matrix for ONNX Runtime: what really runs, how fast, and what that is worth.",
)
cache_app = typer.Typer(no_args_is_help=True, help="What the cache holds: artifacts and runtimes.")
app.add_typer(cache_app, name="cache")
judging.add_to(app)
MOST_MINUTES = 1440


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; the process ends with DESIGN's exit codes: 0 to 4, or 130."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except BenchError as error:
        sys.exit(_say(error))
    except KeyboardInterrupt:
        sys.exit(_say(Interrupted("interrupted")))
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the outer border; what is not the user's mistake is raised again
        sys.exit(_usage(error))
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: BenchError) -> int:
    print(f"bench: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def _usage(error: Exception) -> int:
    """Typer's own complaints in our words; anything else is a fault of ours and keeps its traceback."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    return _say(UsageError(message().rstrip("."), "see `bench --help`"))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"touchstone-bench {__version__}")  # noqa: T201
        raise typer.Exit


@app.command()
def plan(matrix: MatrixFlag = None, only: OnlyFlag = None, skip: SkipFlag = None, as_json: JsonFlag = False) -> None:
    """Print the cells, and why some will not run; runs nothing."""
    from bench.cli.tables import plan_table
    from bench.declare.matrix import read
    from bench.declare.plan import plan as make

    declared = read(matrix_path(matrix))
    cells = make(declared, only or (), skip or ())
    if as_json:
        print_json(cells)
    else:
        missing = {name: runtime.unavailable for name, runtime in declared.runtimes.items() if runtime.unavailable}
        plan_table(cells, missing)


@app.command()
def run(
    matrix: MatrixFlag = None,
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    budget: Annotated[str | None, typer.Option(help="quick, standard or thorough (default: the matrix's).")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of every target.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A run to go on with: only what is missing is measured.")] = None,
    sustained: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Then run each measured cell on end for so long, minute by minute."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: reports/<machine>-<time>).")] = None,
    formats: FormatFlag = "html,csv,markdown",
    cache_dir: CacheFlag = None,
) -> None:
    """Prepare, measure, judge and report every cell of the matrix."""
    from bench import pipeline

    if resume and (only or skip or budget or threads or out or sustained is not None):
        hint = "leave --only, --skip, --budget, --threads, --sustained and --out out"
        raise UsageError("--resume goes on with a run as it was begun", hint)
    if sustained is not None and not 0 < sustained <= MOST_MINUTES:
        hint = f"give more than 0 and at most {MOST_MINUTES}, a day: --sustained 10"
        raise UsageError(f"--sustained {sustained:g} is no number of minutes", hint)
    # A CI job that is cancelled is told by SIGTERM: it keeps what was measured, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = pipeline.Options(
        matrix=matrix_path(matrix),
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        budget=budget,
        threads=threads,
        out=out,
        resume=resume,
        formats=known_formats(formats),
        sustained_minutes=sustained,
    )
    finished = with_progress(lambda progress: pipeline.run(options, progress))
    _print_finished(finished)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    formats: FormatFlag = "html,csv,markdown",
    out: Annotated[Path | None, typer.Option(help="Where to write (default: the run, or here for several).")] = None,
) -> None:
    """Render one or more runs again from what they observed."""
    from bench import pipeline

    if out is None:
        out = runs[0] if len(runs) == 1 else Path()
    _print_finished(pipeline.report(runs, known_formats(formats), out))


@app.command()
def doctor(
    matrix: MatrixFlag = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", help="Only this target or known provider; may be given again.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Make the runtimes that are missing first.")] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> None:
    """The machine's fingerprint, and every target of the matrix and every other known provider tried in a worker."""
    from bench.cli.tables_doctor import doctor_tables
    from bench.declare.matrix import read
    from bench.doctor import examine

    checked, cache, only = read(matrix_path(matrix)), cache_path(cache_dir), provider or ()
    found = with_progress(lambda progress: examine(checked, cache, progress, install=install, only=only))
    if as_json:
        print_json(found)
    else:
        doctor_tables(found)


@app.command()
def ops(
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Only this provider; may be given again (default: the matrix's)."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only cases named like this, 'test_conv*'.")] = None,
    matrix: MatrixFlag = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: reports/ops-<machine>-<time>).")] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Make the runtimes of named providers that the matrix does not hold.")
    ] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> None:
    """ONNX's own operator tests on every provider: right or wrong, and where they really ran."""
    from bench import conformance

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = conformance.Options(
        matrix=matrix_path(matrix),
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        providers=tuple(provider or ()),
        only=tuple(only or ()),
        out=out,
        install=install,
    )
    finished = with_progress(lambda progress: conformance.run(options, progress))
    if as_json:
        print_json(conformance.as_json(finished))
    else:
        from bench.cli.tables_ops import operators_table

        operators_table(finished)


@cache_app.command("list")
def cache_list(as_json: JsonFlag = False, cache_dir: CacheFlag = None) -> None:
    """Every artifact, the last used first."""
    from bench.cli.tables import cache_table
    from bench.prepare.artifacts import Artifacts

    root = cache_path(cache_dir)
    entries = Artifacts(root / "artifacts").entries()
    if as_json:
        print_json(entries)
    else:
        cache_table(entries, root)


@cache_app.command("verify")
def cache_verify(as_json: JsonFlag = False, cache_dir: CacheFlag = None) -> None:
    """Hash every artifact's files again; damaged ones are named, and exit with 2."""
    from bench.prepare.artifacts import Artifacts

    damaged = Artifacts(cache_path(cache_dir) / "artifacts").verify()
    if as_json:
        print_json(damaged)
    elif not damaged:
        print("every artifact is as it was made")  # noqa: T201
    if damaged:
        keys = "; ".join(f"{key}: {', '.join(files)}" for key, files in damaged.items())
        raise BenchError(f"damaged artifacts: {keys}", "remove them with: bench cache prune --damaged")


@cache_app.command("prune")
def cache_prune(
    unused_days: Annotated[float, typer.Option(min=0, help="Remove what was not used for so many days.")] = 30.0,
    damaged: Annotated[bool, typer.Option("--damaged", help="Remove damaged artifacts instead.")] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> None:
    """Remove artifacts that were not used lately; they are built again when they are wanted."""
    from bench.prepare.artifacts import Artifacts

    artifacts = Artifacts(cache_path(cache_dir) / "artifacts")
    freed = {key: artifacts.remove(key) for key in artifacts.verify()} if damaged else artifacts.prune(unused_days)
    if as_json:
        print_json(freed)
    else:
        print(f"removed {len(freed)} artifacts, {sum(freed.values()) / 2**20:.1f} MiB")  # noqa: T201


def _print_finished(finished: Finished) -> None:
    from bench.cli.tables import finished_table

    finished_table(finished)
