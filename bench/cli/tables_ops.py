"""The verdicts of operator cases in, the table on the terminal out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from bench.cli.tables import console
from bench.conformance import summary
from bench.conformance.verdicts import VERDICTS

if TYPE_CHECKING:
    from bench.conformance import Finished

COLOURS = {
    "full": "green",
    "partial": "yellow",
    "coarse": "yellow",
    "wrong": "magenta",
    "crashed": "red",
    "timeout": "red",
}


def operators_table(finished: Finished) -> None:
    """How every provider's cases ended, then where the files are."""
    found = summary.summaries(finished.run, finished.outcomes)
    verdicts = [verdict for verdict in VERDICTS if any(verdict in one.counts for one in found)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("provider", "onnxruntime", "cases"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        table.add_column(f"[{COLOURS.get(verdict, 'default')}]{verdict}[/]", justify="right")
    table.add_column("operators wholly on it", justify="right")
    for one in found:
        kind = summary.imitated(one.target)
        name = f"{one.target.name} ({kind})" if kind else one.target.name
        counts = [str(one.counts.get(verdict, "–")) for verdict in verdicts]
        table.add_row(escape(name), one.onnxruntime or "–", str(one.cases), *counts, f"{one.whole} of {one.operators}")
    out = console()
    out.print(table)
    for target in finished.run.targets:
        if not target.tried:
            said = "; ".join(filter(None, (target.facts.message, target.facts.remedy)))
            out.print(f"{target.name} is unavailable: {said}", markup=False, highlight=False)
    for path in finished.files:
        out.print(f"  {path}", soft_wrap=True, highlight=False)
