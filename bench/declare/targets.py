"""Defines targets and runtimes, and lists the runtimes that a matrix need not describe."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.records import Option, Provider

KNOWN_RUNTIMES = Path(__file__).with_name("runtimes.toml")


class Runtime(Struct, frozen=True):
    """A row of `[runtimes]`, or of the catalogue: requirements to install, or an interpreter to use as it is."""

    name: str
    requires: tuple[str, ...] = ()
    python: str | None = None
    extends: str = ""
    """The name of a runtime whose packages it sees where it has none of its own; empty for none."""
    base: Runtime | None = None
    """The runtime of that name."""
    unavailable: str = ""
    """Why it cannot be made on this machine: no wheel for the platform or Python. Then `requires` is empty."""
    hint: str = ""
    """The remedy where it is unavailable."""


class Target(Struct, frozen=True):
    """A row of `[providers]` or `[baselines]`: an engine, with its provider where it has one, that cells run on."""

    name: str
    engine: str
    runtime: str
    provider: Provider | None = None
    mode: str = ""
    control: bool = False
    options: dict[str, Option] = {}
    """The options of an engine without an execution provider."""
    needs: str = ""
    """The device that it needs, `gpu:nvidia`; empty where any machine may have it."""
    row: str | None = None
    """The name of its row in the catalogue."""
    precisions: tuple[str, ...] = ()
    """The precisions that it is measured in; empty for all that it can have."""
    if_present: bool = False
    """Whether its cells are optional on a machine that lacks its device or its wheel."""
    optimization_given: bool = False
    """Whether the matrix sets the level of graph optimization; its cells are then measured at no other."""


@cache
def known_runtimes() -> dict[str, Runtime]:
    """The known runtimes that belong to no execution provider; the catalogue has the others."""
    tables = tomllib.loads(KNOWN_RUNTIMES.read_text(encoding="utf-8"))
    return with_bases(
        {
            name: Runtime(name, requires=tuple(table["requires"]), extends=table.get("extends", ""))
            for name, table in tables.items()
        }
    )


def with_bases(runtimes: dict[str, Runtime]) -> dict[str, Runtime]:
    """Each runtime with the runtime that it extends, where that is among them."""
    return {
        name: replace(runtime, base=runtimes[runtime.extends]) if runtime.extends in runtimes else runtime
        for name, runtime in runtimes.items()
    }
