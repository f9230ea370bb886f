"""The verbs that judge runs against one another: each is a function here, and a line at the foot of the file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    CacheFlag,
    JsonFlag,
    MatrixFlag,
    OnlyFlag,
    SkipFlag,
    cache_path,
    matrix_path,
    print_json,
    with_progress,
)
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.comparison.history import History
    from bench.gating import Finished
    from bench.progress import Progress


def add_to(app: typer.Typer) -> None:
    """Make the verbs of this file the command line's."""
    for verb in VERBS:
        app.command()(verb)


def compare(
    base: Annotated[Path, typer.Argument(help="The folder of the run to compare with.", metavar="BASE")],
    new: Annotated[Path, typer.Argument(help="The folder of the other run.", metavar="NEW")],
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    out: Annotated[Path | None, typer.Option(help="Write it too: FILE.md or FILE.json.", metavar="FILE")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Two stored runs side by side: verdicts, speeds, and what may be concluded; `gate` is the one that decides."""
    from bench.comparison import stored

    stored.known_output(out)
    found = stored.compare(base, new, only or (), skip or ())
    if out is not None:
        stored.write_comparison(found, out)
    if as_json:
        from bench.comparison.compare_files import document

        print_json(document(found))
    else:
        from bench.cli.tables_compare import comparison_table

        comparison_table(found)


def history(
    folder: Annotated[Path, typer.Argument(help="A folder that holds runs, as reports/.", metavar="FOLDER")],
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the page and the table (default: FOLDER).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Every cell over the runs of a folder: history.html, history.csv, and advisory change points."""
    from bench.comparison import stored

    def work(progress: Progress) -> tuple[History, tuple[Path, ...]]:
        followed = stored.history(folder, progress, only or (), skip or ())
        return followed, stored.write_history(followed, out or folder, progress)

    found, files = with_progress(work)
    if as_json:
        from bench.comparison.compare_files import history_document

        print_json(history_document(found))
    else:
        from bench.cli.tables_history import history_table

        history_table(found, files)


def gate(
    baseline: Annotated[Path, typer.Option(help="The folder of the run to judge against.", metavar="RUN")],
    matrix: MatrixFlag = None,
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    budget_minutes: Annotated[
        float,
        typer.Option(
            min=0.01, help="Minutes of measuring, after everything is prepared; what is open then is inconclusive."
        ),
    ] = 40.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the new side (default: the base's).")] = None,
    in_sequence: Annotated[
        bool, typer.Option("--in-sequence", help="One process at a time: for a device that only one can use.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The gate's folder (default: reports/gate-<machine>-<time>).")
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> int:
    """Whether anything got slower or lost support against a recorded run; the exit code is the answer."""
    from bench import gating
    from bench.gating.reports.github import ended

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = gating.Options(
        baseline=baseline,
        matrix=matrix_path(matrix),
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        threads=threads,
        budget_minutes=budget_minutes,
        in_sequence=in_sequence,
        out=out,
    )
    try:
        finished = with_progress(lambda progress: gating.run(options, progress))
    except BenchError as error:
        if github:
            _annotate(ended(str(error)))
        raise
    _tell(finished, github=github, as_json=as_json)
    return finished.run.exit_code


def _tell(finished: Finished, *, github: bool, as_json: bool) -> None:
    """The table or the record on stdout, and what GitHub shows of a job."""
    from bench.cli.tables_gate import gate_table
    from bench.gating import reports
    from bench.gating.reports.github import workflow_commands

    if as_json:
        print_json(finished.run)
    else:
        gate_table(finished.run, finished.files)
    if github:
        _annotate(workflow_commands(finished.run))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        reports.append_summary(finished.run, Path(summary))


def _annotate(commands: str) -> None:
    """On stderr, where GitHub reads them as well: stdout may be JSON."""
    print(commands, end="", file=sys.stderr)  # noqa: T201


VERBS: tuple[Callable[..., int | None], ...] = (compare, history, gate)
