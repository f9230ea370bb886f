"""`bench ops`: runs the operator tests of ONNX on every provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bench.cli.options import (
    CacheFlag,
    JsonFlag,
    MatrixFlag,
    QuietFlag,
    VerboseFlag,
    cache_path,
    check_paths,
    matrix_path,
    print_json,
    with_progress,
)
from bench.cli.tables import console, safe, safe_path

if TYPE_CHECKING:
    from bench.conformance import Finished

ORDER = 50
COLOURS = {
    "full": "green",
    "partial": "yellow",
    "coarse": "yellow",
    "wrong": "magenta",
    "crashed": "red",
    "timeout": "red",
}


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(ops)


def ops(
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Only this provider; may be repeated (default: the matrix's)."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only cases that match this, 'test_conv*'.")] = None,
    matrix: MatrixFlag = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: reports/ops-<machine>-<time>).")] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install the runtimes of named providers that are not in the matrix.")
    ] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
) -> None:
    """Run ONNX's own operator tests on every provider: right or wrong, and where each one ran."""
    from bench import conformance

    check_paths(matrix, out, cache_dir)
    options = conformance.Options(
        matrix=matrix_path(matrix),
        cache=cache_path(cache_dir),
        reports=Path("reports"),
        providers=tuple(provider or ()),
        only=tuple(only or ()),
        out=out,
        install=install,
    )
    finished = with_progress(lambda progress: conformance.run(options, progress), quiet=quiet, verbose=verbose)
    if as_json:
        print_json(conformance.as_json(finished))
    else:
        operators_table(finished)


def operators_table(finished: Finished) -> None:
    """Print the verdicts of each provider's cases, then the paths of the files."""
    from bench.conformance import summary
    from bench.conformance.verdicts import VERDICTS

    summaries = summary.summaries(finished.run, finished.outcomes)
    # There are twelve verdicts; a column that no case fills would only widen the table.
    verdicts = [verdict for verdict in VERDICTS if any(verdict in provider.counts for provider in summaries)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("provider", "onnxruntime", "cases"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        table.add_column(f"[{COLOURS.get(verdict, 'default')}]{safe(verdict)}[/]", justify="right")
    table.add_column("operators wholly on it", justify="right")
    for provider in summaries:
        kind = summary.imitated(provider.target)
        name = f"{provider.target.name} ({kind})" if kind else provider.target.name
        counts = [str(provider.counts.get(verdict, "–")) for verdict in verdicts]
        table.add_row(
            safe(name),
            safe(provider.onnxruntime or "–"),
            str(provider.cases),
            *counts,
            f"{provider.whole} of {provider.operators}",
        )
    out = console()
    out.print(table)
    for target in finished.run.targets:
        if not target.tried:
            reason = "; ".join(filter(None, (target.facts.message, target.facts.remedy)))
            out.print(f"{safe(target.name)} is unavailable: {safe(reason)}", highlight=False)
    for path in finished.files:
        out.print(f"  {safe_path(path)}", soft_wrap=True, highlight=False)
