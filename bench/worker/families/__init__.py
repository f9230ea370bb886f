"""Families: one file for each kind of model."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def generates(name: str) -> bool:
    """Whether a call of the family's models emits tokens one after another."""
    return bool(getattr(named(name), "GENERATES", False))


def named(name: str) -> Any:
    """The module of the family `name`; importing it may load heavy libraries."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")
