"""Probes targets in worker processes of their own, to learn which are usable on this machine.

The order saves time and disk space: a missing device or a missing wheel is reported before anything is installed for
the target.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import catalogue
from bench.declare.matrix import Matrix
from bench.declare.targets import Runtime, Target
from bench.errors import RuntimeSetupError
from bench.prepare import presence, worker_code
from bench.prepare.environments import Environment, EnvironmentPool
from bench.progress import Progress
from bench.records import Cell, Failed, Failure, Machine, Note, Probe, Probed, Provider, Status, TargetFacts, note
from bench.worker_process import Worker, with_native_words

PROBE_TIMEOUT_S = 180.0
"""Drivers and shader compilers take a long time at their first use."""
UNSURE = ("crashed", "timeout", "out-of-memory", "failed")
"""Kinds that say more about the probe than about the target: a run still tries its cells."""
WITHOUT_WORDS = ("not-created", "registers-nothing", "no-device")
"""Kinds whose cause may be in a library's output."""
REFUSALS: dict[str, Status] = {"option": "unsupported"}
"""Kinds for a target that exists but refuses what the matrix asks for."""


class ProbedTargets(Struct, frozen=True):
    """What is known before anything is built: the runtimes that exist, and the facts of each target."""

    code: Path
    pool: EnvironmentPool
    facts: dict[str, TargetFacts]
    failures: dict[str, Failure]
    """By target: the failure of its cells."""


def probe_targets(
    matrix: Matrix,
    cells: Iterable[Cell],
    machine: Machine,
    cache: Path,
    logs: Path,
    progress: Progress,
    code: Path | None = None,
) -> ProbedTargets:
    """Try every target that a cell needs; the cells of unusable targets get a failure.

    `code` is the folder of the worker's code; None for the code of this version.
    """
    pool = EnvironmentPool(matrix.runtimes, cache, progress)
    probed = ProbedTargets(code or worker_code.stage(cache), pool, {}, {})
    for name in dict.fromkeys(cell.target for cell in cells if cell.excluded is None):
        facts = examine(matrix.targets[name], pool, machine, probed.code, logs / f"probe-{name}.log", progress)
        probed.facts[name] = facts
        if line := _line(name, facts):
            progress.step(line)
        if is_unusable(facts):
            status = REFUSALS.get(facts.kind, "unavailable")
            probed.failures[name] = Failure(status, "target", facts.kind, facts.message, facts.remedy)
    return probed


def examine(
    target: Target,
    pool: EnvironmentPool,
    machine: Machine,
    code: Path,
    log: Path,
    progress: Progress,
    *,
    install: bool = True,
) -> TargetFacts:
    """Try one target in a process of its own; a crash there becomes its facts.

    Without `install` no runtime is made, and the facts name a missing one.
    """
    runtime = pool.known[target.runtime]
    try:
        runtime_environment = pool.find(target.runtime)
        if runtime_environment is None:
            if facts := reason_not_to_install(target, runtime, machine):
                return facts
            if not install:
                message, remedy = f"runtime '{runtime.name}' is not made yet", "make it with `bench doctor --install`"
                return _absent("not-made", message, remedy)
            runtime_environment = pool.ensure(target.runtime)
    except RuntimeSetupError as error:
        return _absent("no-runtime", error.message, error.hint)
    progress.detail(f"trying {target.name}")
    # Nine tenths of the memory, as in a run: a probe must not use up the machine's memory either.
    return probe(target, runtime_environment, code, log, machine.memory_bytes * 9 // 10)


def reason_not_to_install(target: Target, runtime: Runtime, machine: Machine) -> TargetFacts | None:
    """Why the runtime need not be made: no wheel for this platform, or no device for it on this machine; else None.

    A runtime that the matrix names itself is made and tried: the fingerprint may not see every device.
    """
    if runtime.unavailable:
        return _absent("no-wheel", runtime.unavailable, runtime.hint or _hint(target))
    missing = missing_device(target.needs, machine) if _implied(target, runtime) else None
    return without_device(missing, _hint(target)) if missing else None


def without_device(missing: str, remedy: str) -> TargetFacts:
    """The facts of a target that is not tried because the machine does not show its device."""
    return replace(_absent("no-device", f"not tried: this machine shows no {missing}", remedy), missing=missing)


def missing_device(needs: str, machine: Machine) -> str | None:
    """The needed device that the fingerprint does not show, `NVIDIA GPU`; None where none is missing."""
    return presence.missing_device(needs, presence.hardware_of(machine))


def probe(
    target: Target, runtime_environment: Environment, code: Path, log: Path, memory_limit_bytes: int | None = None
) -> TargetFacts:
    """Probe a target with a new worker in its runtime."""
    provider = target.provider
    environment = worker_code.child_environment(code, provider.environment if provider else None)
    order = Probe(engine=target.engine, provider=provider, mode=target.mode, options=target.options)
    # Replaced by any reply.
    facts = _absent("failed", "the worker ended without an answer")
    with Worker(runtime_environment.executable, log, environment, memory_limit_bytes) as worker:
        for reply in worker.ask(order, PROBE_TIMEOUT_S):
            if isinstance(reply, Probed):
                facts = _with_words(reply.facts, worker.native_words())
            if isinstance(reply, Failed):
                facts = facts_of_failure(reply.failure)
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
    if is_unusable(facts):
        return f"{name} is unavailable: {facts.message}"
    if not facts.available:
        return f"{name}: {facts.message}; its cells are tried all the same"
    if facts.device and facts.device.type != "cpu":
        return f"{name} runs on {facts.device.label} {facts.device.name or facts.device.vendor}".rstrip()
    return None
