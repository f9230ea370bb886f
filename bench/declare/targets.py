"""What cells run on, and in: targets and runtimes."""

from __future__ import annotations

from msgspec import Struct

from bench.records import Option, Provider


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
