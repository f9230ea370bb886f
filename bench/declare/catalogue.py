"""Reads the known execution providers from `catalogue.toml`, and gives their targets and runtimes on this platform."""

from __future__ import annotations

import platform
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from bench.declare.patterns import INDEXED, NEED, PLATFORM, PYTHONS
from bench.declare.targets import Runtime, Target
from bench.records import CompileCache, DeviceChoice, DeviceOption, DeviceType, Option, Provider, ProviderBehavior

FILE = Path(__file__).parent / "catalogue.toml"
SYSTEMS = {"linux": "linux", "win32": "windows", "darwin": "macos"}
BEHAVIOR = ProviderBehavior.__struct_fields__
"""The keys that a row and a table of a matrix share."""
# Each system has a name of its own for one architecture; wheels have these.
PROCESSORS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class Wheel(Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements that bring a provider on some platforms."""

    requires: tuple[str, ...]
    platforms: tuple[Annotated[str, Meta(pattern=PLATFORM)], ...]
    """`linux-x86_64`, `windows-aarch64`, `macos-aarch64` …"""
    python: Annotated[str, Meta(pattern=PYTHONS)]
    """The Pythons that it is published for, `>=3.11,<3.15`."""


class Row(ProviderBehavior, frozen=True):
    """A known provider, as `catalogue.toml` writes it."""

    name: str
    ep: str
    title: str
    install: str
    """What to install or plug in, in one sentence."""
    tested: Literal[False] | str
    """The machine and the date of the last test; False where it was never tested."""
    plugin: str | None = None
    device: DeviceType | None = None
    """The type of device that it runs on; None where the provider chooses."""
    needs: Annotated[str, Meta(pattern=NEED)] = ""
    """The device that it needs: `KIND` or `KIND:VENDOR` (see `patterns`), or empty."""
    wheels: tuple[Wheel, ...] = ()
    options: dict[str, Option] = {}
    """The options that it gets unless a matrix changes them."""
    known: dict[str, str] | None = None
    """Its options with their meaning; None where no list of them is published."""
    computes: str = ""
    """The precision in which it computes, where known."""
    static_shapes: bool = False
    emulated: bool = False
    cache: CompileCache | None = None
    environment: dict[str, str] = {}
    session: dict[str, str] = {}
    drafted: str = ""
    """Where it can be, in a few words, if a draft of `bench init` holds it; else empty."""

    @property
    def known_options(self) -> tuple[str, ...] | None:
        """The names of all options that the catalogue knows; None where it has no list."""
        return None if self.known is None else tuple(sorted({*self.known, *self.options}))


@cache
def rows() -> dict[str, Row]:
    """Every known provider by its name, in the order of the file."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: msgspec.convert({**_inherited(tables, table), "name": name}, Row) for name, table in tables.items()}


def find(name: str) -> tuple[Row, int | None] | None:
    """The row that `cuda` or `cuda.1` names, and the device's index; None for an unknown name."""
    if name in rows():
        return rows()[name], None
    indexed = INDEXED.fullmatch(name)
    if indexed and indexed[1] in rows():
        return rows()[indexed[1]], int(indexed[2])
    return None


def target(name: str) -> Target:
    """The target of an empty table `[providers.NAME]`. Raises `KeyError` for an unknown name."""
    match = find(name)
    if match is None:
        raise KeyError(name)
    row, index = match
    return Target(name, "ort", row.name, provider=provider(row, index), needs=row.needs, row=row.name)


def provider(row: Row, index: int | None = None) -> Provider:
    """The record of a row that a worker gets, with the device of this index."""
    return Provider(
        ep=row.ep,
        plugin=row.plugin,
        device=DeviceChoice(row.device, index),
        options=row.options,
        session=row.session,
        environment=row.environment,
        static_shapes=row.static_shapes,
        emulated=row.emulated,
        cache=row.cache,
        hint=row.install,
        known_options=row.known_options,
        **behavior_of(row),
    )


def behavior_of(row: ProviderBehavior) -> dict[str, Any]:
    """The keys of a row that describe its provider's behavior."""
    return {key: getattr(row, key) for key in BEHAVIOR}


def behavior(ep: str, plugin: str | None = None) -> dict[str, Any]:
    """The behavior of an execution provider whose table has no row's name: the keys of the provider's first row.

    A plugin may behave differently from the same provider in a wheel, so a row of the same kind is preferred.
    """
    known = [row for row in rows().values() if row.ep == ep]
    same = [row for row in known if bool(row.plugin) == bool(plugin)]
    return behavior_of((same or known)[0]) if known else {}


def index_value(option: DeviceOption, kind: DeviceType | None, index: int | str) -> str:
    """The value of the option that chooses a device of this type and index: `1`, or `GPU.1`."""
    # OpenVINO takes `GPU.1`; others take the index alone.
    return f"{str(kind).upper()}.{index}" if option.names_type else str(index)


def runtime(name: str) -> Runtime:
    """The runtime of a row on this platform and Python; `unavailable` says why no wheel can be installed."""
    row = rows()[name]
    # The environment is made with this interpreter, so its version decides which wheels fit.
    machine_platform, python = platform_word(), sys.version_info[:2]
    fitting = [wheel for wheel in row.wheels if machine_platform in wheel.platforms]
    for wheel in fitting:
        if admits(wheel.python, python):
            return Runtime(name, wheel.requires)
    return Runtime(name, unavailable=_no_wheel(row, fitting, machine_platform, python), hint=row.install)


def _no_wheel(row: Row, fitting: list[Wheel], machine_platform: str, python: tuple[int, int]) -> str:
    if fitting:
        needed = " or ".join(wheel.python for wheel in fitting)
        return f"the wheels with {row.ep} are for Python {needed}, and this is {python[0]}.{python[1]}"
    if row.wheels:
        published = ", ".join(word for wheel in row.wheels for word in wheel.platforms)
        return f"there is no wheel with {row.ep} for {machine_platform}, only for {published}"
    return f"no wheel with {row.ep} is published"


def platform_word() -> str:
    """The platform of this machine as rows name it: `linux-x86_64`, `windows-aarch64`, `macos-aarch64` …"""
    machine = platform.machine().lower()
    return f"{SYSTEMS.get(sys.platform, sys.platform)}-{PROCESSORS.get(machine, machine)}"


def admits(pythons: str, python: tuple[int, int]) -> bool:
    """Whether `>=3.11,<3.15` admits this Python."""
    # Not `packaging`, whose import would make every `bench plan` slower; a test holds both equal.
    least, below = (tuple(map(int, bound.lstrip("<>=").split("."))) for bound in pythons.split(","))
    return least <= python < below


def _inherited(tables: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """A table with the missing keys of the row that its key `like` names."""
    rest = {key: value for key, value in table.items() if key != "like"}
    if "like" not in table:
        return rest
    # A draft names a provider once, not each of its devices.
    parent = {key: value for key, value in _inherited(tables, tables[table["like"]]).items() if key != "drafted"}
    return {**parent, **rest}
