"""Reads the tables `[precisions]`: the recipe of each family, and of each engine that makes its own artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bench.declare import answer_limits, registry
from bench.declare.manifests import RecipeDeclaration
from bench.declare.tables import Tables
from bench.records import Recipe, Tolerance
from bench.shared.number_formats import coarsest

Known = Mapping[str, RecipeDeclaration]
"""Recipes by name."""


FIGURES = Tolerance.__struct_fields__
SHARES = ("min_cosine", "min_top1", "min_agreement", "clear_agreement", "clear_tokens")
"""Limits that are at most 1."""


class Precision(Struct, frozen=True):
    """A row of `[precisions]`: a recipe for each family, and for each engine with its own recipes."""

    name: str
    families: dict[str, Recipe]
    engines: dict[str, dict[str, Recipe]]
    """By engine, then by family; the family `*` means all families."""
    tolerance: Tolerance | None = None

    def recipe(self, engine: str, family: str) -> Recipe | None:
        """The recipe of this precision for a family on an engine; None where there is none."""
        if registry.engines()[engine].takes_family_recipes(registry.families()[family]):
            return self.families.get(family)
        own = self.engines.get(engine, {})
        # A recipe for this family is the more exact one.
        return own.get(family) or own.get("*")

    def tolerance_of(self, engine: str, family: str, file_format: str | None = None) -> Tolerance | None:
        """How far outputs may be from the reference: the limit of the matrix, else of the recipe or the family.

        `file_format` is the number format that the model's own file holds, where that is not FP32: its limit counts
        where it is wider. None where there is no limit; a matrix with such a cell is refused when it is read.
        """
        recipe = self.recipe(engine, family)
        if recipe is None:
            return self.tolerance
        known = registry.engines()[engine].own_recipes
        limit = registry.tolerance(known[recipe.name], registry.families()[family])
        # A limit of the matrix stays as the user set it.
        declared = self.tolerance or wider(limit, registry.families()[family].tolerances.get(file_format or ""))
        # Formats of weights alone, such as 6 bits, have no place in the order.
        held = coarsest((recipe.number_format, file_format)) if file_format else recipe.number_format
        return None if declared is None else answer_limits.completed(declared, held)


def wider(limit: Tolerance | None, other: Tolerance | None) -> Tolerance | None:
    """The tolerance that accepts what either of the two accepts of each figure; the first where there is no other."""
    if limit is None or other is None:
        return limit
    return Tolerance(**{name: _wider(name, getattr(limit, name), getattr(other, name)) for name in FIGURES})


def _wider(name: str, limit: Any, other: Any) -> Any:
    # A figure without a limit in one of them has none in both.
    if limit is None or other is None:
        return None
    # `same_tokens` is a demand, as a lower limit is: both must make it.
    return max(limit, other) if name.startswith("max_") else min(limit, other)


def read_precisions(tables: Tables) -> dict[str, Precision]:
    """Every precision by name; mistakes are kept in `tables`."""
    precisions = {}
    for name, data in tables.named("precisions", needed=True):
        with tables.attempt():
            precisions[name] = _precision(tables, name, data)
    return precisions


def _precision(tables: Tables, name: str, data: dict[str, Any]) -> Precision:
    where = f"precisions.{name}"
    families, engines = registry.families(), registry.engines()
    made_by_families = {family.format for family in families.values()}
    # Only these can have recipes of their own: the others run the artifacts of a family's format.
    own = {engine.name for engine in engines.values() if engine.format not in made_by_families}
    if not data:
        raise tables.error(f"{where} is empty", 'give a family its recipe, e.g. text-encoder = "fp32"')
    with tables.attempt():
        tables.only_known(data, [*families, *own, "tolerance"], where)
    by_family, by_engine, limit = {}, {}, None
    for family in (family for key, family in families.items() if key in data):
        with tables.attempt():
            known = registry.recipes(family.format)
            by_family[family.name] = _recipe(tables, data[family.name], f"{where}.{family.name}", known)
    for engine in sorted(own & data.keys()):
        with tables.attempt():
            by_engine[engine] = _engine_recipes(tables, engine, data[engine], where)
    with tables.attempt():
        limit = _tolerance(tables, data["tolerance"], f"{where}.tolerance") if "tolerance" in data else None
    return Precision(name=name, families=by_family, engines=by_engine, tolerance=limit)


def _tolerance(tables: Tables, data: object, where: str) -> Tolerance:
    tolerance = tables.struct(Tolerance, data, where)
    for name in FIGURES:
        limit = getattr(tolerance, name)
        if not isinstance(limit, float):
            continue
        lowest, highest = -1.0 if name == "min_cosine" else 0.0, 1.0 if name in SHARES else math.inf
        # A NaN is neither above nor below a limit, so it would accept every output.
        if not math.isfinite(limit) or not lowest <= limit <= highest:
            ends = f"from {lowest:g} to {highest:g}" if name in SHARES else f"of at least {lowest:g}"
            raise tables.error(f"{where}.{name} is {limit:g}", f"it is a number {ends}")
    return tolerance


def _engine_recipes(tables: Tables, engine: str, entry: object, where: str) -> dict[str, Recipe]:
    known: Known = registry.engines()[engine].own_recipes
    # A table with the key `recipe` is one recipe with options; any other table is by family.
    if not isinstance(entry, dict) or "recipe" in entry:
        return {"*": _recipe(tables, entry, f"{where}.{engine}", known)}
    tables.only_known(entry, registry.families(), f"{where}.{engine}")
    return {family: _recipe(tables, value, f"{where}.{engine}.{family}", known) for family, value in entry.items()}


def _recipe(tables: Tables, entry: object, where: str, known: Known) -> Recipe:
    """A recipe's name, or `{ recipe = NAME, OPTION = … }`."""
    table = {"recipe": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict) or not isinstance(table.get("recipe"), str):
        raise tables.error(f"{where} is no recipe", "write a recipe's name, or { recipe = NAME, OPTION = … }")
    name = table["recipe"]
    tables.one_of(name, known, f"unknown recipe '{name}' in {where}")
    options = {key: value for key, value in table.items() if key != "recipe"}
    # A misspelt option must not look as if it worked.
    tables.only_known(options, known[name].options, where)
    tables.plain(options, where)
    return Recipe(name=name, options=options, number_format=known[name].number_format)
