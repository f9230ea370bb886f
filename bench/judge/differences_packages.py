"""Finds what differs between the packages of two runs' runtimes: requirements first, other packages in brief."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bench.judge.changes import Change, changes, cut
from bench.records import Note, NoteValue, Run, RuntimeRecord, note

IMPORTANT = ("onnxruntime", "onnx", "torch", "openvino", "optimum", "transformers", "llama", "numpy")
"""Prefixes of packages that get a note of their own although no requirement names them."""
SHOWN_RUNTIMES = 6

Runtimes = tuple[RuntimeRecord, RuntimeRecord]
"""A runtime of the base, and the runtime of the new run that corresponds to it."""


def packages(base: Run, new: Run) -> Iterable[Note]:
    """One note for each version that changed, with the runtimes in which it changed."""
    pairs = _pairs(base, new)
    pairs_by_change: dict[tuple[str, str | None, str | None], list[Runtimes]] = {}
    for pair in pairs:
        for change in _important(*pair):
            pairs_by_change.setdefault(change, []).append(pair)
    for (name, before, after), places in pairs_by_change.items():
        shown = places[:SHOWN_RUNTIMES]
        yield note(
            "package",
            name=cut(name),
            before=before and cut(before),
            after=after and cut(after),
            runtimes=tuple(cut(new.name) for _, new in shown),
            runtimes_before=tuple(cut(old.name) for old, _ in shown),
            more=len(places) - len(shown),
        )
    for pair in pairs:
        yield from _whole(*pair)


def _pairs(base: Run, new: Run) -> list[Runtimes]:
    """Pairs of runtimes with the same name, or with different names where one target ran in both."""
    # A dictionary in place of a set keeps the order of the base, so that equal runs give equal notes.
    names = {(name, name): None for name in base.runtimes if name in new.runtimes}
    after = {cell.target: cell.runtime for cell in new.cells}
    for target, runtime in {cell.target: cell.runtime for cell in base.cells}.items():
        # Without this, the versions of a target that moved to another runtime would not be compared.
        names.setdefault((runtime, after.get(target, runtime)), None)
    return [(base.runtimes[a], new.runtimes[b]) for a, b in names if a in base.runtimes and b in new.runtimes]


def _changes(old: RuntimeRecord, new: RuntimeRecord) -> Iterable[tuple[str, str | None, str | None]]:
    """Packages by name with the version of each side; None where a side does not have it."""
    for name in sorted({*old.packages, *new.packages}):
        before, after = old.packages.get(name), new.packages.get(name)
        if before != after:
            yield name, before, after


def _important(old: RuntimeRecord, new: RuntimeRecord) -> list[tuple[str, str | None, str | None]]:
    required = _required_names(old) | _required_names(new)
    return [
        change
        for change in _changes(old, new)
        # A requirement may spell a name otherwise than the installed package: `-`, `_` and `.` are equal (PEP 503).
        if canonicalize_name(change[0]) in required or change[0].startswith(IMPORTANT)
    ]


def _whole(old: RuntimeRecord, new: RuntimeRecord) -> Iterable[Note]:
    """What has no note of its own: the interpreter, the origin, and packages that other packages require."""
    where: dict[str, NoteValue] = {"runtime": cut(new.name), "runtime_before": cut(old.name)}
    if old.python != new.python:
        yield note("runtime-python", **where, before=cut(old.python), after=cut(new.python))
    if old.existing != new.existing:
        yield note("runtime-origin", **where, existing=new.existing)
    important = set(_important(old, new))
    rest: list[Change] = [change for change in _changes(old, new) if change not in important]
    if brought := changes(rest):
        yield note("packages-brought-along", **where, **brought)


def _required_names(runtime: RuntimeRecord) -> set[str]:
    """The names of the requirements; a requirement that is a path has none."""
    names = set()
    for requirement in runtime.requires:
        with contextlib.suppress(InvalidRequirement):
            names.add(str(canonicalize_name(Requirement(requirement).name)))
    return names
