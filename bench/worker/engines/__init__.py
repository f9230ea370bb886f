"""Engines: one file drives one library; `bench.worker.contracts.Engine` says what it has."""

from __future__ import annotations

from typing import cast

from bench.worker import modules
from bench.worker.contracts import Engine


def named(name: str) -> Engine:
    """The module of the engine `name`; importing it may load heavy libraries."""
    return cast(Engine, modules.load("engines", name))
