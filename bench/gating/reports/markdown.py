"""Write `gate.md`: GitHub-flavoured Markdown for a pull request or a job summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.gating import text
from bench.records import GateCell, GateRun, GateVerdict
from bench.report import numbers
from bench.report.escaping import code, folded, table
from bench.report.escaping import markdown as plain

FILE = "gate.md"
HEADER = ["cell", "verdict", "change (95 % interval)", "pairs", "detectable", "base → new", "details"]
OPEN_ROWS = 25
"""Rows of important cells that are shown; further rows are folded."""
QUIET_ROWS = 10
"""All passed or not compared cells are folded if there are more than this."""
OPEN_DIFFERENCES = 12


def render(run: GateRun) -> str:
    """The verdict, the table, the differences and the null control; long parts are folded."""
    parts = [
        f"## {plain(run.verdict)}",
        f"{text.counted(run.cells)}; {plain(text.about(run))}.",
        *_tables(run),
        *_differences(run),
        f"**Null control** (base against base): {plain(text.null_control(run))}.",
        "\n".join(f"- {plain(note)}" for note in run.notes),
        text.HOW_TO_READ,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tables(run: GateRun) -> Iterator[str]:
    """One table with the worst cells first, then folded tables by verdict, and lists of one side's cells."""
    cells = [cell for cell in text.ordered(run.cells) if cell.verdict not in text.ONE_SIDED]
    important = [cell for cell in cells if cell.verdict in text.RED + text.UNSURE]  # they come first
    quiet = cells[len(important) :]
    few = quiet if len(quiet) <= QUIET_ROWS else []
    shown = important[:OPEN_ROWS] + few
    if shown:
        yield _table(shown)
    rest = important[OPEN_ROWS:] + (quiet if not few else [])
    for verdict in text.VERDICTS:
        same_verdict = [cell for cell in rest if cell.verdict == verdict]
        if same_verdict:
            yield folded(_summary(verdict, same_verdict, shown), _table(same_verdict))
    for title, cells_of_side in text.one_sided(run.cells):
        lines = (f"- {code(cell.cell)}: {plain(text.explanation(cell))}" for cell in cells_of_side)
        yield folded(plain(title), "\n".join(lines))


def _summary(verdict: GateVerdict, cells: Sequence[GateCell], shown: Sequence[GateCell]) -> str:
    more = " more" if any(cell.verdict == verdict for cell in shown) else ""
    meaning = text.VERDICTS[verdict].meaning
    return f"{len(cells):,}{more} {text.named(verdict, len(cells))}: {meaning}"


def _table(cells: Sequence[GateCell]) -> str:
    return table(HEADER, map(_row, cells))


def _row(cell: GateCell) -> list[str]:
    verdict = text.named(cell.verdict)
    return [
        code(cell.cell),
        f"**{verdict}**" if cell.verdict in text.RED else verdict,
        numbers.change(cell.change),
        numbers.count(cell.pairs),
        text.detectable(cell),
        text.sides(cell),
        plain(text.explanation(cell)),
    ]


def _differences(run: GateRun) -> Iterator[str]:
    lines = [f"- {plain(difference)}" for difference in run.differences]
    if not lines:
        yield "**Base and new** differ in nothing that is recorded."
        return
    yield "**What differs**"
    yield "\n".join(lines[:OPEN_DIFFERENCES])
    if len(lines) > OPEN_DIFFERENCES:
        yield folded(f"{len(lines) - OPEN_DIFFERENCES} more differences", "\n".join(lines[OPEN_DIFFERENCES:]))
