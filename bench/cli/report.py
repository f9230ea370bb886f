"""`bench report`: renders recorded runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FormatFlag, RankFlag, known_formats
from bench.cli.tables import run_table

ORDER = 30


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN...")],
    formats: FormatFlag = "html,csv,markdown",
    out: Annotated[Path | None, typer.Option(help="Where to write (default: the run; here for several).")] = None,
    rank_approximate: RankFlag = False,
) -> None:
    """Render the report of one or more runs again."""
    from bench import pipeline

    if out is None:
        # A report of several runs belongs into the folder of none of them.
        out = runs[0] if len(runs) == 1 else Path()
    finished = pipeline.report(runs, known_formats(formats), out, rank_approximate=rank_approximate)
    run_table(finished, rank_approximate=rank_approximate)
