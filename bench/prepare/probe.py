"""Probes targets in worker processes of their own, to learn which are usable on this machine.

The order saves time and disk space: a missing device or a missing wheel is reported before anything is installed for
the target.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from bench.declare import catalogue
from bench.declare.matrix import Matrix
from bench.declare.targets import Runtime, Target
from bench.errors import DamagedCacheError, ReadOnlyCacheError, RuntimeSetupError
from bench.prepare import presence, worker_code, worker_environment
from bench.prepare.cache_check import DAMAGED, CacheCheck, Use, failure_of
from bench.prepare.environments import Environment, EnvironmentPool, uses_of
from bench.prepare.probe_memory import ProbeMemory, order_of
from bench.prepare.threads import LOOK_S, Slots, Stop, usable_cores
from bench.progress import Progress
from bench.records import Cell, Failed, Failure, Machine, Note, Probed, Provider, Status, TargetFacts, note
from bench.worker_process import Worker, with_native_words

PROBE_TIMEOUT_S = 180.0
"""Drivers and shader compilers take a long time at their first use."""
INSTALLS = 3
"""How many runtimes are installed at once: a download needs no core, and unpacking needs one."""
MAKE = "make it with `bench doctor --install`"
UNSURE = ("crashed", "timeout", "out-of-memory", "failed")
"""Kinds that say more about the probe than about the target: a run still tries its cells."""
WITHOUT_WORDS = ("not-created", "registers-nothing", "no-device")
"""Kinds whose cause may be in a library's output."""
REFUSALS: dict[str, Status] = {"option": "unsupported", DAMAGED: "failed"}
"""Kinds for a target that exists but refuses what the matrix asks for, and for one whose runtime is damaged."""


class ProbedTargets:
    """What becomes known about the targets of a run: the runtimes, and the facts of each target once it was tried."""

    def __init__(self, code: Path, pool: EnvironmentPool, machine: Machine, logs: Path, progress: Progress) -> None:
        self.code, self.pool, self.machine, self.logs, self.progress = code, pool, machine, logs, progress
        self.stop = pool.slots.stop
        self.facts: dict[str, TargetFacts] = {}
        self.failures: dict[str, Failure] = {}
        """By target: the failure of its cells."""
        self.slots = Slots(usable_cores(), self.stop)
        self._known = threading.Condition()

    def examine(self, target: Target) -> None:
        """Try a target, and tell all who wait for it."""
        log = self.logs / f"probe-{target.name}.log"
        try:
            facts = examine(target, self.pool, self.machine, self.code, log, self.progress, slots=self.slots)
        finally:
            self.progress.work(f"target {target.name}", None)
        if line := _line(target.name, facts):
            self.progress.step(line)
        with self._known:
            if is_unusable(facts):
                status = REFUSALS.get(facts.kind, "unavailable")
                self.failures[target.name] = Failure(status, "target", facts.kind, facts.message, facts.remedy)
            self.facts[target.name] = facts
            self._known.notify_all()

    def is_likely(self, target: Target) -> bool:
        """Whether nothing speaks against the target before it is tried."""
        runtime = self.pool.known[target.runtime]
        return reason_not_to_install(target, runtime, self.machine) is None

    def any_usable(self, names: Iterable[str]) -> bool:
        """Whether one of the targets can be used; waits until one can, or all have been tried."""
        names = set(names)
        with self._known:
            while True:
                self.stop.check()
                if any(name in self.facts and name not in self.failures for name in names):
                    return True
                if names <= self.facts.keys():
                    return False
                self._known.wait(LOOK_S)


def new_targets(
    matrix: Matrix,
    machine: Machine,
    cache: Path,
    logs: Path,
    progress: Progress,
    code: Path | None = None,
    measuring_minutes: float | None = None,
) -> ProbedTargets:
    """The targets of a matrix, of which none is tried yet.

    `code` is the folder of the worker's code; None for the code of this version. `measuring_minutes` limit how long the
    files of the cache are read again.
    """
    check = CacheCheck(measuring_minutes, progress.step)
    pool = EnvironmentPool(matrix.runtimes, cache, progress, Slots(INSTALLS), check)
    if code is not None:
        check.problems(worker_code.CODE, code)
    return ProbedTargets(code or worker_code.stage(cache, check), pool, machine, logs, progress)


def wanted(matrix: Matrix, cells: Iterable[Cell]) -> list[Target]:
    """The targets that a cell needs."""
    return [matrix.targets[name] for name in dict.fromkeys(cell.target for cell in cells if cell.excluded is None)]


def examine(
    target: Target,
    pool: EnvironmentPool,
    machine: Machine,
    code: Path,
    log: Path,
    progress: Progress,
    *,
    install: bool = True,
    slots: Slots | None = None,
) -> TargetFacts:
    """Try one target in a process of its own; a crash there becomes its facts.

    Without `install` no runtime is made, and the facts name a missing one. `slots` are those of a run, which tries
    several at once, and does not try again what was found usable since the machine started.
    """
    runtime = pool.known[target.runtime]
    try:
        runtime_environment = pool.find(target.runtime)
        if runtime_environment is None:
            if facts := reason_not_to_install(target, runtime, machine):
                return facts
            if not install:
                return _not_made(runtime, pool)
            runtime_environment = pool.ensure(target.runtime)
    except RuntimeSetupError as error:
        return _without_runtime(error)
    # Nine tenths of the memory, as in a run: a probe must not use up the machine's memory either.
    limit_bytes = machine.memory_bytes * 9 // 10
    if slots is None:
        progress.detail(f"trying {target.name}")
        facts = probe(target, runtime_environment, code, log, limit_bytes)
        return _unless_damaged(facts, runtime_environment, code, pool)
    memory = ProbeMemory(pool.cache, machine, code)
    if remembered := memory.recall(target, runtime_environment):
        return remembered
    with slots.held():
        progress.work(f"target {target.name}", f"trying {target.name}")
        facts = probe(target, runtime_environment, code, log, limit_bytes, slots.stop)
        facts = _unless_damaged(facts, runtime_environment, code, pool)
    memory.keep(target, runtime_environment, facts)
    return facts


def _not_made(runtime: Runtime, pool: EnvironmentPool) -> TargetFacts:
    if problems := pool.damage_of(runtime.name):
        return _absent(DAMAGED, f"runtime '{runtime.name}' is damaged: {problems}", MAKE)
    return _absent("not-made", f"runtime '{runtime.name}' is not made yet", MAKE)


def _without_runtime(error: RuntimeSetupError) -> TargetFacts:
    is_of_cache = isinstance(error, DamagedCacheError | ReadOnlyCacheError)
    kind = failure_of(error, "runtime").kind if is_of_cache else "no-runtime"
    return _absent(kind, error.message, error.hint)


def _unless_damaged(facts: TargetFacts, environment: Environment, code: Path, pool: EnvironmentPool) -> TargetFacts:
    """The facts of a probe; where it failed with a damaged runtime or worker, that and nothing about the target."""
    if facts.available:
        return facts
    used = [Use(worker_code.CODE, code, "the worker's code"), *uses_of(environment)]
    error = pool.check.cause(used)
    return _absent(DAMAGED, error.message, error.hint) if error else facts


def reason_not_to_install(target: Target, runtime: Runtime, machine: Machine) -> TargetFacts | None:
    """Why the runtime need not be made: no wheel for this platform, or no device for it on this machine; else None.

    A runtime that the matrix names itself is made and tried: the fingerprint may not see every device.
    """
    if runtime.unavailable:
        return _absent("no-wheel", runtime.unavailable, runtime.hint or _hint(target))
    missing = missing_device(target.needs, machine) if _implied(target, runtime) else None
    return without_device(missing, _hint(target)) if missing else None


def not_here(matrix: Matrix, machine: Machine, targets: Iterable[str]) -> dict[str, TargetFacts]:
    """The facts of those targets that the machine plainly lacks; none of them is tried."""
    facts = {}
    for name in targets:
        target = matrix.targets[name]
        runtime = matrix.runtimes[target.runtime]
        if runtime.unavailable:
            facts[name] = _absent("no-wheel", runtime.unavailable, runtime.hint or _hint(target))
        elif missing := missing_device(target.needs, machine):
            facts[name] = without_device(missing, _hint(target))
    return facts


def without_device(missing: str, remedy: str) -> TargetFacts:
    """The facts of a target that is not tried because the machine does not show its device."""
    return replace(_absent("no-device", f"not tried: this machine shows no {missing}", remedy), missing=missing)


def missing_device(needs: str, machine: Machine) -> str | None:
    """The needed device that the fingerprint does not show, `NVIDIA GPU`; None where none is missing."""
    return presence.missing_device(needs, presence.hardware_of(machine))


def probe(
    target: Target,
    runtime_environment: Environment,
    code: Path,
    log: Path,
    memory_limit_bytes: int | None = None,
    stop: Stop | None = None,
) -> TargetFacts:
    """Probe a target with a new worker in its runtime; `stop` ends it."""
    stop = stop or Stop()
    provider = target.provider
    named = worker_environment.named_by(target)
    environment = worker_code.child_environment(code, provider.environment if provider else None, named)
    order = order_of(target)
    # Replaced by any reply.
    facts = _absent("failed", "the worker ended without an answer")
    with (
        Worker(runtime_environment.executable, log, environment, memory_limit_bytes) as worker,
        stop.ends(worker.kill),
    ):
        for reply in worker.ask(order, PROBE_TIMEOUT_S):
            if isinstance(reply, Probed):
                facts = _with_words(reply.facts, worker.native_words())
            if isinstance(reply, Failed):
                facts = facts_of_failure(reply.failure)
    stop.check()
    facts = replace(facts, notes=(*facts.notes, *unchecked_options(provider, facts)))
    # The worker knows only which import failed; the catalogue knows what brings it.
    if facts.kind == "not-installed" and target.row is not None:
        return replace(facts, remedy=_missing_packages(target))
    return facts if facts.available or facts.remedy else replace(facts, remedy=_hint(target))


def unchecked_options(provider: Provider | None, facts: TargetFacts) -> tuple[Note, ...]:
    """Notes on options that are not in the catalogue and that the provider does not check: one may be misspelt."""
    # Where the provider refuses unknown options, or nobody knows its options, a note would warn of nothing.
    if provider is None or provider.known_options is None or facts.checks_options is not False:
        return ()
    strange = [name for name in provider.options if name not in provider.known_options]
    return tuple(note("unknown-option", name=name) for name in strange)


def facts_of_failure(failure: Failure) -> TargetFacts:
    """A failed probe as facts; only status `unavailable` says that the target is not on this machine."""
    if failure.status == "unavailable":
        kind = {"import": "not-installed", "start": "no-runtime"}.get(failure.stage, failure.kind)
        return _absent(kind, failure.message, failure.remedy)
    kind = failure.status if failure.status in UNSURE else "failed"
    return _absent(kind, f"the probe ended at stage '{failure.stage}': {failure.message}", failure.remedy)


def is_unusable(facts: TargetFacts) -> bool:
    """Whether the target's cells need not be tried."""
    return not facts.available and facts.kind not in UNSURE


def _absent(kind: str, message: str, remedy: str = "") -> TargetFacts:
    return TargetFacts(available=False, kind=kind, message=message, remedy=remedy)


def _with_words(facts: TargetFacts, words: str) -> TargetFacts:
    if facts.available or facts.kind not in WITHOUT_WORDS:
        return facts
    return replace(facts, message=with_native_words(facts.message, words))


def _implied(target: Target, runtime: Runtime) -> bool:
    """Whether the runtime is the catalogue's and not the matrix's own."""
    # Compared whole: a runtime of the matrix may have the row's name and other requirements.
    return target.row is not None and runtime == catalogue.runtime(target.row)


def _missing_packages(target: Target) -> str:
    """A remedy with the packages of the catalogue's row, and how to install them automatically."""
    assert target.row is not None
    needed = ", ".join(catalogue.runtime(target.row).requires)
    if not needed:
        return _hint(target)
    return f"[runtimes.{target.runtime}] needs {needed}; without `runtime =` the row gets an environment of its own"


def _hint(target: Target) -> str:
    return target.provider.hint if target.provider else ""


def _line(name: str, facts: TargetFacts) -> str | None:
    """A line of progress for a target that is unusable, uncertain or on an accelerator; else None."""
    if facts.kind == DAMAGED:
        return f"{name}: {facts.message}"
    if is_unusable(facts):
        return f"{name} is unavailable: {facts.message}"
    if not facts.available:
        return f"{name}: {facts.message}; its cells are tried all the same"
    if facts.device and facts.device.type != "cpu":
        return f"{name} runs on {facts.device.label} {facts.device.name or facts.device.vendor}".rstrip()
    return None
