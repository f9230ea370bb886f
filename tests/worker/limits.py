"""The tolerances of a family by number format, as its own manifest and its recipes declare them for random weights."""

from __future__ import annotations

from msgspec.structs import replace

from bench.declare import answer_limits, registry
from bench.records import Tolerance


def limits(family: str) -> dict[str, Tolerance]:
    """Of every number format that the family can be made in; a recipe's own limits agree with the others' of it."""
    known = registry.families()[family]
    found = dict(known.tolerances)
    for engine in registry.engines().values():
        for recipe in engine.own_recipes.values() if engine.runs(known) else ():
            # The number format of a user's own file is known when it is read.
            if recipe.name == "gguf-as-given":
                continue
            if declared := registry.tolerance(recipe, known):
                limit = replace(answer_limits.for_weights(declared, "random"), max_kl_random=None)
                assert found.setdefault(recipe.number_format, limit) == limit
    return found
