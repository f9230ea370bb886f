"""A history in, what a terminal shows of it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from bench.cli.tables import console, plain_table
from bench.cli.tables_compare import COLOURS
from bench.comparison import history_rows
from bench.report import escaping

if TYPE_CHECKING:
    from bench.comparison.history import History


def history_table(history: History, files: Sequence[Path]) -> None:
    """Each cell as it stands, change points, what was left out, and where the files are."""
    out = console()
    rows = history_rows.rows(history)
    table = plain_table("cell", "verdict", "last, ms", "x the control", "change from the run before", "so")
    for row in rows:
        colour = COLOURS.get(row.tone)
        verdict, says = (f"[{colour}]{part}[/]" if colour else part for part in map(_safe, (row.verdict, row.brief)))
        table.add_row(_safe(f"{row.cell} {row.figure}".strip()), verdict, row.last, row.ratio, row.change, says)
    if rows:
        out.print(table, "", sep="\n", highlight=False)
    steps = [(row, step) for row in rows for step in row.steps]
    if steps:
        out.print("[bold]Change points[/] (advisory)")
        for row, step in steps:
            out.print(f"  {_safe(f'{row.cell} {row.figure}'.strip())}: {_safe(step)}", highlight=False, soft_wrap=True)
        out.print("", _safe(history_rows.ADVISORY), "", sep="\n", highlight=False, soft_wrap=True)
    for said in filter(
        None,
        (*history_rows.notes(history), history_rows.quiet(history), *(f"left out: {one}" for one in history.left_out)),
    ):
        out.print(_safe(said), highlight=False, soft_wrap=True)
    out.print(f"[bold]{_safe(history_rows.tally(history))}[/]", highlight=False)
    for path in files:
        out.print(f"  {escape(str(path))}", soft_wrap=True, highlight=False)


def _safe(said: str) -> str:
    """Foreign text, without what would steer the terminal or rich."""
    return escape(escaping.line(said))
