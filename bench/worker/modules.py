"""Imports the module of a family, an engine or a format by its name, from here or from a plug-in package."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

Kind = Literal["families", "engines", "formats"]
PLUGINS = "touchstone-plugins.json"
"""A file beside the staged package, with the modules of plug-in packages by kind and name."""


def load(kind: Kind, name: str) -> ModuleType:
    """Import the module; ModuleNotFoundError where no module has this name."""
    # Names in the matrix have hyphens, which the names of modules cannot have.
    return import_module(_plugins().get(kind, {}).get(name) or f"bench.worker.{kind}.{name.replace('-', '_')}")


@cache
def _plugins() -> dict[str, dict[str, str]]:
    path = Path(__file__).parents[2] / PLUGINS
    plugins: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return plugins
