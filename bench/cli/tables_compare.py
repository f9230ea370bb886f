"""A comparison of two runs in, what a terminal shows of it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.cli.tables import console, plain_table
from bench.comparison import compare_rows
from bench.report import escaping

if TYPE_CHECKING:
    from bench.comparison.model import Comparison

COLOURS = {"bad": "red", "good": "green", "warn": "yellow"}


def comparison_table(comparison: Comparison) -> None:
    """Both runs, the cells, what differs, and last what may be concluded, where the eye ends."""
    out = console()
    for name, run in (("base", comparison.base), ("new ", comparison.new)):
        _line(out, f"[bold]{name}[/]  {_safe(compare_rows.side(run))}")
    out.print()
    rows = compare_rows.rows(comparison)
    if rows:
        out.print(_table(rows), "", _safe(compare_rows.LEGEND), sep="\n", highlight=False)
    if said := compare_rows.quiet(comparison):
        _line(out, _safe(said))
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
                _line(out, f"  {_safe(line)}")
    out.print()
    _line(out, f"[bold]{_safe(compare_rows.tally(comparison))}[/] ({_safe(compare_rows.machines(comparison))})")


def _table(rows: list[compare_rows.ComparisonRow]) -> Table:
    table = plain_table(*compare_rows.HEADINGS)
    for row in rows:
        colour = COLOURS.get(row.tone)
        verdict, brief = (f"[{colour}]{part}[/]" if colour else part for part in map(_safe, (row.verdict, row.brief)))
        table.add_row(_safe(row.cell), verdict, *map(_safe, row.numbers), brief)
    return table


def _noteworthy(out: Console, rows: list[compare_rows.ComparisonRow]) -> None:
    """In full words what is more than `no difference shown`, cell by cell."""
    told: dict[str, list[compare_rows.ComparisonRow]] = {}
    for row in rows:
        cell = row.cell or next(reversed(told))
        told.setdefault(cell, []).append(row)
    for cell, own in told.items():
        says = [row.says for row in own if row.says]
        if own[0].tone and says:
            _line(out, f"  [{COLOURS[own[0].tone]}]{_safe(cell)}[/]: {_safe('; '.join(says))}")


def _line(out: Console, said: str) -> None:
    out.print(said, highlight=False, soft_wrap=not out.is_terminal)


def _safe(said: str) -> str:
    """Foreign text, without what would steer the terminal or rich."""
    return escape(escaping.line(said))
