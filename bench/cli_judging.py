"""The verbs that judge runs against one another: each is a function here, and a line at the foot of the file."""

from __future__ import annotations

from collections.abc import Callable

import typer


def add_to(app: typer.Typer) -> None:
    """Make the verbs of this file the command line's."""
    for verb in VERBS:
        app.command()(verb)


VERBS: tuple[Callable[..., None], ...] = ()
