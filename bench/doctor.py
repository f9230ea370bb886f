"""A matrix in; the machine, and what each target is on it as tried in a worker, out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from msgspec import Struct

from bench.declare.matrix import Matrix, Target
from bench.errors import RuntimeSetupError
from bench.prepare import runtimes, worker_code
from bench.prepare.machine import fingerprint
from bench.processes import Worker
from bench.progress import Progress
from bench.records import Failed, Machine, Probe, Probed

PROBE_TIMEOUT_S = 120.0


class Finding(Struct, frozen=True):
    """One target: whether it can be used here, and if not, what would enable it."""

    target: str
    engine: str
    runtime: str
    available: bool
    versions: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    message: str = ""
    remedy: str = ""


class Findings(Struct, frozen=True):
    """All that `bench doctor` found."""

    machine: Machine
    targets: tuple[Finding, ...]


def examine(matrix: Matrix, cache: Path, install: bool, progress: Progress) -> Findings:
    """Try every target for real, each in a process of its own; a crash there is one row."""
    progress.detail("reading the machine")
    machine = fingerprint()
    return Findings(machine, tuple(_target(t, matrix, cache, install, progress) for t in matrix.targets.values()))


def _target(target: Target, matrix: Matrix, cache: Path, install: bool, progress: Progress) -> Finding:
    runtime = matrix.runtimes[target.runtime]
    try:
        ready = runtimes.ensure(runtime, cache, progress) if install else runtimes.find(runtime, cache)
    except RuntimeSetupError as error:
        return _finding(target, Probed(False, {}, (), error.message, error.hint))
    if ready is None:
        message, remedy = f"runtime '{runtime.name}' is not made yet", "make it with `bench doctor --install`"
        return _finding(target, Probed(False, {}, (), message, remedy))
    progress.detail(f"trying {target.name}")
    code = worker_code.stage(cache)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "probe.log"
        with Worker(ready.executable, log, worker_code.child_environment(code)) as worker:
            return _finding(target, _ask(worker, target))


def _ask(worker: Worker, target: Target) -> Probed:
    order = Probe(engine=target.engine, provider=target.provider, mode=target.mode, options=target.options)
    for reply in worker.ask(order, PROBE_TIMEOUT_S):
        if isinstance(reply, Probed):
            return reply
        if isinstance(reply, Failed):
            failure = reply.failure
            message = f"{failure.status} at stage '{failure.stage}': {failure.message}"
            return Probed(False, {}, (), message, failure.remedy)
    return Probed(False, {}, (), "the worker ended without an answer")


def _finding(target: Target, probed: Probed) -> Finding:
    return Finding(
        target=target.name,
        engine=target.engine,
        runtime=target.runtime,
        available=probed.available,
        versions=probed.versions,
        devices=probed.devices,
        message=probed.message,
        remedy=probed.remedy,
    )
