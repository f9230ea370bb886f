"""Hold the options of a gate, and write them as a command line."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bench.commands import Value, command_line, shown_model
from bench.gating.rules import Rules

BUDGET_MINUTES = 40.0
"""Enough for a hundred cells of small models."""


class Options(Struct, frozen=True):
    """What a gate compares, and how long it may take. Paths are not resolved."""

    baseline: Path
    matrix: Path
    cache: Path
    reports: Path
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    threads: int | None = None
    budget_minutes: float = BUDGET_MINUTES
    in_sequence: bool = False
    max_task_loss: float = Rules().task_loss
    out: Path | None = None
    model: str | None = None
    """The model that is measured without a matrix, as in a run."""
    family: str | None = None
    with_optional: bool = False
    """Whether optional cells that the base has not measured are told as new ones."""
    trust_baseline: bool = False
    """Whether a baseline of somebody else may do what the matrix does not, within limits (`bench.gating.foreign`)."""


def command(options: Options) -> str:
    """The command line that runs this gate again."""
    # Without `--out`, because a gate is refused in a folder that holds one already.
    flags: dict[str, Value] = {
        "--baseline": options.baseline,
        "--matrix": None if options.model else options.matrix,
        "--model": shown_model(options.model) if options.model else None,
        "--family": options.family,
        "--only": options.only,
        "--skip": options.skip,
        "--with-optional": options.with_optional,
        "--threads": options.threads,
        "--budget-minutes": options.budget_minutes if options.budget_minutes != BUDGET_MINUTES else None,
        "--in-sequence": options.in_sequence,
        "--trust-baseline": options.trust_baseline,
        "--max-task-loss": options.max_task_loss if options.max_task_loss != Rules().task_loss else None,
    }
    return command_line("gate", flags)
