"""Engines: one file drives one library."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(name: str) -> Any:
    """The module of the engine `name`; importing it may load heavy libraries."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")
