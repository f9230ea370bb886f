"""`bench history`: shows every cell over the runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JsonFlag, OnlyFlag, QuietFlag, SkipFlag, print_json, with_progress
from bench.cli.tables import TONES, console, plain_table, safe, safe_path

if TYPE_CHECKING:
    from bench.comparison.history import History
    from bench.progress import Progress

ORDER = 70
HEADINGS = ("cell", "verdict", "last, ms", "speedup over control", "change from the previous run", "summary")


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(history)


def history(
    folder: Annotated[Path, typer.Argument(help="A folder with runs, such as reports/.", metavar="FOLDER")],
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the page and the table (default: FOLDER).")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show every cell over the runs of a folder: history.html, history.csv, advisory change points."""
    from bench.comparison import stored

    def work(progress: Progress) -> tuple[History, tuple[Path, ...]]:
        series = stored.history(folder, progress, only or (), skip or ())
        return series, stored.write_history(series, out or folder, progress)

    followed, files = with_progress(work, quiet=quiet)
    if as_json:
        from bench.comparison.compare_files import history_document

        print_json(history_document(followed))
    else:
        history_table(followed, files)


def history_table(history: History, files: Sequence[Path]) -> None:
    """Print the latest figures of each cell, change points, what was left out, and the paths of the files."""
    from bench.comparison import history_rows

    out = console()
    rows = history_rows.rows(history)
    table = plain_table(*HEADINGS)
    for row in rows:
        colour = TONES.get(row.tone)
        # Only these two are coloured: figures stay in the colour of the text.
        verdict, says = (f"[{colour}]{part}[/]" if colour else part for part in map(safe, (row.verdict, row.brief)))
        table.add_row(safe(f"{row.cell} {row.figure}".strip()), verdict, row.last, row.ratio, row.change, says)
    if rows:
        out.print(table, "", sep="\n", highlight=False)
    steps = [(row, step) for row in rows for step in row.steps]
    if steps:
        out.print("[bold]Change points[/] (advisory)")
        for row, step in steps:
            out.print(f"  {safe(f'{row.cell} {row.figure}'.strip())}: {safe(step)}", highlight=False, soft_wrap=True)
        out.print("", safe(history_rows.ADVISORY), "", sep="\n", highlight=False, soft_wrap=True)
    for line in filter(
        None,
        (
            *history_rows.notes(history),
            history_rows.quiet(history),
            *(f"left out: {reason}" for reason in history.left_out),
        ),
    ):
        out.print(safe(line), highlight=False, soft_wrap=True)
    out.print(f"[bold]{safe(history_rows.tally(history))}[/]", highlight=False)
    for path in files:
        out.print(f"  {safe_path(path)}", soft_wrap=True, highlight=False)
