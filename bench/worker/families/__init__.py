"""Families of models, one file each; `bench.worker.contracts.Family` is their interface."""

from __future__ import annotations

from typing import cast

from bench.worker import modules
from bench.worker.contracts import Family


def generates(name: str) -> bool:
    """Whether the family's models generate tokens one after another."""
    return named(name).MANIFEST.task != "forward"


def named(name: str) -> Family:
    """The module of the family `name`."""
    return cast(Family, modules.load("families", name))
