"""`bench run`: measures a matrix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    CacheFlag,
    FamilyFlag,
    FormatFlag,
    MatrixFlag,
    MinutesFlag,
    ModelFlag,
    OnlyFlag,
    OptionalFlag,
    QuietFlag,
    RankFlag,
    SkipFlag,
    VerboseFlag,
    cache_path,
    check_model,
    check_paths,
    known_formats,
    matrix_path,
    with_progress,
)
from bench.cli.tables import results_so_far, run_table
from bench.declare.patterns import MAX_THREADS
from bench.default_paths import CACHE_VARIABLE
from bench.errors import UsageError

ORDER = 20


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(run)


def run(
    matrix: MatrixFlag = None,
    model: ModelFlag = None,
    family: FamilyFlag = None,
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    with_optional: OptionalFlag = False,
    budget: Annotated[str | None, typer.Option(help="quick, standard or thorough (default: the matrix's).")] = None,
    minutes: MinutesFlag = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=MAX_THREADS, help="Number of threads for every target.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run: only what is missing is measured.")] = None,
    sustained: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", help="After the rounds, run each measured cell continuously for this many minutes."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: reports/<machine>-<time>).")] = None,
    formats: FormatFlag = "html,csv,markdown",
    rank_approximate: RankFlag = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Where the machine is busy, wait until it is quiet, for at most 30 minutes.")
    ] = False,
    wait_minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="The same as --wait, for at most this long.")
    ] = None,
    cache_dir: CacheFlag = None,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
) -> None:
    """Prepare, measure, judge and report every cell (model, precision, target, workload) of the matrix."""
    from bench import pipeline
    from bench.prepare.quiet_machine import MOST_WAIT_MINUTES

    # A run is continued as its record says: rounds with other settings could not be put together with the earlier ones.
    settings = (model, family, only, skip, with_optional, budget, threads, out, sustained)
    if resume and any(setting not in (None, False, []) for setting in settings):
        hint = (
            "leave --model, --family, --only, --skip, --with-optional, --budget, --threads, --sustained and --out out"
        )
        raise UsageError("--resume continues a run with its original options", hint)
    check_model(model, family, matrix)
    check_paths(matrix, out, resume, cache_dir)
    options = pipeline.Options(
        matrix=matrix_path(matrix),
        model=model,
        family=family,
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        budget=budget,
        minutes=minutes,
        threads=threads,
        out=out,
        resume=resume,
        formats=known_formats(formats),
        sustained_minutes=sustained,
        wait_minutes=MOST_WAIT_MINUTES if wait and wait_minutes is None else wait_minutes,
        rank_approximate=rank_approximate,
        with_optional=with_optional,
        typed_cache=None if cache_dir is None or os.environ.get(CACHE_VARIABLE) == str(cache_dir) else cache_dir,
    )
    finished = with_progress(
        lambda progress: pipeline.run(options, progress), quiet=quiet, verbose=verbose, draw=results_so_far
    )
    run_table(finished, rank_approximate=rank_approximate)
