"""`bench compare`: shows two recorded runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.cli.options import JsonFlag, OnlyFlag, SkipFlag, print_json
from bench.cli.tables import TONES, console, plain_table, safe

if TYPE_CHECKING:
    from bench.comparison.compare_rows import ComparisonRow
    from bench.comparison.model import Comparison

ORDER = 60


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(compare)


def compare(
    base: Annotated[Path, typer.Argument(help="The folder of the run to compare with.", metavar="BASE")],
    new: Annotated[Path, typer.Argument(help="The folder of the other run.", metavar="NEW")],
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    out: Annotated[Path | None, typer.Option(help="Also write it to FILE.md or FILE.json.", metavar="FILE")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare two stored runs: verdicts, speeds, and what may be concluded; only `gate` decides."""
    from bench.comparison import stored

    stored.known_output(out)
    comparison = stored.compare(base, new, only or (), skip or ())
    if out is not None:
        stored.write_comparison(comparison, out)
    if as_json:
        # The same document as in FILE.json, so that a program has one form to read.
        from bench.comparison.compare_files import document

        print_json(document(comparison))
    else:
        comparison_table(comparison)


def comparison_table(comparison: Comparison) -> None:
    """Print both runs, the cells, what differs, and last what may be concluded."""
    from bench.comparison import compare_rows

    out = console()
    for name, run in (("base", comparison.base), ("new ", comparison.new)):
        _line(out, f"[bold]{name}[/]  {safe(compare_rows.side(run))}")
    out.print()
    rows = compare_rows.rows(comparison)
    if rows:
        out.print(_table(rows), "", safe(compare_rows.LEGEND), sep="\n", highlight=False)
    if quiet_cells := compare_rows.quiet(comparison):
        _line(out, safe(quiet_cells))
    for line, _ in compare_rows.one_sided(comparison):
        _line(out, safe(line))
    if any(row.tone for row in rows):
        out.print("", "[bold]Cells to look at[/]", sep="\n")
        _noteworthy(out, rows)
    for title, lines in (
        ("What differs between the runs", compare_rows.differences(comparison)),
        ("What may be concluded", compare_rows.conclusions(comparison)),
    ):
        if lines:
            out.print("", f"[bold]{title}[/]", sep="\n")
            for line in lines:
                _line(out, f"  {safe(line)}")
    out.print()
    _line(out, f"[bold]{safe(compare_rows.tally(comparison))}[/] ({safe(compare_rows.machines(comparison))})")


def _table(rows: list[ComparisonRow]) -> Table:
    from bench.comparison import compare_rows

    table = plain_table(*compare_rows.HEADINGS)
    for row in rows:
        colour = TONES.get(row.tone)
        verdict, brief = (f"[{colour}]{part}[/]" if colour else part for part in map(safe, (row.verdict, row.brief)))
        table.add_row(safe(row.cell), verdict, *map(safe, row.numbers), brief)
    return table


def _noteworthy(out: Console, rows: list[ComparisonRow]) -> None:
    """Print in full words, cell by cell, what the table only abbreviates."""
    # A row without a cell name continues the cell of the row above.
    by_cell: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        cell = row.cell or next(reversed(by_cell))
        by_cell.setdefault(cell, []).append(row)
    for cell, own in by_cell.items():
        texts = [row.conclusion for row in own if row.conclusion]
        if own[0].tone and texts:
            _line(out, f"  [{TONES[own[0].tone]}]{safe(cell)}[/]: {safe('; '.join(texts))}")


def _line(out: Console, text: str) -> None:
    # A log keeps one line for each statement; at a terminal rich folds between words.
    out.print(text, highlight=False, soft_wrap=not out.is_terminal)
