"""`bench init`: writes a small matrix for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import CacheFlag, cache_path
from bench.cli.tables import console, safe, safe_path
from bench.commands import joined
from bench.default_paths import MATRIX
from bench.errors import UsageError

ORDER = 5


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(init)


def init(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An ONNX file, a model's folder, a .gguf file, or a name on the hub.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write; an existing one is kept.")] = Path(MATRIX),
    family: Annotated[
        str | None, typer.Option("--family", help="What kind of model it is, where that cannot be seen.")
    ] = None,
    cache_dir: CacheFlag = None,
) -> None:
    """Write a small matrix.toml for a model, with its sizes filled in."""
    from bench.files import writing
    from bench.prepare.drafts import draft

    # First, since a name on the hub is looked up for seconds.
    if out.exists():
        raise UsageError(f"{out} exists already", "name another --out")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", "make it first")
    text = draft(model, family or "", cache_path(cache_dir), out)
    # "x": a file that another process has written meanwhile is kept too.
    with writing(out), out.open("x", encoding="utf-8") as file:
        file.write(text)
    matrix = () if out == Path(MATRIX) else ("--matrix", str(out))
    plan, run = (joined(("bench", verb, *matrix)) for verb in ("plan", "run"))
    shown = console()
    shown.print(f"wrote {safe_path(out)}", highlight=False)
    shown.print(f"next: {safe(plan)}, then {safe(run)}", soft_wrap=True, highlight=False)
