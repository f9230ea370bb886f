"""Engines: each file drives one library, as the Protocol `bench.worker.contracts.Engine` describes."""

from __future__ import annotations

from typing import cast

from bench.worker import modules
from bench.worker.contracts import Engine


def named(name: str) -> Engine:
    """Import the module of the engine `name`; this may load heavy libraries."""
    return cast(Engine, modules.load("engines", name))
