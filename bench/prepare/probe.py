"""A target in; whether it can be used on this machine, as a probe in a worker of its own found it, out.

The order saves time and disk: a device that the machine does not show, or a wheel that there is none of, is told before
anything is installed for it.
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
from bench.prepare import worker_code
from bench.prepare.environments import Environment, EnvironmentPool
from bench.progress import Progress
from bench.records import Cell, Failed, Failure, Machine, Note, Probe, Probed, Provider, Status, TargetFacts, note
from bench.worker_process import Worker, with_native_words

PROBE_TIMEOUT_S = 180.0
"""Drivers and shader compilers take long when they are used for the first time."""
UNSURE = ("crashed", "timeout", "out-of-memory", "failed")
"""Kinds that speak of the probe more than of the target: in a run, its cells are tried all the same."""
WITHOUT_WORDS = ("not-created", "registers-nothing", "no-device")
"""Kinds whose cause a library may have printed."""
REFUSALS: dict[str, Status] = {"option": "unsupported"}
"""Kinds that say that the target is there, and does not take what the matrix asks of it."""
ARCHITECTURES = {"arm": ("arm64", "aarch64", "armv8l"), "x86": ("x86_64", "amd64", "i686")}
NAMES = {
    "nvidia": "NVIDIA",
    "amd": "AMD",
    "intel": "Intel",
    "qualcomm": "Qualcomm",
    "apple": "Apple",
    "arm": "Arm",
    "huawei": "Huawei",
}


class ProbedTargets(Struct, frozen=True):
    """What is known before anything is built: the runtimes that are there, and what each target is."""

    code: Path
    pool: EnvironmentPool
    facts: dict[str, TargetFacts]
    failures: dict[str, Failure]
    """By target: what each of its cells ends with."""


def probe_targets(
    matrix: Matrix,
    cells: Iterable[Cell],
    machine: Machine,
    cache: Path,
    logs: Path,
    progress: Progress,
    code: Path | None = None,
) -> ProbedTargets:
    """Try every target that a cell wants; those that are not on this machine end their cells here.

    `code` is the worker's code where it is not today's.
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
    """One target tried for real, in a process of its own; whatever happens there is in the facts.

    Without `install` a runtime that is not made yet stays so, and the facts say that.
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
    return probe(target, runtime_environment, code, log, machine.memory_bytes * 9 // 10)


def reason_not_to_install(target: Target, runtime: Runtime, machine: Machine) -> TargetFacts | None:
    """Why the runtime need not be made: there is no wheel for this platform, or nothing here that it would drive.

    A runtime that the matrix names itself is made and tried: the fingerprint may not see every device.
    """
    if runtime.unavailable:
        return _absent("no-wheel", runtime.unavailable, runtime.hint or _hint(target))
    missing = missing_device(target.needs, machine) if _implied(target, runtime) else None
    return without_device(missing, _hint(target)) if missing else None


def without_device(missing: str, remedy: str) -> TargetFacts:
    """The facts of a target that is not tried, as the machine does not show the device that it needs."""
    return replace(_absent("no-device", f"not tried: this machine shows no {missing}", remedy), missing=missing)


def missing_device(needs: str, machine: Machine) -> str | None:
    """What a target needs and the fingerprint does not show, `NVIDIA GPU`; None where it is there or not needed."""
    if not needs:
        return None
    kind, _, vendor = needs.partition(":")
    device = f"{NAMES.get(vendor, vendor.title())} {kind.upper()}".strip()
    if kind == "cpu":
        return None if not vendor or _is_cpu(vendor, machine) else device
    shown = any(
        accelerator.kind == kind and vendor.lower() in accelerator.vendor.lower()
        for accelerator in machine.accelerators
    )
    return None if shown else device


def probe(
    target: Target, runtime_environment: Environment, code: Path, log: Path, memory_limit_bytes: int | None = None
) -> TargetFacts:
    """Ask a fresh worker in the target's runtime."""
    provider = target.provider
    environment = worker_code.child_environment(code, provider.environment if provider else None)
    order = Probe(engine=target.engine, provider=provider, mode=target.mode, options=target.options)
    facts = _absent("failed", "the worker ended without an answer")
    with Worker(runtime_environment.executable, log, environment, memory_limit_bytes) as worker:
        for reply in worker.ask(order, PROBE_TIMEOUT_S):
            if isinstance(reply, Probed):
                facts = _with_words(reply.facts, worker.native_words())
            if isinstance(reply, Failed):
                facts = facts_of_failure(reply.failure)
    facts = replace(facts, notes=(*facts.notes, *unchecked_options(provider, facts)))
    if facts.kind == "not-installed" and target.row is not None:
        return replace(facts, remedy=_missing_packages(target))
    return facts if facts.available or facts.remedy else replace(facts, remedy=_hint(target))


def unchecked_options(provider: Provider | None, facts: TargetFacts) -> tuple[Note, ...]:
    """The options that neither the catalogue knows nor the provider checks: a misspelt one looks as if it worked."""
    if provider is None or provider.known_options is None or facts.checks_options is not False:
        return ()
    strange = [name for name in provider.options if name not in provider.known_options]
    return tuple(note("unknown-option", name=name) for name in strange)


def facts_of_failure(failure: Failure) -> TargetFacts:
    """A probe that went wrong as facts; only a refusal says that the target is not there."""
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
    """Whether the runtime is the catalogue's, and not one that the matrix describes."""
    return target.row is not None and runtime == catalogue.runtime(target.row)


def _missing_packages(target: Target) -> str:
    """The packages of the catalogue's row, and the way to get them without a thought."""
    assert target.row is not None
    needed = ", ".join(catalogue.runtime(target.row).requires)
    if not needed:
        return _hint(target)
    return f"[runtimes.{target.runtime}] needs {needed}; without `runtime =` the row gets an environment of its own"


def _hint(target: Target) -> str:
    return target.provider.hint if target.provider else ""


def _is_cpu(vendor: str, machine: Machine) -> bool:
    known = ARCHITECTURES.get(vendor)
    if known:
        return machine.cpu.architecture.lower() in known
    return vendor.lower() in machine.cpu.brand.lower()


def _line(name: str, facts: TargetFacts) -> str | None:
    """What is worth a line before anything is measured."""
    if is_unusable(facts):
        return f"{name} is unavailable: {facts.message}"
    if not facts.available:
        return f"{name}: {facts.message}; its cells are tried all the same"
    if facts.device and facts.device.type != "cpu":
        return f"{name} runs on {facts.device.label} {facts.device.name or facts.device.vendor}".rstrip()
    return None
