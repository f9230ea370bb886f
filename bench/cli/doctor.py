"""`bench doctor`: shows the machine, the usable targets, and how to enable the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.cli.options import (
    CacheFlag,
    JsonFlag,
    MatrixFlag,
    QuietFlag,
    VerboseFlag,
    cache_path,
    matrix_path,
    print_json,
    with_progress,
)
from bench.cli.tables import console, plain_table, safe

if TYPE_CHECKING:
    from bench.doctor import Finding, Findings, Standing
    from bench.records import Accelerator, Machine, TargetFacts

ORDER = 40


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(doctor)


def doctor(
    matrix: MatrixFlag = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", help="Only this target or known provider; may be repeated.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Install missing runtimes first.")] = False,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
) -> None:
    """Show the machine, and try every target of the matrix and every other known provider in a worker."""
    from bench.declare.matrix import read
    from bench.doctor import examine

    checked, cache, only = read(matrix_path(matrix)), cache_path(cache_dir), provider or ()
    findings = with_progress(
        lambda progress: examine(checked, cache, progress, install=install, only=only), quiet=quiet, verbose=verbose
    )
    if as_json:
        print_json(findings)
    else:
        doctor_tables(findings)


def doctor_tables(findings: Findings, out: Console | None = None) -> None:
    """Print the machine, then the targets grouped by whether they can be used."""
    out = out or console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in machine_facts(findings.machine):
        facts.add_row(f"[bold]{name}[/]", safe(value))
    out.print(facts)
    _usable(_by_standing(findings, "usable"), out)
    _could_be_enabled(_by_standing(findings, "could-be-enabled"), out)
    _not_for_this_machine(_by_standing(findings, "not-for-this-machine"), out)


def _by_standing(findings: Findings, standing: Standing) -> list[Finding]:
    return [finding for finding in findings.targets if finding.standing == standing]


def _usable(findings: Sequence[Finding], out: Console) -> None:
    if not findings:
        return
    table = plain_table("target", "in the matrix", "device", "FP32 is computed in", "FP16 in", "versions")
    for finding in findings:
        table.add_row(*(safe(word) for word in _row(finding)))
    _heading("usable here", out)
    out.print(table)
    if not all(finding.in_matrix for finding in findings):
        out.print("[dim]to measure one that is not in the matrix, add \\[providers.NAME] to it[/]")
    for finding in findings:
        for note in _notes(finding):
            out.print(f"[dim]{safe(finding.target)}: {safe(note)}[/]")


def _row(finding: Finding) -> tuple[str, ...]:
    facts = finding.facts
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    formats = {executed.asked: executed for executed in facts.executes}
    computed = []
    for number_format in ("fp32", "fp16"):
        executed = formats.get(number_format)
        bits = f", {executed.bits:.1f} bits" if executed and executed.bits is not None else ""
        computed.append(f"{executed.format}{bits}" if executed else "–")
    return finding.target, "yes" if finding.in_matrix else "–", _device(facts), *computed, versions or "–"


def _device(facts: TargetFacts) -> str:
    """The chosen device, then the labels of the provider's other devices."""
    if facts.device is None:
        return "–"
    device = facts.device
    others = [other.label for other in facts.devices if other.label != device.label]
    label = f"{device.label} {device.name or device.vendor}".strip()
    return f"{label} (also offers {', '.join(others)})" if others else label


def _notes(finding: Finding) -> Iterable[str]:
    """What a reader must know before they trust a row."""
    from bench.report import text_notes

    # The line after these says more of an emulated device than its note does.
    yield from (text_notes.say(note) for note in finding.facts.notes if note.kind != "emulated-device")
    if finding.emulated:
        yield "emulated device: its answers count, its times say nothing"
    # None means that the probe could not find out.
    if finding.facts.checks_options is False:
        yield "it accepts unknown options without an error: a misspelt one has no effect"
    # None is a target of the user's own, which is in no catalogue.
    if finding.tested is False:
        yield "this project wrote it from documentation and never ran it"


def _could_be_enabled(findings: Sequence[Finding], out: Console) -> None:
    """Print the targets that `--install` enables in one line, and each of the others with its remedy."""
    if not findings:
        return
    _heading("could be enabled", out)
    missing = [finding for finding in findings if finding.facts.kind == "not-made"]
    if missing:
        names = ", ".join(finding.target for finding in missing)
        out.print(f"[bold]{safe(names)}[/]: not installed yet; `bench doctor --install` downloads and tries them")
    for finding in findings:
        # Those in the line above share one remedy; each of these has a reason of its own.
        if finding not in missing:
            out.print(f"[bold]{safe(finding.target)}[/]: {safe(_explanation(finding.facts))}")


def _explanation(facts: TargetFacts) -> str:
    """The problem and its remedy; if there is no wheel, the remedy alone, because it names the problem too."""
    if facts.kind == "no-wheel" and facts.remedy:
        return facts.remedy
    return "; ".join(filter(None, (facts.message, facts.remedy)))


def _not_for_this_machine(findings: Sequence[Finding], out: Console) -> None:
    """Print one line for each reason, because many targets share one."""
    if not findings:
        return
    _heading("not for this machine", out)
    reasons: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        missing = finding.facts.missing
        reasons[f"this machine shows no {missing}" if missing else finding.facts.message].append(finding.target)
    for reason, names in reasons.items():
        out.print(f"[bold]{safe(', '.join(names))}[/]: {safe(reason)}")


def _heading(text: str, out: Console) -> None:
    out.print()
    out.print(f"[bold underline]{text}[/]")


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """The facts of a machine as names and values."""
    cpu = machine.cpu
    cores = f"{cpu.physical_cores} cores, {cpu.logical_cores} threads, {cpu.usable_cores:g} usable"
    gpus = "; ".join(map(_accelerator, machine.accelerators)) or "none seen"
    hypervisor = "a hypervisor without a name" if machine.hypervisor == "unknown" else machine.hypervisor
    return [
        ("CPU", f"{cpu.brand} ({cpu.architecture}), {cores}"),
        ("Instruction sets", " ".join(cpu.isa)),
        ("Memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("Accelerators", gpus),
        ("System", f"{machine.os} {machine.os_version}, kernel {machine.kernel}"),
        ("Virtual", ", ".join(filter(None, (hypervisor, machine.container))) or "no"),
        ("Python", machine.python),
        ("Machine key", machine.key),
    ]


def _accelerator(device: Accelerator) -> str:
    """An accelerator on one line: `NVIDIA L4 (24.0 GiB, driver 570.86, CUDA 12.8)`."""
    memory = f"{device.memory_bytes / 2**30:.1f} GiB" if device.memory_bytes else None
    facts = ", ".join(filter(None, (memory, device.driver and f"driver {device.driver}", device.api)))
    return f"{device.name} ({facts})" if facts else device.name
