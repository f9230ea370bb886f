"""Plans the cells of a matrix in order: those that run, those that a rule excludes, and those that are optional."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.matrix import Matrix, Model, Precision, Target, engine_of, matcher, matches
from bench.declare.suggest import similar
from bench.errors import MatrixError, UsageError
from bench.records import Cell, Recipe, Tolerance

LONGEST_WORD = 16
"""Longer names of dimensions are shortened in the labels of workloads, which stand in every row."""
MOST_COMBINATIONS = 200_000
"""Of models, workloads, precisions and targets; most are no cells, as they have no recipe."""
NO_RECIPE = "precision '{precision}' has no recipe for {what}"


class Plan(Struct, frozen=True):
    """The cells of a run, and what the matrix declares beside them."""

    cells: tuple[Cell, ...]
    """Ordered by model and then by artifact; `excluded` says why a cell will not run."""
    left_out: tuple[Cell, ...] = ()
    """What only `--with-optional` adds; `excluded` says why it is optional."""
    warnings: tuple[str, ...] = ()
    """Mistakes that stop nothing: rules, targets, models and precisions of the matrix without any cell."""


class _Sorted(Struct):
    """Every combination of the axes, by what becomes of it."""

    rows: list[Cell] = []
    optional: list[Cell] = []
    impossible: list[Cell] = []
    """No cells: `excluded` says why; they are kept for messages only."""
    beyond: list[Cell] = []
    """No cells either: a table lists other precisions, or a rule excludes what is optional."""


def plan(
    matrix: Matrix,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    *,
    with_optional: bool = False,
    absent: Mapping[str, str] | None = None,
) -> tuple[Cell, ...]:
    """The selected cells alone, as `whole_plan` finds them."""
    return whole_plan(matrix, only, skip, with_optional=with_optional, absent=absent).cells


def whole_plan(
    matrix: Matrix,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    *,
    with_optional: bool = False,
    absent: Mapping[str, str] | None = None,
) -> Plan:
    """Every selected cell, with what is optional and not selected.

    `only` and `skip` narrow; `with_optional` adds the optional cells. `absent` says, by target, why it is not on this
    machine: the cells of such a target are optional where its table says `if_present`. Raises `MatrixError` and
    `UsageError`.
    """
    made = _sorted(matrix, {} if with_optional else absent or {}, with_optional=with_optional)
    every = (*made.rows, *made.optional, *made.impossible, *made.beyond)
    _check_unique_ids(matrix, every)
    warnings = (*_idle_rules(matrix, every, made), *_idle_tables(matrix, made))
    _check_globs(only, skip, made)
    left_out = tuple(cell for cell in made.optional if is_selected(cell, only, skip))
    if not made.rows and not only and not skip:
        raise _nothing(matrix, made)
    return Plan(select(made.rows, only, [glob for glob in skip if _any(glob, made.rows)]), left_out, warnings)


def select(cells: Sequence[Cell], only: Sequence[str], skip: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that any glob of `only` matches (all, without one) and none of `skip` does.

    Raises `UsageError` for a glob that matches nothing, and where no cell remains.
    """
    for flag, globs in (("--only", only), ("--skip", skip)):
        for glob in globs:
            # Also for --skip: a misspelt glob would let hours of cells run.
            if not _any(glob, cells):
                raise UsageError(f"{flag} '{glob}' matches no cell", _near(glob, cells))
    chosen = tuple(cell for cell in cells if is_selected(cell, only, skip))
    if not chosen:
        raise UsageError("--only and --skip leave no cell", "loosen one of them")
    return chosen


def is_selected(cell: Cell, only: Sequence[str], skip: Sequence[str]) -> bool:
    """Whether any glob of `only` matches the cell, or there is none, and none of `skip` does."""
    kept = not only or any(matches(glob, cell.id) for glob in only)
    return kept and not any(matches(glob, cell.id) for glob in skip)


def undescribed(matrix: Matrix, cells: Iterable[Cell]) -> str | None:
    """What a recorded cell names and its matrix does not describe: `target 'cpu' of a/fp32/cpu/b1`; None if all is."""
    for cell in cells:
        for axis, name, known in (
            ("model", cell.model, matrix.models),
            ("precision", cell.precision, matrix.precisions),
            ("target", cell.target, matrix.targets),
        ):
            if name not in known:
                return f"{axis} '{name}' of {cell.id}"
    return None


def _any(glob: str, cells: Iterable[Cell]) -> bool:
    is_match = matcher(glob)
    return any(is_match(cell.id) for cell in cells)


def _check_size(matrix: Matrix) -> None:
    """Raise `MatrixError` for more combinations than anybody could measure: they would fill the memory."""
    workloads = sum(len(model.workloads) for model in matrix.models.values())
    number = workloads * len(matrix.precisions) * len(matrix.targets)
    if number > MOST_COMBINATIONS:
        message = f"{matrix.place} combines to {number} cells, more than {MOST_COMBINATIONS}"
        raise MatrixError(message, "make several matrices of it")


def _sorted(matrix: Matrix, absent: Mapping[str, str], *, with_optional: bool) -> _Sorted:
    _check_size(matrix)
    made, cells, places = _Sorted(), _Cells(matrix), _Places(matrix, absent, with_optional=with_optional)
    for model in matrix.models.values():
        # Made once: they are the same for every precision and target.
        family = registry.families()[model.family]
        workloads = [(label(family, sizes), sizes, rates_of(family, sizes)) for sizes in model.workloads]
        for precision in matrix.precisions.values():
            for target in matrix.targets.values():
                for workload, sizes, rates in workloads:
                    cell = cells.cell(model, precision, target, workload, sizes, rates)
                    place, reason = places.place(model, target, cell)
                    getattr(made, place).append(replace(cell, excluded=reason))
    return made


class _Places:
    """Finds where the combinations of a matrix belong."""

    def __init__(self, matrix: Matrix, absent: Mapping[str, str], *, with_optional: bool) -> None:
        self.absent, self.with_optional = absent, with_optional
        self.rules = [(rule, matcher(rule.cells)) for rule in matrix.excludes]

    def place(self, model: Model, target: Target, cell: Cell) -> tuple[str, str | None]:
        """Where a combination belongs, by the names of `_Sorted`, and why it does not run."""
        lists = [listed for listed in (model.precisions, target.precisions) if listed]
        if not all(cell.precision in listed for listed in lists):
            return "beyond", "another precision is listed"
        why = _impossible(cell)
        # What the user lists by name and cannot be stays visible, with the reason.
        if why and not (lists and cell.recipe is None and _runs(cell)):
            return "impossible", why
        cell_id = cell.id
        rules = [rule for rule, is_match in self.rules if is_match(cell_id)]
        firm = why or next((rule.reason for rule in rules if not rule.optional), None)
        optional = self.absent.get(target.name) if target.if_present else None
        if not optional and not self.with_optional:
            optional = next((rule.reason for rule in rules if rule.optional), None)
        if optional:
            return ("beyond", firm) if firm else ("optional", optional)
        return "rows", firm


class _Cells:
    """Makes the cells of a matrix; what many cells share is found once."""

    def __init__(self, matrix: Matrix) -> None:
        self.devices = {
            target.name: str(target.provider.device) or None if target.provider else None
            for target in matrix.targets.values()
        }
        self._engines: dict[tuple[str, str], str] = {}
        self._recipes: dict[tuple[str, str, str], tuple[Recipe | None, Tolerance | None]] = {}

    def cell(
        self,
        model: Model,
        precision: Precision,
        target: Target,
        workload: str,
        sizes: dict[str, int],
        rates: dict[str, float],
    ) -> Cell:
        """One combination."""
        engine = self._engine(target, model.family)
        recipe, tolerance = self._recipe(precision, engine, model.family)
        return Cell(
            model=model.name,
            precision=precision.name,
            target=target.name,
            workload=workload,
            family=model.family,
            source=model.source,
            engine=engine,
            runtime=target.runtime,
            sizes=sizes,
            rates=rates,
            recipe=recipe,
            provider=target.provider.ep if target.provider else None,
            device=self.devices[target.name],
            emulated=bool(target.provider and target.provider.emulated),
            control=target.control,
            format=registry.engines()[engine].format,
            tolerance=tolerance,
        )

    def _engine(self, target: Target, family: str) -> str:
        key = target.name, family
        if key not in self._engines:
            self._engines[key] = engine_of(target, registry.families()[family])
        return self._engines[key]

    def _recipe(self, precision: Precision, engine: str, family: str) -> tuple[Recipe | None, Tolerance | None]:
        key = precision.name, engine, family
        if key not in self._recipes:
            recipe = precision.recipe(engine, family)
            self._recipes[key] = recipe, precision.tolerance_of(engine, family) if recipe else None
        return self._recipes[key]


def rates_of(family: registry.Family, sizes: dict[str, int]) -> dict[str, float]:
    """What a call of a workload counts, by the unit: the products of its sizes."""
    return {name: float(math.prod(sizes.get(size, 1) for size in factors)) for name, factors in family.rates.items()}


def _impossible(cell: Cell) -> str | None:
    """Why a combination is no cell: its engine does not run the family, or its precision has no recipe; else None."""
    if not _runs(cell):
        return f"engine '{cell.engine}' does not run family '{cell.family}'"
    if cell.recipe is None:
        by_family = registry.engines()[cell.engine].takes_family_recipes(registry.families()[cell.family])
        what = f"family '{cell.family}'" if by_family else f"engine '{cell.engine}', family '{cell.family}'"
        return NO_RECIPE.format(precision=cell.precision, what=what)
    return None


def _runs(cell: Cell) -> bool:
    return registry.engines()[cell.engine].runs(registry.families()[cell.family])


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


# --- what a matrix or a command line says in vain ---------------------------------------------------------------------


def _check_unique_ids(matrix: Matrix, cells: Sequence[Cell]) -> None:
    """Raise `MatrixError` where two cells have one id: one of them would lose its row."""
    for cell_id, count in Counter(cell.id for cell in cells).items():
        if count > 1:
            message = f"two workloads of models.{cell_id.partition('/')[0]} in {matrix.place} have one name"
            raise MatrixError(f"{message}, '{cell_id.rpartition('/')[2]}'", "keep one of them")


def _check_globs(only: Sequence[str], skip: Sequence[str], made: _Sorted) -> None:
    """Raise `UsageError` for a glob that selects nothing: what it names is optional, cannot be, or is not there."""
    for flag, globs in (("--only", only), ("--skip", skip)):
        for glob in globs:
            if _any(glob, made.rows) or (flag == "--skip" and _any(glob, made.optional)):
                continue
            if cell := next((cell for cell in made.optional if matches(glob, cell.id)), None):
                message = f"{flag} '{glob}' matches only optional cells ({cell.excluded})"
                raise UsageError(message, "add --with-optional to run them")
            no_cell = next((cell for cell in (*made.impossible, *made.beyond) if matches(glob, cell.id)), None)
            reason = f": {no_cell.excluded}" if no_cell else ""
            raise UsageError(f"{flag} '{glob}' matches no cell{reason}", _near(glob, (*made.rows, *made.optional)))


def _idle_rules(matrix: Matrix, every: Sequence[Cell], made: _Sorted) -> Iterable[str]:
    """A warning for each rule that matches nothing: what it named is gone, or it is misspelt and its cells run."""
    ids = [cell.id for cell in every]
    for rule in matrix.excludes:
        if not any(map(matcher(rule.cells), ids)):
            near = _near(rule.cells, (*made.rows, *made.optional))
            yield f"the rule [[exclude]] cells = '{rule.cells}' in {matrix.place} matches no cell; {near}"


def _idle_tables(matrix: Matrix, made: _Sorted) -> Iterable[str]:
    """A warning for each table of an axis that has no cell at all."""
    used = {name for cell in (*made.rows, *made.optional) for name in _tables_of(matrix, cell)}
    why: dict[str, str] = {}
    for cell in (*made.impossible, *made.beyond):
        for name in _tables_of(matrix, cell):
            why.setdefault(name, cell.excluded or "")
    yield from (f"{name} in {matrix.place} has no cell: {why[name]}" for name in why if name not in used)


def _tables_of(matrix: Matrix, cell: Cell) -> tuple[str, str, str]:
    axis = "providers" if matrix.targets[cell.target].provider else "baselines"
    return f"models.{cell.model}", f"precisions.{cell.precision}", f"{axis}.{cell.target}"


def _nothing(matrix: Matrix, made: _Sorted) -> MatrixError:
    if made.optional:
        message = f"every cell of {matrix.place} is optional ({made.optional[0].excluded})"
        return MatrixError(message, "add --with-optional to run them")
    reasons = {cell.excluded for cell in (*made.impossible, *made.beyond)}
    example = min(filter(None, reasons), default="no model has a workload")
    return MatrixError(f"{matrix.place} has no cell: {example}", "add a recipe or a target")


def _near(glob: str, cells: Sequence[Cell]) -> str:
    # Without a lowest similarity: stars make a glob unlike every id, and some example is better than none.
    close = similar(glob, [cell.id for cell in cells], least=0.0)
    return f"a cell is named like '{close[0]}'" if close else "the matrix has no cells"
