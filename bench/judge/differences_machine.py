"""Finds what differs between the machines and the targets of two runs, as notes (pure)."""

from __future__ import annotations

from collections.abc import Container, Iterable

from bench.judge.changes import MACHINE_FACTS, Change, changes, cut
from bench.records import Accelerator, Machine, Note, Run, TargetFacts, note


def machine(base: Run, new: Run) -> Iterable[Note]:
    """A note for another machine, or for facts of the same machine that are not part of its key."""
    old, now = base.machine, new.machine
    facts = changes(_facts(old, now), MACHINE_FACTS)
    if old.key != now.key:
        nothing = {"names": (), "before": (), "after": (), "more": 0}
        yield note("another-machine", key_before=cut(old.key), key_after=cut(now.key), **(facts or nothing))
    elif facts:
        yield note("machine-facts", **facts)


def _facts(old: Machine, new: Machine) -> Iterable[Change]:
    for field in ("brand", "architecture", "physical_cores", "logical_cores", "usable_cores"):
        yield field, getattr(old.cpu, field), getattr(new.cpu, field)
    yield "isa", sorted(old.cpu.isa), sorted(new.cpu.isa)
    # A reading differs by some pages from boot to boot; the key rounds it too.
    yield "memory_gb", round(old.memory_bytes / 1e9), round(new.memory_bytes / 1e9)
    yield "accelerators", _accelerators(old), _accelerators(new)
    for field in ("os", "os_version", "kernel", "hypervisor", "container", "python"):
        yield field, getattr(old, field), getattr(new, field)


def _accelerators(machine: Machine) -> str:
    return ", ".join(map(_accelerator, machine.accelerators)) or "none"


def _accelerator(accelerator: Accelerator) -> str:
    return " ".join(
        filter(None, (accelerator.name, accelerator.driver and f"driver {accelerator.driver}", accelerator.api))
    )


def targets(base: Run, new: Run) -> Iterable[Note]:
    """Differences in what a probe found about the targets that both runs have."""
    packages = {name for run in (base, new) for runtime in run.runtimes.values() for name in runtime.packages}
    for name, before in base.targets.items():
        after = new.targets.get(name)
        if after is not None:
            if facts := changes(_target(before, after, packages)):
                yield note("target", target=cut(name), **facts)
            if formats := changes(_formats(before, after)):
                yield note("target-formats", target=cut(name), **formats)


def _target(old: TargetFacts, new: TargetFacts, packages: Container[str]) -> Iterable[Change]:
    """Availability, device, driver, and the versions of libraries that are in no package."""
    if old.available != new.available:
        # The other facts are unknown where the target is not available, so they are not compared.
        yield "available", old.available, new.available
        return
    yield "device", _device(old), _device(new)
    yield "driver", old.device and old.device.driver, new.device and new.device.driver
    yield "checks_options", old.checks_options, new.checks_options
    for library in old.versions:
        if library in new.versions and library not in packages:  # the runtime's note reports the version of a package
            yield library, old.versions[library], new.versions[library]


def _formats(old: TargetFacts, new: TargetFacts) -> Iterable[Change]:
    """The number formats that the target computes in, by the format that was requested."""
    if old.available != new.available:
        return
    before, after = ({executed.asked: executed.format for executed in facts.executes} for facts in (old, new))
    for requested in before:
        if requested in after:
            yield requested, before[requested], after[requested]


def _device(facts: TargetFacts) -> str | None:
    return f"{facts.device.label} {facts.device.name or facts.device.vendor}".strip() if facts.device else None
