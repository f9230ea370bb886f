"""The tolerances of a family by number format, as its own manifest and the recipes that make it declare them."""

from __future__ import annotations

from bench.declare import registry
from bench.records import Tolerance


def limits(family: str) -> dict[str, Tolerance]:
    """Of every number format that the family can be made in; a recipe's own limits agree with the others' of it."""
    known = registry.families()[family]
    found = dict(known.tolerances)
    for engine in registry.engines().values():
        for recipe in engine.own_recipes.values() if engine.runs(known) else ():
            if limit := registry.tolerance(recipe, known):
                assert found.setdefault(recipe.number_format, limit) == limit
    return found
