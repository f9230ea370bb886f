"""A gate's record in, the table on the terminal out; `--json` prints the record itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.markup import escape

from bench.cli.tables import console, plain_table
from bench.gating import text
from bench.records import GateCell, GateRun
from bench.report import escaping, numbers

COLOURS = {"regression": "red", "lost-support": "red", "inconclusive": "yellow", "warning": "yellow", "pass": "green"}
MOST = 40
"""Rows before some are only counted."""


def gate_table(run: GateRun, files: Iterable[Path] = ()) -> None:
    """Every cell with its change, the null control, what differs, the answer, then where the files are."""
    cells = text.ordered(run.cells)
    shown = _shown(cells)
    table = plain_table("cell", "verdict", "change", "pairs", "detectable", "base → new", "what to know")
    for cell in shown:
        table.add_row(*_row(cell))
    out = console()
    if shown:
        out.print(table)
    names = {cell.cell for cell in shown}
    hidden = [cell for cell in cells if cell.cell not in names]
    if hidden:
        out.print(f"not shown here, but in the files: {text.counted(hidden)}")
    if shown:
        out.print("")
    for name, said in _lines(run):
        out.print(f"{name}: {_safe(said)}", highlight=False)
    out.print(f"[bold]{_safe(run.verdict)}[/] ({text.counted(run.cells)})", highlight=False)
    for path in files:
        out.print(f"  {escape(str(path))}", soft_wrap=True, highlight=False)


def _shown(cells: Sequence[GateCell]) -> list[GateCell]:
    """All of few; of many without those that were not compared, and of very many without those that pass either."""
    if len(cells) <= MOST:
        return list(cells)
    compared = [cell for cell in cells if cell.verdict not in text.NOT_COMPARED]
    return compared if len(compared) <= MOST else [cell for cell in compared if cell.verdict != "pass"][:MOST]


def _row(cell: GateCell) -> tuple[str, ...]:
    verdict = text.named(cell.verdict)
    return (
        _safe(cell.cell),
        f"[{COLOURS.get(cell.verdict, 'dim')}]{verdict}[/]",
        numbers.change(cell.change),
        numbers.count(cell.pairs),
        text.detectable(cell),
        text.sides(cell),
        _safe(text.explanation(cell)),
    )


def _lines(run: GateRun) -> Iterable[tuple[str, str]]:
    yield from (("differs", difference) for difference in run.differences)
    yield "null control", text.null_control(run)
    yield from (("note", note) for note in run.notes)
    yield "gate", text.about(run)


def _safe(said: str) -> str:
    """Foreign text that neither rich nor the runner of a CI takes for a command.

    GitHub's runner obeys `::name::` at the start of a line, where a folded column may begin, and `##[name]` anywhere.
    """
    return escape(escaping.line(said).replace("::", ":\u2060:").replace("##[", "##\u2060["))
