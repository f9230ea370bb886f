"""`bench plan`: shows the cells of a matrix, why some will not run, and what a run will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text

from bench import foreign_text
from bench.cli.options import (
    CacheFlag,
    FamilyFlag,
    JsonFlag,
    MatrixFlag,
    MinutesFlag,
    ModelFlag,
    OnlyFlag,
    OptionalFlag,
    SkipFlag,
    cache_path,
    check_model,
    matrix_path,
    print_json,
)
from bench.cli.tables import console, plain_table, print_table, safe

if TYPE_CHECKING:
    from bench.declare.plan import Plan
    from bench.prepare.forecast import Forecast, Load
    from bench.records import Cell

# Steps of ten, so that a new verb can stand between two others.
ORDER = 10


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(plan)


def plan(
    matrix: MatrixFlag = None,
    model: ModelFlag = None,
    family: FamilyFlag = None,
    only: OnlyFlag = None,
    skip: SkipFlag = None,
    with_optional: OptionalFlag = False,
    budget: Annotated[str | None, typer.Option(help="quick, standard or thorough (default: the matrix's).")] = None,
    minutes: MinutesFlag = None,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> None:
    """Print the cells, why some will not run, and about how long a run takes; runs nothing."""
    from bench.declare import registry
    from bench.declare.budgets import effort_named
    from bench.declare.matrix import read
    from bench.declare.plan import whole_plan
    from bench.prepare import forecast, model_checks
    from bench.prepare.presence import absent_targets, hardware

    check_model(model, family, matrix)
    if minutes is not None:
        from bench.run_steps import checked_minutes

        checked_minutes("--minutes", minutes)
    cache = cache_path(cache_dir)
    registry.remember_in(cache)
    if model is None:
        declared = read(matrix_path(matrix))
    else:
        from bench.prepare.drafts import drafted_matrix

        declared = drafted_matrix(model, family or "", cache)
    effort = effort_named(budget or declared.measure.budget)
    effort = replace(effort, minutes=minutes or declared.measure.minutes or effort.minutes)
    absent = absent_targets(declared, hardware())
    planned = whole_plan(declared, only or (), skip or (), with_optional=with_optional, absent=absent)
    if as_json:
        print_json(planned.cells)
        return
    wrong = model_checks.mistakes(declared, list(dict.fromkeys(cell.model for cell in planned.cells)))
    obstacles = {cell.id: reason for cell in planned.cells if (reason := _why_not(cell, absent, wrong))}
    here = [cell for cell in planned.cells if cell.id not in obstacles]
    plan_table(planned, obstacles, forecast.forecast(declared, here, effort, cache))
    if short := forecast.too_short(here, effort):
        console().print(f"[yellow]warning:[/] {safe(short)}", highlight=False)


def _why_not(cell: Cell, absent: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    """Why a planned cell will have no result on this machine; empty where it will have one."""
    if cell.excluded is not None:
        return f"excluded: {cell.excluded}"
    if cell.target in absent:
        return f"unavailable: {absent[cell.target]}"
    return f"no: {wrong[cell.model]}" if cell.model in wrong else ""


def plan_table(planned: Plan, obstacles: Mapping[str, str], forecast: Forecast) -> None:
    """Print the cells of a plan, what is optional, the warnings, and what a run takes.

    `obstacles` says, by cell, why it will have no result here.
    """
    out = console()
    shown = [cell for cell in planned.cells if cell.excluded is None]
    rows = []
    for cell in shown:
        recipe = cell.recipe.name if cell.recipe else "–"
        will = Text(foreign_text.line(obstacles[cell.id]), "dim") if cell.id in obstacles else Text("yes")
        rows.append(
            (
                Text(foreign_text.line(cell.id)),
                Text(foreign_text.line(recipe)),
                Text(foreign_text.line(cell.runtime)),
                will,
            )
        )
    if shown:
        print_table(out, ("cell", "recipe", "runtime", "will it run"), rows)
    if excluded := [cell for cell in planned.cells if cell.excluded is not None]:
        out.print("", _reasons_table(excluded, planned.cells, "excluded"), sep="\n")
    if planned.left_out:
        every = (*planned.cells, *planned.left_out)
        out.print("", _reasons_table(planned.left_out, every, "optional: --with-optional"), sep="\n")
    if forecast.loads:
        out.print("", _loads_table(forecast.loads), sep="\n")
    out.print("")
    for warning in planned.warnings:
        out.print(f"[yellow]warning:[/] {safe(warning)}", highlight=False)
    out.print(safe(summary(planned, obstacles, forecast)), highlight=False)


def summary(planned: Plan, obstacles: Mapping[str, str], forecast: Forecast) -> str:
    """The cells with a result on this machine, the others, the time and the download: one sentence."""
    here = [cell for cell in planned.cells if cell.id not in obstacles]
    models = len({cell.model for cell in here})
    cells = f"{len(here)} cell{'s' * (len(here) != 1)} of {models} model{'s' * (models != 1)} on this machine"
    others = len(planned.cells) - len(here)
    left = f" ({others} more without a result)" if others else ""
    if not here:
        return f"{cells}{left}"
    total, measuring = (max(1, round(s / 60)) for s in (forecast.prepare_s + forecast.measure_s, forecast.measure_s))
    took = f"about {total} minute{'s' * (total != 1)} ({measuring} of them measuring)"
    unknown = [load.what for load in forecast.loads if not load.is_known]
    sizes = [f"{megabytes(forecast.download_mb)} to download"] if forecast.download_mb else []
    sizes += [f"{', '.join(unknown)}, whose size is not known"] if unknown else []
    return f"{cells}{left}; {took}" + "".join(f" and {size}" for size in sizes or ["nothing to download"])


def _loads_table(loads: Sequence[Load]) -> Table:
    table = plain_table("not in the cache", "to download", "on the disk")
    for load in loads:
        sizes = (megabytes(load.download_mb), megabytes(load.disk_mb)) if load.is_known else ("–", "–")
        table.add_row(safe(load.what), *sizes)
    return table


def megabytes(size: float) -> str:
    """`2.1 GB`, `310 MB`."""
    return f"{size / 1000:.1f} GB" if size >= 1000 else f"{size:.0f} MB"


def _reasons_table(cells: Sequence[Cell], every: Sequence[Cell], title: str) -> Table:
    """A table with one row for each reason, with the cells that do not run for it."""
    reasons: dict[str, list[Cell]] = {}
    for cell in cells:
        reasons.setdefault(cell.excluded or "", []).append(cell)
    table = plain_table(title, "cells", "why")
    gone = {cell.id for cell in cells}
    staying = [cell for cell in every if cell.id not in gone]
    for reason, group in reasons.items():
        table.add_row(safe(_labels(group, staying)), str(len(group)), safe(reason))
    return table


def _labels(group: Sequence[Cell], staying: Sequence[Cell]) -> str:
    """Some cells as globs: `*/cuda/*`, `qwen/*`, `vit/*/torch-compile/*`, `minilm/int8/cpu`.

    A star is written only where it is true: none of the cells that it stands for is in `staying`.
    """
    models, targets = {cell.model for cell in staying}, {cell.target for cell in staying}
    pairs = {(cell.model, cell.target) for cell in staying}
    if len(names := {cell.target for cell in group}) == 1 and not names & targets:
        return f"*/{names.pop()}/*"
    rows = Counter((model, target) for model, target, _ in {(cell.model, cell.target, cell.group) for cell in group})
    labels: dict[str, None] = {}
    for cell in group:
        if cell.model not in models:
            labels[f"{cell.model}/*"] = None
        elif (cell.model, cell.target) not in pairs and rows[cell.model, cell.target] > 1:
            labels[f"{cell.model}/*/{cell.target}/*"] = None
        else:
            labels[cell.group] = None
    return ", ".join(labels)
