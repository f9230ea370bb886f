"""Two runs in; what differs between the packages of their runtimes out: what was asked for first, the rest in brief."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bench.judge.changes import listed, quoted
from bench.records import Run, RuntimeRecord

WEIGHTY = ("onnxruntime", "onnx", "torch", "openvino", "optimum", "transformers", "llama", "numpy")
"""How packages begin that get a sentence each though another one brought them."""


def packages(base: Run, new: Run) -> Iterable[str]:
    """One sentence for each version that changed, with the runtimes that it changed in."""
    pairs = _pairs(base, new)
    found: dict[str, list[str]] = {}
    for old, now in pairs:
        for change in _weighty(old, now):
            found.setdefault(change, []).append(_where(old, now))
    for change, places in found.items():
        yield f"{change} in runtime{'s' if len(places) > 1 else ''} {listed(places)}"
    for old, now in pairs:
        yield from _whole(old, now)


def _pairs(base: Run, new: Run) -> list[tuple[RuntimeRecord, RuntimeRecord]]:
    """Runtimes of one name; and where one target ran in two, those two."""
    names = {(name, name): None for name in base.runtimes if name in new.runtimes}
    after = {cell.target: cell.runtime for cell in new.cells}
    for target, runtime in {cell.target: cell.runtime for cell in base.cells}.items():
        names.setdefault((runtime, after.get(target, runtime)), None)
    return [(base.runtimes[a], new.runtimes[b]) for a, b in names if a in base.runtimes and b in new.runtimes]


def _where(old: RuntimeRecord, new: RuntimeRecord) -> str:
    return quoted(new.name) if old.name == new.name else f"{quoted(old.name)} -> {quoted(new.name)}"


def _changes(old: RuntimeRecord, new: RuntimeRecord) -> Iterable[tuple[str, str]]:
    """Packages by name, each with its change."""
    for name in sorted({*old.packages, *new.packages}):
        before, after = old.packages.get(name), new.packages.get(name)
        if before is None:
            yield name, f"{name} {after} added"
        elif after is None:
            yield name, f"{name} {before} gone"
        elif before != after:
            yield name, f"{name} {before} -> {after}"


def _weighty(old: RuntimeRecord, new: RuntimeRecord) -> list[str]:
    asked = _asked(old) | _asked(new)
    return [
        change for name, change in _changes(old, new) if canonicalize_name(name) in asked or name.startswith(WEIGHTY)
    ]


def _whole(old: RuntimeRecord, new: RuntimeRecord) -> Iterable[str]:
    """What of a runtime has no sentence yet: its interpreter, and the packages that others brought along."""
    where = _where(old, new)
    if old.python != new.python:
        yield f"runtime {where}: Python {old.python} -> {new.python}"
    if old.existing != new.existing:
        kinds = ["an interpreter of the user's" if one.existing else "made by the suite" for one in (old, new)]
        yield f"runtime {where}: {kinds[0]} -> {kinds[1]}"
    told = set(_weighty(old, new))
    rest = [change for _, change in _changes(old, new) if change not in told]
    if rest:
        yield f"runtime {where}, packages that others brought along: {listed(rest)}"


def _asked(runtime: RuntimeRecord) -> set[str]:
    """The names of the requirements; those that are paths have none."""
    names = set()
    for requirement in runtime.requires:
        with contextlib.suppress(InvalidRequirement):
            names.add(str(canonicalize_name(Requirement(requirement).name)))
    return names
