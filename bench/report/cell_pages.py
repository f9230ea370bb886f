"""What each cell has of its own on the page: its address, the command that repeats it, and its log."""

from __future__ import annotations

import re

from bench import store
from bench.commands import command_line
from bench.records import Cell, Outcome, Run


def address(cell: str, sheet: int = 1) -> str:
    """`cell-minilm/int8/cpu/b1-s128`: the id of a cell's place on the page, the same in every report of the cell.

    Other characters than letters, digits, `.`, `_`, `-` and `/` are written as `~` and their hexadecimal number. The
    cells of the second and each further run of a page begin with `cell-2-`, so that ids are unique.
    """
    safe = re.sub(r"[^A-Za-z0-9._/-]", lambda found: f"~{ord(found[0]):x}.", cell)
    return f"cell-{safe}" if sheet == 1 else f"cell-{sheet}-{safe}"


def repeat_command(run: Run, outcome: Outcome) -> str:
    """The command that measures a cell again, with the control of its ratio."""
    control = outcome.speed.control if outcome.speed else None
    return command_line(
        "run",
        {
            "--matrix": run.matrix_path,
            "--budget": run.effort.name,
            "--threads": run.threads,
            # Without it, an optional cell is no part of the plan.
            "--with-optional": "--with-optional" in run.command.split(),
            "--only": tuple(dict.fromkeys(filter(None, (outcome.cell.id, control)))),
        },
    )


def log(cell: Cell) -> str:
    """The log of the cell's processes, in the folder of the run."""
    return f"{store.LOGS}/{cell.group.replace('/', '--')}.log"
