"""Formats of artifacts, one file each; `bench.worker.contracts.Format` is their interface."""

from __future__ import annotations

from bench.worker import modules
from bench.worker.recipes import RecipeFunction, recipes_of


def recipes(name: str) -> dict[str, RecipeFunction]:
    """The recipes of the format `name`; importing its file may load heavy libraries."""
    return recipes_of(modules.load("formats", name))
