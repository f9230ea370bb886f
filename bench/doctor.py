"""Examines the machine and tries each known target in a worker process."""

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
    """One target: whether it is usable on this machine, and what would enable it."""

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
    """The machine on which this project tested it; None for a target that is not in the catalogue."""


class Findings(Struct, frozen=True):
    """The result of `bench doctor`."""

    machine: Machine
    targets: tuple[Finding, ...]


def examine(
    matrix: Matrix, cache: Path, progress: Progress, *, install: bool = False, only: Sequence[str] = ()
) -> Findings:
    """Try every target of the matrix, then every other provider of the catalogue; a crash costs one row only.

    Without `install` nothing is downloaded, and a target without a runtime is reported so. Raises `UsageError` for a
    name in `only` that is neither a target nor a known provider.
    """
    targets = chosen(matrix, only)
    progress.detail("reading the machine")
    machine = fingerprint()
    # The matrix comes last, so that its runtimes replace the catalogue's of the same name.
    known = {target.runtime: catalogue.runtime(target.runtime) for target in targets if _of_catalogue(target, matrix)}
    pool = EnvironmentPool(known | matrix.runtimes, cache, progress)
    findings: list[Finding] = []
    with in_use(cache), tempfile.TemporaryDirectory() as folder:
        code = worker_code.stage(cache, pool.check)
        for target in targets:
            # The logs are temporary: the doctor writes no run folder.
            log = Path(folder) / f"{target.name}.log"
            facts = examine_target(target, pool, machine, code, log, progress, install=install)
            findings.append(_finding(target, matrix, machine, facts))
    return Findings(machine, tuple(findings))


def chosen(matrix: Matrix, only: Sequence[str] = ()) -> list[Target]:
    """The targets of the matrix and the catalogue's other rows, or those in `only`; `cuda.1` is also a name."""
    if only:
        return [_named(name, matrix) for name in dict.fromkeys(only)]
    # By row too: a row that a target of the matrix changes is tried as the matrix has it, and only so.
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
    """Whether a target is usable, would be usable after an installation, or needs another machine."""
    if facts.available:
        return "usable"
    # A device that is missing matters only where the probe gave a clear answer: a crash may hide it.
    # A wheel for other platforms only means other machines; where none is published, a build of one's own may help.
    away = facts.kind == "no-wheel" and _is_elsewhere(target)
    missing = facts.kind not in UNSURE and missing_device(target.needs, machine)
    return "not-for-this-machine" if away or missing else "could-be-enabled"


def _is_elsewhere(target: Target) -> bool:
    """Whether wheels are published, but only for other platforms."""
    row = catalogue.rows().get(target.row) if target.row else None
    platform = catalogue.platform_word()
    return row is not None and bool(row.wheels) and not any(platform in wheel.platforms for wheel in row.wheels)


def _shown(facts: TargetFacts, target: Target, machine: Machine) -> TargetFacts:
    """The facts to show. Where the wheel and the device are both missing, the device is named.

    Otherwise it would seem enough to build or install something.
    """
    missing = missing_device(target.needs, machine)
    if facts.kind == "no-wheel" and missing and not _is_elsewhere(target):
        return without_device(missing, facts.remedy)
    return facts
