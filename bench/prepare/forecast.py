"""Estimates what a plan takes on this machine: megabytes to download, and the time to prepare and to measure."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import tomllib
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import reading
from bench.declare import registry
from bench.declare.matrix import Matrix, Runtime
from bench.records import Cell, Effort, RuntimeRecord

FILE = Path(__file__).parents[1] / "declare" / "estimates.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MOST_RECORDS = 2000
"""A cache with more artifacts is not read: what it holds is then taken as not built, rather than read for a second."""


class BuildSeconds(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds of building for a model of one family."""

    reference: float
    export: float
    recipe: float
    """Of each further artifact, which is made from the export."""


class Seconds(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds of installing and measuring; `megabytes_…` are a second's."""

    megabytes_downloaded: float
    megabytes_installed: float
    start: float
    workload: float
    around_burst: float
    generation: float
    turns_limit: float


class Estimates(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `estimates.toml`."""

    packages: dict[str, tuple[float, float]]
    builds: dict[str, BuildSeconds]
    seconds: Seconds


class Load(Struct, frozen=True):
    """Something that is not in the cache: a runtime to install, or a model to download."""

    what: str
    download_mb: float
    """0 where the size is not known."""
    disk_mb: float
    is_known: bool = True


class Forecast(Struct, frozen=True):
    """What a plan takes, about."""

    loads: tuple[Load, ...]
    builds: int
    """Artifacts and reference answers that are not in the cache."""
    prepare_s: float
    measure_s: float

    @property
    def download_mb(self) -> float:
        """Megabytes to download, as far as they are known."""
        return sum(load.download_mb for load in self.loads)


class _Slim(Struct, frozen=True):
    """The part of an artifact's record that says what it is."""

    parts: dict[str, str]


@cache
def estimates() -> Estimates:
    """The data that estimates are made from."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), Estimates)


def forecast(matrix: Matrix, cells: Sequence[Cell], effort: Effort, folder: Path) -> Forecast:
    """What the cells that run take, with a cache at `folder`. Reads small files of the cache, and changes nothing."""
    seconds = estimates().seconds
    loads = [*_installs(needed_runtimes(matrix, cells), folder), *_fetches(matrix, cells, folder)]
    builds = list(_builds(cells, _built(folder)))
    loading = sum(
        load.download_mb / seconds.megabytes_downloaded + load.disk_mb / seconds.megabytes_installed for load in loads
    )
    return Forecast(tuple(loads), len(builds), loading + sum(builds), measuring_s(cells, effort))


def measuring_s(cells: Sequence[Cell], effort: Effort) -> float:
    """Seconds of measuring: the budget's time, or the first blocks of all models where they take longer."""
    models = dict.fromkeys(cell.model for cell in cells)
    blocks = sum(block_s([cell for cell in cells if cell.model == model], effort) for model in models)
    if effort.minutes is None:
        return effort.min_rounds * blocks
    # Comparisons are open until the time is over, or until there are enough blocks.
    return max(blocks, min(60 * effort.minutes, effort.max_rounds * blocks))


def too_short(cells: Sequence[Cell], effort: Effort) -> str:
    """What to say before a run whose time is about over after the first block of each model; else empty."""
    once_s = measuring_s(cells, replace(effort, minutes=0.0))
    # An estimate: a time that is only a little too short may be enough.
    if effort.minutes is None or effort.max_rounds < 2 or 60 * effort.minutes >= once_s:
        return ""
    models = len({cell.model for cell in cells})
    what = "one block takes" if models == 1 else f"one block of each of the {models} models takes"
    return (
        f"{effort.minutes:g} min are short: {what} about {shown_minutes(once_s)}, and all are made; "
        f"one block gives no intervals: --minutes {math.ceil(2 * once_s / 60)} is about enough for two"
    )


def shown_minutes(seconds: float) -> str:
    """`3 min`; `40 s` below two minutes."""
    return f"{round(seconds / 60)} min" if seconds >= 120 else f"{max(1, round(seconds))} s"


def block_s(cells: Sequence[Cell], effort: Effort) -> float:
    """Seconds of a block of one model: a process for each target x precision, and bursts of each workload in turn."""
    seconds = estimates().seconds
    turn = sum(
        seconds.generation if registry.families()[cell.family].generates else effort.burst_s + seconds.around_burst
        for cell in cells
    )
    turns = min(effort.bursts * turn, max(turn, seconds.turns_limit))
    return seconds.start * len({cell.group for cell in cells}) + seconds.workload * len(cells) + turns


def needed_runtimes(matrix: Matrix, cells: Iterable[Cell]) -> list[Runtime]:
    """The runtimes that run the cells, and those that build their artifacts and references, each after its base."""
    names: dict[str, None] = {}
    for cell in cells:
        family = registry.families()[cell.family]
        form = registry.formats().get(cell.format or "")
        makers = (form.build_runtime, form.convert_runtime) if form else ()
        for name in (family.build_runtime, *filter(None, makers), cell.runtime):
            base = matrix.runtimes[name].extends
            names |= dict.fromkeys(filter(None, (base, name)))
    return [matrix.runtimes[name] for name in names]


def _installs(runtimes: Iterable[Runtime], folder: Path) -> Iterable[Load]:
    installed = _installed(folder)
    for runtime in runtimes:
        known = {(frozenset(record.requires), record.extends) for record in installed}
        # The record of a runtime that extends another lists the requirements of both.
        own = frozenset(runtime.requires)
        is_there = any(own <= requires and extends == runtime.extends for requires, extends in known)
        if runtime.requires and not runtime.unavailable and not is_there:
            sizes = [_sizes(requirement) for requirement in own]
            yield Load(f"runtime {runtime.name}", sum(size[0] for size in sizes), sum(size[1] for size in sizes))


def _sizes(requirement: str) -> tuple[float, float]:
    return estimates().packages.get(_distribution(requirement), (1.0, 3.0))


def disk_mb(requirements: Iterable[str]) -> float:
    """About how many megabytes the disk must have for a runtime."""
    return sum(_sizes(requirement)[1] for requirement in requirements)


def _installed(folder: Path) -> list[RuntimeRecord]:
    records = []
    for path in (folder / "runtimes").glob("*/runtime.json"):
        with contextlib.suppress(OSError, *reading.UNREADABLE):
            records.append(msgspec.json.decode(path.read_bytes(), type=RuntimeRecord))
    # Another Python has runtimes of its own.
    return [record for record in records if record.python == platform.python_version()]


def _fetches(matrix: Matrix, cells: Iterable[Cell], folder: Path) -> Iterable[Load]:
    """The wheels and hub models that are not in the cache."""
    models = [matrix.models[name] for name in dict.fromkeys(cell.model for cell in cells)]
    specs = dict.fromkeys(spec for model in models for spec in (model.source, model.inputs or ""))
    wanted: dict[str, Path] = {}
    for spec in specs:
        kind, _, rest = spec.partition(":")
        if kind == "wheel":
            wanted[_distribution(rest)] = folder / "sources" / "wheels" / _distribution(rest)
        elif kind == "hub":
            repository = rest.partition("@")[0]
            wanted[repository] = folder / "sources" / "hub" / f"models--{repository.replace('/', '--')}"
    for name, place in wanted.items():
        if not place.is_dir():
            size = estimates().packages.get(name)
            yield Load(f"model {name}", *(size or (0.0, 0.0)), is_known=size is not None)


def _builds(cells: Sequence[Cell], built: Collection[tuple[str, ...]]) -> Iterable[float]:
    """The seconds of each build that the cells need and the cache does not seem to hold."""
    exported = {(model, form) for model, form, *_ in built}
    done: set[tuple[str, ...]] = set(built)
    for cell in cells:
        seconds = estimates().builds.get(cell.family, estimates().builds["text-encoder"])
        reference = (cell.model, "", cell.workload)
        if reference not in done:
            done.add(reference)
            yield seconds.reference
        artifact = (cell.model, cell.format or "", cell.recipe.name if cell.recipe else "")
        if cell.format and artifact not in done:
            done.add(artifact)
            yield seconds.recipe if artifact[:2] in exported else seconds.export
            exported.add(artifact[:2])


def _built(folder: Path) -> set[tuple[str, ...]]:
    """What the cache holds: (model, format, recipe) of artifacts, and (model, empty, workload) of references.

    By name alone: a changed file of the same name is built again.
    """
    names: list[str] = []
    # A cache may hold a thousand of them, for which a glob and a `Path` each would take longer than all else.
    with contextlib.suppress(OSError), os.scandir(folder / "artifacts") as listed:
        names = [item.name for item in listed]
    found: set[tuple[str, ...]] = set()
    decode = msgspec.json.Decoder(_Slim).decode
    for name in names if len(names) <= MOST_RECORDS else ():
        with contextlib.suppress(OSError, *reading.UNREADABLE):
            with open(f"{folder}/artifacts/{name}/artifact.json", "rb", buffering=0) as file:  # noqa: PTH123
                parts = decode(file.read()).parts
            if parts.get("what") == "artifact":
                found.add((parts["model"], parts.get("format", ""), parts.get("recipe", "")))
            elif parts.get("what") == "reference":
                found.add((parts["model"], "", parts.get("workload", "")))
    return found


def _distribution(requirement: str) -> str:
    """The name of the package that a requirement or a wheel's spec begins with, as the index writes it."""
    match = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement
