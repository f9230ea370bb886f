"""Plans the cells of a matrix in order, with the reason for each that is excluded, and selects cells by glob."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from bench.declare import registry
from bench.declare.matrix import Matrix, Model, Precision, Target, engine_of, matches
from bench.declare.suggest import similar
from bench.errors import MatrixError, UsageError
from bench.records import Cell

LONGEST_WORD = 16
"""Longer names of dimensions are shortened in the labels of workloads, which stand in every row."""
NO_RECIPE = "precision '{precision}' has no recipe for {what}"


def plan(matrix: Matrix, only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Every selected cell, ordered by model and then by artifact.

    Optional cells run only where a glob of `only` matches them. Raises `MatrixError` and `UsageError`.
    """
    cells = tuple(_cells(matrix, only))
    _check_unique_ids(matrix, cells)
    # A rule without a match is likely misspelt, and its cells would run.
    for rule in matrix.excludes:
        if not any(matches(rule.cells, cell.id) for cell in cells):
            message = f"the rule [[exclude]] cells = '{rule.cells}' in {matrix.place} matches no cell"
            raise MatrixError(message, _near(rule.cells, cells))
    return select(cells, only, skip)


def select(cells: Sequence[Cell], only: Sequence[str], skip: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that any glob of `only` matches (all, without one) and none of `skip` does.

    Raises `UsageError` for a glob that matches nothing, and where no cell remains.
    """
    for flag, globs in (("--only", only), ("--skip", skip)):
        for glob in globs:
            # Also for --skip: a misspelt glob would let hours of cells run.
            if not any(matches(glob, cell.id) for cell in cells):
                raise UsageError(f"{flag} '{glob}' matches no cell", _near(glob, cells))
    matched = (cell for cell in cells if not only or any(matches(glob, cell.id) for glob in only))
    chosen = tuple(cell for cell in matched if not any(matches(glob, cell.id) for glob in skip))
    if not chosen:
        raise UsageError("--only and --skip leave no cell", "loosen one of them")
    return chosen


def _cells(matrix: Matrix, only: Sequence[str]) -> Iterable[Cell]:
    for model in matrix.models.values():
        for precision in matrix.precisions.values():
            for target in matrix.targets.values():
                for sizes in model.workloads:
                    cell = _cell(model, precision, target, sizes)
                    yield replace(cell, excluded=_excluded(matrix, cell, only))


def _cell(model: Model, precision: Precision, target: Target, sizes: dict[str, int]) -> Cell:
    family = registry.families()[model.family]
    engine = engine_of(target, family)
    recipe = precision.recipe(engine, model.family)
    return Cell(
        model=model.name,
        precision=precision.name,
        target=target.name,
        workload=label(family, sizes),
        family=model.family,
        source=model.source,
        engine=engine,
        runtime=target.runtime,
        sizes=sizes,
        rates={
            name: float(math.prod(sizes.get(size, 1) for size in factors)) for name, factors in family.rates.items()
        },
        recipe=recipe,
        provider=target.provider.ep if target.provider else None,
        device=str(target.provider.device) or None if target.provider else None,
        emulated=bool(target.provider and target.provider.emulated),
        control=target.control,
        format=registry.engines()[engine].format,
        tolerance=precision.tolerance_of(engine, model.family),
    )


def _excluded(matrix: Matrix, cell: Cell, only: Sequence[str]) -> str | None:
    """Why a cell is excluded: by a rule, because it is impossible, or because it is optional; None where it runs."""
    rules = [rule for rule in matrix.excludes if matches(rule.cells, cell.id)]
    firm = next((rule.reason for rule in rules if not rule.optional), None)
    # Before optional rules, which say that `--only` runs the cell: here it would not.
    if reason := firm or _impossible(cell):
        return reason
    if rules and not any(matches(glob, cell.id) for glob in only):
        return f"{rules[0].reason}; optional: --only '{rules[0].cells}' runs it"
    return None


def _impossible(cell: Cell) -> str | None:
    """Why a cell cannot run: its engine does not run the family, or its precision has no recipe; else None."""
    engine, family = registry.engines()[cell.engine], registry.families()[cell.family]
    if not engine.runs(family):
        return f"engine '{engine.name}' does not run family '{cell.family}'"
    if cell.recipe is None:
        by_family = engine.takes_family_recipes(family)
        what = f"family '{cell.family}'" if by_family else f"engine '{engine.name}', family '{cell.family}'"
        return NO_RECIPE.format(precision=cell.precision, what=what)
    return None


def label(family: registry.Family, sizes: dict[str, int]) -> str:
    """The short name of a workload, `b1-s128`; a dimension of an ONNX file may be called `past/length + 1`."""
    shown = {name: size for name, size in sizes.items() if size or name not in family.optional}
    short = _short({name: re.sub(r"[^A-Za-z0-9_.]+", "_", family.labels.get(name, name)) for name in shown})
    # A name that ends in a digit would run into the size.
    return "-".join(f"{short[name]}{'_' * short[name][-1:].isdigit()}{size}" for name, size in shown.items())


def _short(words: dict[str, str]) -> dict[str, str]:
    """The words, with the initials of long ones: `past_sequence_length` is `psl`, unless another word is."""
    initials = {
        name: "".join(part[0] for part in re.split(r"[_.]+", word) if part) if len(word) > LONGEST_WORD else word
        for name, word in words.items()
    }
    return initials if len(set(initials.values())) == len(words) and all(initials.values()) else words


def _check_unique_ids(matrix: Matrix, cells: Sequence[Cell]) -> None:
    """Raise `MatrixError` where two cells have one id: one of them would lose its row."""
    for cell_id, count in Counter(cell.id for cell in cells).items():
        if count > 1:
            message = f"two workloads of models.{cell_id.partition('/')[0]} in {matrix.place} have one name"
            raise MatrixError(f"{message}, '{cell_id.rpartition('/')[2]}'", "keep one of them")


def _near(glob: str, cells: Sequence[Cell]) -> str:
    # Without a lowest similarity: stars make a glob unlike every id, and some example is better than none.
    close = similar(glob, [cell.id for cell in cells], least=0.0)
    return f"a cell is named like '{close[0]}'" if close else "the matrix has no cells"
