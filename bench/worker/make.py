"""A `Make` in, the artifact of a recipe in a format of its own out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records import Built, Make, Source
from bench.worker import families, formats


@dataclass(frozen=True)
class Context:
    """What a recipe makes its artifact from."""

    family: Any
    source: Source
    parent: Path | None
    """The folder of the format's base artifact, for recipes that are made from it."""


def make(order: Make) -> Built:
    """Write the recipe's files into `out`; ValueError says which recipe or option there is none of."""
    recipes = formats.named(order.format).RECIPES
    name, options = order.recipe.name, order.recipe.options
    if name not in recipes:
        raise ValueError(f"unknown recipe {name!r}; the format {order.format} has {', '.join(sorted(recipes))}")
    known = recipes[name].__kwdefaults__ or {}
    for option in options:
        if option not in known:
            raise ValueError(f"recipe {name!r} has no option {option!r}; it has {', '.join(known)}")
    context = Context(families.named(order.family), order.source, Path(order.parent) if order.parent else None)
    return Built(tuple(recipes[name](context, Path(order.out), **options)))
