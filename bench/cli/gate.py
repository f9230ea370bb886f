"""`bench gate`: tells whether anything got slower, lost support or answers worse since a recorded run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    CacheFlag,
    FamilyFlag,
    JsonFlag,
    MatrixFlag,
    ModelFlag,
    OnlyFlag,
    OptionalFlag,
    QuietFlag,
    SkipFlag,
    VerboseFlag,
    cache_path,
    check_model,
    check_paths,
    matrix_path,
    print_json,
    with_progress,
)
from bench.cli.tables import console, plain_table, safe, safe_path
from bench.declare.patterns import MAX_THREADS
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.gating import Finished
    from bench.records import GateCell, GateRun

ORDER = 80
COLOURS = {
    **dict.fromkeys(("regression", "lost-support", "worse-answers"), "red"),
    **dict.fromkeys(("inconclusive", "warning"), "yellow"),
    "pass": "green",
}
MAX_ROWS = 40
"""How many rows the table shows at most; the others are only counted."""


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(gate)


def gate(
    baseline: Annotated[Path, typer.Option(help="The folder of the run to compare with.", metavar="RUN")],
    matrix: MatrixFlag = None,
    model: ModelFlag = None,
    family: FamilyFlag = None,
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    with_optional: OptionalFlag = False,
    budget_minutes: Annotated[
        float,
        typer.Option(
            min=0.01,
            help="Minutes to measure, without preparation; cells that are still undecided then are inconclusive.",
        ),
    ] = 40.0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_THREADS, help="Number of threads for the new version (default: as in the base)."),
    ] = None,
    in_sequence: Annotated[
        bool,
        typer.Option("--in-sequence", help="Run one process at a time, for a device that only one process can use."),
    ] = False,
    max_task_loss: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="POINTS",
            help="Loss on labelled samples that never fails a gate: points, of a perplexity percent.",
        ),
    ] = 0.5,
    trust_baseline: Annotated[
        bool,
        typer.Option(
            "--trust-baseline",
            help="Allow a baseline from elsewhere: list what it needs, install exact versions, run no code of it.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The gate's folder (default: reports/gate-<machine>-<time>).")
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
) -> int:
    """Tell whether anything got slower, lost support or answers worse since a recorded run, by the exit code."""
    from bench import gating
    from bench.gating.reports.github import ended

    check_model(model, family, matrix)
    check_paths(matrix, baseline, out, cache_dir)
    options = gating.Options(
        baseline=baseline,
        matrix=matrix_path(matrix),
        model=model,
        family=family,
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        threads=threads,
        budget_minutes=budget_minutes,
        in_sequence=in_sequence,
        max_task_loss=max_task_loss,
        out=out,
        with_optional=with_optional,
        trust_baseline=trust_baseline,
    )
    try:
        finished = with_progress(lambda progress: gating.run(options, progress), quiet=quiet, verbose=verbose)
    except BenchError as error:
        # Also where the gate could not be run: without an annotation, the page of the job shows an exit code only.
        if github:
            _annotate(ended(str(error)))
        raise
    _show(finished, github=github, as_json=as_json)
    # Up to `app.main`, which alone ends the process.
    return finished.run.exit_code


def _show(finished: Finished, *, github: bool, as_json: bool) -> None:
    """Print the table or the record on stdout, and write the annotations and the summary for GitHub."""
    from bench.gating import reports
    from bench.gating.reports.github import workflow_commands

    if as_json:
        print_json(finished.run)
    else:
        gate_table(finished.run, finished.files)
    if github:
        _annotate(workflow_commands(finished.run))
    # GitHub sets it for every step of a job, so the summary needs no flag.
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        reports.append_summary(finished.run, Path(summary))


def _annotate(commands: str) -> None:
    """Print annotations on stderr: GitHub reads them there too, and stdout may be JSON."""
    print(commands, end="", file=sys.stderr)  # noqa: T201


def gate_table(run: GateRun, files: Iterable[Path] = ()) -> None:
    """Print every cell with its change, what differs, the null control, the verdict, and the paths of the files."""
    from bench.gating import text

    cells = text.ordered(run.cells)
    shown = _shown(cells)
    table = plain_table("cell", "verdict", "change", "pairs", "detectable", "base → new", "details")
    for cell in shown:
        table.add_row(*_row(cell))
    out = console()
    if shown:
        out.print(table)
    names = {cell.cell for cell in shown}
    hidden = [cell for cell in cells if cell.cell not in names and cell.verdict not in text.ONE_SIDED]
    if hidden:
        out.print(f"not shown here, but in the files: {safe(text.counted(hidden))}")
    for line, _ in text.one_sided(cells):
        out.print(safe(line), highlight=False)
    if shown:
        out.print("")
    for name, value in _lines(run):
        out.print(f"{name}: {safe(value)}", highlight=False)
    out.print(f"[bold]{safe(run.verdict)}[/] ({text.counted(run.cells)})", highlight=False)
    for path in files:
        out.print(f"  {safe_path(path)}", soft_wrap=True, highlight=False)


def _shown(cells: Sequence[GateCell]) -> list[GateCell]:
    """The cells to show: of both sides, without those that were not compared or pass if there are too many."""
    from bench.gating import text

    cells = [cell for cell in cells if cell.verdict not in text.ONE_SIDED]
    if len(cells) <= MAX_ROWS:
        return cells
    compared = [cell for cell in cells if cell.verdict not in text.NOT_COMPARED]
    return compared if len(compared) <= MAX_ROWS else [cell for cell in compared if cell.verdict != "pass"][:MAX_ROWS]


def _row(cell: GateCell) -> tuple[str, ...]:
    from bench.gating import text
    from bench.report import numbers

    verdict = text.named(cell.verdict)
    return (
        safe(cell.cell),
        f"[{COLOURS.get(cell.verdict, 'dim')}]{verdict}[/]",
        numbers.change(cell.change),
        numbers.count(cell.pairs),
        text.detectable(cell),
        text.sides(cell),
        safe(text.explanation(cell)),
    )


def _lines(run: GateRun) -> Iterable[tuple[str, str]]:
    from bench.gating import text

    yield from (("differs", difference) for difference in run.differences)
    yield "null control", text.null_control(run)
    yield from (("note", note) for note in run.notes)
    yield "gate", text.about(run)
