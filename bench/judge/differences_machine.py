"""Two runs in; what differs between their machines, and between what their targets were there, out (pure)."""

from __future__ import annotations

from collections.abc import Container, Iterable

from bench.judge.changes import changed, cut, listed, quoted
from bench.records import Accelerator, Machine, Run, TargetFacts


def machine(base: Run, new: Run) -> Iterable[str]:
    """The machine's key and which of its facts changed, in one sentence; facts outside the key in one of their own."""
    old, now = base.machine, new.machine
    facts = [said for name, before, after in _facts(old, now) if (said := changed(name, before, after))]
    told = f": {listed(facts, few=12)}" if facts else ""
    if old.key != now.key:
        yield f"another machine (key {cut(old.key)} -> {cut(now.key)}){told}"
    elif facts:
        yield f"the same machine, but {listed(facts, few=12)}"


def _facts(old: Machine, new: Machine) -> Iterable[tuple[str, object, object]]:
    for field, name in (
        ("brand", "processor"),
        ("architecture", "architecture"),
        ("physical_cores", "physical cores"),
        ("logical_cores", "logical cores"),
        ("usable_cores", "usable cores"),
    ):
        yield name, getattr(old.cpu, field), getattr(new.cpu, field)
    yield "instruction sets", sorted(old.cpu.isa), sorted(new.cpu.isa)
    # A reading differs by some pages from boot to boot; the key rounds it too.
    yield "memory in GB", round(old.memory_bytes / 1e9), round(new.memory_bytes / 1e9)
    yield "accelerators", _accelerators(old), _accelerators(new)
    for field in ("os", "os_version", "kernel", "hypervisor", "container"):
        yield field.replace("os_version", "OS version").replace("os", "OS"), getattr(old, field), getattr(new, field)
    yield "Python of the suite", old.python, new.python


def _accelerators(machine: Machine) -> str:
    return ", ".join(map(_accelerator, machine.accelerators)) or "none"


def _accelerator(one: Accelerator) -> str:
    return " ".join(filter(None, (one.name, one.driver and f"driver {one.driver}", one.api)))


def targets(base: Run, new: Run) -> Iterable[str]:
    """What a probe found of the targets that both runs have."""
    packages = {name for run in (base, new) for runtime in run.runtimes.values() for name in runtime.packages}
    for name, before in base.targets.items():
        after = new.targets.get(name)
        if after is not None:
            said = [one for one in _target(before, after, packages) if one]
            if said:
                yield f"target {quoted(name)}: {listed(said)}"


def _target(old: TargetFacts, new: TargetFacts, packages: Container[str]) -> Iterable[str]:
    """Availability, device and driver, the formats it computes in, and libraries of it that no package holds."""
    if old.available != new.available:
        yield changed("available", old.available, new.available)
        return
    yield changed("device", *(_device(facts) for facts in (old, new)))
    yield changed("driver", *(facts.device.driver if facts.device else None for facts in (old, new)))
    yield changed("checks its options", old.checks_options, new.checks_options)
    before, after = ({one.asked: one.format for one in facts.executes} for facts in (old, new))
    for asked in before:
        if asked in after and before[asked] != after[asked]:
            yield f"{asked} computed in {before[asked]} -> {after[asked]}"
    for library in old.versions:
        if library in new.versions and library not in packages:  # a package's version stands with its runtime
            yield changed(library, old.versions[library], new.versions[library])


def _device(facts: TargetFacts) -> str | None:
    return f"{facts.device.label} {facts.device.name or facts.device.vendor}".strip() if facts.device else None
