"""What each cell has of its own on the page: its address, the command that repeats it, and its log."""

from __future__ import annotations

import re
import shlex

from bench import store
from bench.commands import command_line, is_built_in, joined
from bench.records import Cell, Outcome, Run

OWN_FLAGS = frozenset({"--only", "--skip", "--minutes", "--sustained"})
"""The flags of a run that are not those of one cell; each takes a value."""


def address(cell: str, sheet: int = 1) -> str:
    """`cell-minilm/int8/cpu/b1-s128`: the id of a cell's place on the page, the same in every report of the cell.

    Other characters than letters, digits, `.`, `_`, `-` and `/` are written as `~` and their hexadecimal number. The
    cells of the second and each further run of a page begin with `cell-2-`, so that ids are unique.
    """
    safe = re.sub(r"[^A-Za-z0-9._/-]", lambda found: f"~{ord(found[0]):x}.", cell)
    return f"cell-{safe}" if sheet == 1 else f"cell-{sheet}-{safe}"


def repeat_command(run: Run, outcome: Outcome) -> str:
    """The command that measures a cell again, with the control of its ratio: the run's own for these cells alone."""
    control = outcome.speed.control if outcome.speed else None
    kept = _without(_words(run), OWN_FLAGS)
    threads = [] if "--threads" in kept else ["--threads", str(run.threads)]
    only = [word for cell in dict.fromkeys(filter(None, (outcome.cell.id, control))) for word in ("--only", cell)]
    return joined([*kept, *threads, *only])


def _words(run: Run) -> list[str]:
    """The words of the run's command; those of `bench run` with its matrix where another command made the run."""
    try:
        words = shlex.split(run.command)
    # A file from elsewhere may hold any text.
    except ValueError:
        words = []
    if words[:2] == ["bench", "run"]:
        return words
    return shlex.split(
        command_line(
            "run", {"--matrix": None if is_built_in(run.matrix_path) else run.matrix_path, "--budget": run.effort.name}
        )
    )


def _without(words: list[str], flags: frozenset[str]) -> list[str]:
    """The words without these flags and their values."""
    return [word for word, before in zip(words, ["", *words], strict=False) if not {word, before} & flags]


def log(cell: Cell) -> str:
    """The log of the cell's processes, in the folder of the run."""
    return f"{store.LOGS}/{cell.group.replace('/', '--')}.log"
