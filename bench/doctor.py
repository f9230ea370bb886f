"""The machine, and what each known target is on it, as tried in a worker."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from bench.declare import catalogue
from bench.declare.matrix import Matrix
from bench.declare.suggest import nearest
from bench.declare.targets import Target
from bench.errors import UsageError
from bench.machine.fingerprint import fingerprint
from bench.prepare import worker_code
from bench.prepare.cache_use import in_use
from bench.prepare.environments import EnvironmentPool
from bench.prepare.probe import UNSURE, missing_device, without_device
from bench.prepare.probe import examine as examine_target
from bench.progress import Progress
from bench.records import Machine, TargetFacts

Standing = Literal["usable", "could-be-enabled", "not-for-this-machine"]


class Finding(Struct, frozen=True):
    """One target: what it is here, and what would enable it where it is not."""

    target: str
    standing: Standing
    engine: str
    runtime: str
    in_matrix: bool
    facts: TargetFacts
    needs: str = ""
    ep: str | None = None
    emulated: bool = False
    title: str = ""
    tested: bool | str | None = None
    """On what this project ran it, as the catalogue says; None for what the catalogue does not know."""


class Findings(Struct, frozen=True):
    """All that `bench doctor` found."""

    machine: Machine
    targets: tuple[Finding, ...]


def examine(
    matrix: Matrix, cache: Path, progress: Progress, *, install: bool = False, only: Sequence[str] = ()
) -> Findings:
    """Try every target of the matrix, then every other provider of the catalogue; a crash there is one row.

    Without `install` nothing is downloaded: what has no runtime yet is said to have none. Raises `UsageError` for a
    name in `only` that is neither a target nor a known provider.
    """
    targets = chosen(matrix, only)
    progress.detail("reading the machine")
    machine = fingerprint()
    known = {target.runtime: catalogue.runtime(target.runtime) for target in targets if _of_catalogue(target, matrix)}
    pool = EnvironmentPool(known | matrix.runtimes, cache, progress)
    findings: list[Finding] = []
    with in_use(cache), tempfile.TemporaryDirectory() as folder:
        code = worker_code.stage(cache)
        for target in targets:
            log = Path(folder) / f"{target.name}.log"
            facts = examine_target(target, pool, machine, code, log, progress, install=install)
            findings.append(_finding(target, matrix, machine, facts))
    return Findings(machine, tuple(findings))


def chosen(matrix: Matrix, only: Sequence[str] = ()) -> list[Target]:
    """The targets of the matrix and the catalogue's other rows; or those that are named, and `cuda.1` is a name too."""
    if only:
        return [_named(name, matrix) for name in dict.fromkeys(only)]
    covered = {name for target in matrix.targets.values() for name in (target.name, target.row)}
    return [*matrix.targets.values(), *(catalogue.target(name) for name in catalogue.rows() if name not in covered)]


def _named(name: str, matrix: Matrix) -> Target:
    if name in matrix.targets:
        return matrix.targets[name]
    if catalogue.find(name) is None:
        known = {**matrix.targets, **catalogue.rows()}
        raise UsageError(f"'{name}' is neither a target of {matrix.place} nor a known provider", nearest(name, known))
    return catalogue.target(name)


def _of_catalogue(target: Target, matrix: Matrix) -> bool:
    return target.name not in matrix.targets and target.runtime not in matrix.runtimes


def _finding(target: Target, matrix: Matrix, machine: Machine, facts: TargetFacts) -> Finding:
    row = catalogue.rows().get(target.row) if target.row else None
    return Finding(
        target=target.name,
        standing=standing(target, machine, facts),
        engine=target.engine,
        runtime=target.runtime,
        in_matrix=target.name in matrix.targets,
        facts=_shown(facts, target, machine),
        needs=target.needs,
        ep=target.provider.ep if target.provider else None,
        emulated=bool(target.provider and target.provider.emulated),
        title=row.title if row else "",
        tested=row.tested if row else None,
    )


def standing(target: Target, machine: Machine, facts: TargetFacts) -> Standing:
    """Usable, a matter of installing something, or a matter of another machine."""
    if facts.available:
        return "usable"
    away = facts.kind == "no-wheel" and _is_elsewhere(target)
    missing = facts.kind not in UNSURE and missing_device(target.needs, machine)
    return "not-for-this-machine" if away or missing else "could-be-enabled"


def _is_elsewhere(target: Target) -> bool:
    """Whether wheels are published, and for other platforms only."""
    row = catalogue.rows().get(target.row) if target.row else None
    platform = catalogue.platform_word()
    return row is not None and bool(row.wheels) and not any(platform in wheel.platforms for wheel in row.wheels)


def _shown(facts: TargetFacts, target: Target, machine: Machine) -> TargetFacts:
    """No wheel and no device: the device is said, unless the provider is not for this system at all.

    Or building or installing something might seem to be enough.
    """
    missing = missing_device(target.needs, machine)
    if facts.kind == "no-wheel" and missing and not _is_elsewhere(target):
        return without_device(missing, facts.remedy)
    return facts
