"""`bench plan`: shows the cells of a matrix, and why some will not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from bench.cli.options import JsonFlag, MatrixFlag, OnlyFlag, SkipFlag, matrix_path, print_json
from bench.cli.tables import console, plain_table

if TYPE_CHECKING:
    from bench.records import Cell

# Steps of ten, so that a new verb can stand between two others.
ORDER = 10
MAX_NAMED = 8
"""How many groups of one model are named; more are only counted."""


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(plan)


def plan(matrix: MatrixFlag = None, only: OnlyFlag = None, skip: SkipFlag = None, as_json: JsonFlag = False) -> None:
    """Print the cells, and why some will not run; runs nothing."""
    from bench.declare.matrix import read
    from bench.declare.plan import plan as make

    declared = read(matrix_path(matrix))
    cells = make(declared, only or (), skip or ())
    if as_json:
        print_json(cells)
    else:
        missing = {name: runtime.unavailable for name, runtime in declared.runtimes.items() if runtime.unavailable}
        plan_table(cells, missing)


def plan_table(cells: Sequence[Cell], missing: Mapping[str, str]) -> None:
    """Print the cells of a plan, and why some will not run.

    `missing` says, by the name of a runtime, why it cannot be installed on this platform.
    """
    out = console()
    table = plain_table("cell", "recipe", "runtime", "will it run")
    runs = [cell for cell in cells if cell.excluded is None]
    for cell in runs:
        recipe = cell.recipe.name if cell.recipe else "–"
        will = f"[dim]unavailable: {escape(missing[cell.runtime])}[/]" if cell.runtime in missing else "yes"
        table.add_row(cell.id, recipe, cell.runtime, will)
    if runs:
        out.print(table)
    if len(runs) < len(cells):
        out.print(*([""] if runs else []), _excluded_table(cells), "", sep="\n")
    out.print(f"{len(cells)} cells: {len(runs)} will run, {len(cells) - len(runs)} are excluded")


def _excluded_table(cells: Sequence[Cell]) -> Table:
    """A table with one row for each reason, with the cells that are excluded for it."""
    reasons: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.excluded is not None:
            reasons.setdefault(cell.excluded, []).append(cell)
    table = plain_table("excluded", "cells", "why")
    for reason, excluded in reasons.items():
        table.add_row(_group_labels(excluded, cells), str(len(excluded)), escape(reason))
    return table


def _group_labels(excluded: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """The groups of some cells, `minilm/int8/cpu`; `*/cuda/*` or `qwen/*` for every group of a target or a model."""
    groups = tuple(dict.fromkeys(cell.group for cell in excluded))
    targets = {cell.target for cell in excluded}
    # A star is written only where it is true: every cell of the target is excluded, and for this reason.
    if len(groups) > 1 and len(targets) == 1 and len(excluded) == sum(cell.target in targets for cell in cells):
        return f"*/{targets.pop()}/*"
    models = dict.fromkeys(cell.model for cell in excluded)
    return ", ".join(part for model in models for part in _groups_of_model(model, excluded, cells))


def _groups_of_model(model: str, excluded: Sequence[Cell], cells: Sequence[Cell]) -> tuple[str, ...]:
    """The groups of one model: `qwen/*` for all of them, `qwen/… (24 rows)` for many; `--json` names each."""
    own = [cell for cell in excluded if cell.model == model]
    groups = tuple(dict.fromkeys(cell.group for cell in own))
    if len(groups) > 1 and len(own) == sum(cell.model == model for cell in cells):
        return (f"{model}/*",)
    return (f"{model}/… ({len(groups)} rows)",) if len(groups) > MAX_NAMED else groups
