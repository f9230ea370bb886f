"""What the command line asks of a gate, and how to type it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from msgspec import Struct

from bench.run_steps import shown_path

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
    words = ["bench", "gate", "--baseline", shown_path(options.baseline), "--matrix", shown_path(options.matrix)]
    for flag, globs in (("--only", options.only), ("--skip", options.skip)):
        for glob in globs:
            words += [flag, glob]
    if options.threads:
        words += ["--threads", str(options.threads)]
    if options.budget_minutes != BUDGET_MINUTES:
        words += ["--budget-minutes", f"{options.budget_minutes:g}"]
    return shlex.join([*words, *(["--in-sequence"] if options.in_sequence else [])])
