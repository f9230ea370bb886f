"""`runtimes.toml`: the environments that a matrix need not describe, by name."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from bench.declare.targets import Runtime

FILE = Path(__file__).with_name("runtimes.toml")


@cache
def known_runtimes() -> dict[str, Runtime]:
    """Every known environment that is no execution provider's; those the catalogue brings."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: Runtime(name, requires=tuple(table["requires"])) for name, table in tables.items()}
