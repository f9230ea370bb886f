"""What cells run on, and in: targets, runtimes, and the runtimes that a matrix need not describe."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from msgspec import Struct

from bench.records import Option, Provider

KNOWN_RUNTIMES = Path(__file__).with_name("runtimes.toml")


class Runtime(Struct, frozen=True):
    """A row of `[runtimes]`, or of the catalogue: requirements to install, or an interpreter to use as it is."""

    name: str
    requires: tuple[str, ...] = ()
    python: str | None = None
    unavailable: str = ""
    """Why it cannot be made here: no wheel for this platform or Python. Then `requires` is empty."""
    hint: str = ""
    """What would help then."""


class Target(Struct, frozen=True):
    """A row of `[providers]` or `[baselines]`: whatever a cell runs on."""

    name: str
    engine: str
    runtime: str
    provider: Provider | None = None
    mode: str = ""
    control: bool = False
    options: dict[str, Option] = {}
    """Of an engine that is no execution provider."""
    needs: str = ""
    """The device without which it need not be tried, `gpu:nvidia`; empty where any machine may have it."""
    row: str | None = None
    """The row of the catalogue that it inherits from."""


@cache
def known_runtimes() -> dict[str, Runtime]:
    """Every known environment that is no execution provider's; those the catalogue brings."""
    tables = tomllib.loads(KNOWN_RUNTIMES.read_text(encoding="utf-8"))
    return {name: Runtime(name, requires=tuple(table["requires"])) for name, table in tables.items()}
