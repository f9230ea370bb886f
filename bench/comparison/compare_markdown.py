"""A comparison of two runs in, Markdown for a pull request out."""

from __future__ import annotations

from collections.abc import Iterator

from bench.comparison import compare_rows
from bench.comparison.compare import Comparison
from bench.report.escaping import code, table
from bench.report.escaping import markdown as plain

TITLE = "## Touchstone · two runs side by side"


def render(comparison: Comparison) -> str:
    """The whole text, with a final line feed."""
    return "\n\n".join(_parts(comparison)) + "\n"


def _parts(comparison: Comparison) -> Iterator[str]:
    yield TITLE
    sides = (("base", comparison.base), ("new", comparison.new))
    yield "\n".join(f"- {name}: {plain(compare_rows.side(run))}" for name, run in sides)
    yield f"**{plain(compare_rows.tally(comparison))}** ({plain(compare_rows.machines(comparison))})"
    yield "### What may be concluded"
    yield "\n".join(f"- {plain(line)}" for line in comparison.conclusions)
    if comparison.differences:
        yield "### What differs between the runs"
        yield "\n".join(f"- {plain(line)}" for line in comparison.differences)
    rows = compare_rows.rows(comparison)
    if rows:
        yield "### Cells"
        yield table((*compare_rows.HEADINGS[:-1], "what it says"), map(_row, rows))
        yield plain(compare_rows.LEGEND)
    if said := compare_rows.quiet(comparison):
        yield f"{plain(said)}."


def _row(row: compare_rows.Row) -> list[str]:
    """The numbers are ours; all else may hold what another machine's files say."""
    return [code(row.cell), plain(row.verdict), *row.numbers, plain(row.says)]
