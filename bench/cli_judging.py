"""The verbs that judge runs against one another: each is a function here, and a line at the foot of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bench.cli_flags import JsonFlag, OnlyFlag, SkipFlag, print_json


def add_to(app: typer.Typer) -> None:
    """Make the verbs of this file the command line's."""
    for verb in VERBS:
        app.command()(verb)


def compare(
    base: Annotated[Path, typer.Argument(help="The folder of the run to compare with.", metavar="BASE")],
    new: Annotated[Path, typer.Argument(help="The folder of the other run.", metavar="NEW")],
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    out: Annotated[Path | None, typer.Option(help="Write it too: FILE.md or FILE.json.", metavar="FILE")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Two stored runs side by side: verdicts, speeds, and what may be concluded; `gate` is the one that decides."""
    from bench import stored

    stored.known_output(out)
    found = stored.compare(base, new, only or (), skip or ())
    if out is not None:
        stored.write_comparison(found, out)
    if as_json:
        from bench.report.compare_json import document

        print_json(document(found))
    else:
        from bench.tables_compare import comparison_table

        comparison_table(found)


VERBS: tuple[Callable[..., None], ...] = (compare,)
