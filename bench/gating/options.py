"""What the command line asks of a gate, and how to type it again."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bench.commands import Value, command_line

BUDGET_MINUTES = 40.0
"""What MEASUREMENT allows for a hundred cells of small models."""


class Options(Struct, frozen=True):
    """What is judged, against what, and for how long at most."""

    baseline: Path
    matrix: Path
    cache: Path
    reports: Path
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    threads: int | None = None
    budget_minutes: float = BUDGET_MINUTES
    in_sequence: bool = False
    out: Path | None = None


def typed(options: Options) -> str:
    """How to run this gate again, as one would type it."""
    flags: dict[str, Value] = {
        "--baseline": options.baseline,
        "--matrix": options.matrix,
        "--only": options.only,
        "--skip": options.skip,
        "--threads": options.threads,
        "--budget-minutes": options.budget_minutes if options.budget_minutes != BUDGET_MINUTES else None,
        "--in-sequence": options.in_sequence,
    }
    return command_line("gate", flags)
