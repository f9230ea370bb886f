"""Plans, findings and verdicts in, tables on the terminal out; the only place that prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bench.pipeline import Finished
    from bench.prepare.artifacts import Entry
    from bench.records import Accelerator, Cell, Machine, Outcome, Speed

PIPE_WIDTH = 160
MANY = 8
"""Rows of one model that are named one by one."""
COLOURS = {"ok": "green", "partial": "yellow", "excluded": "dim", "unavailable": "dim", "unsupported": "magenta"}


class _Console(Console):
    """rich ends the process with exit code 1 when its reader leaves; only `cli` decides that."""

    def on_broken_pipe(self) -> None:
        """Say it to `cli`."""
        raise BrokenPipeError


def console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough for a row where there is none."""
    out = _Console()
    return out if out.is_terminal else _Console(width=PIPE_WIDTH)


def plan_table(cells: Sequence[Cell], missing: Mapping[str, str]) -> None:
    """The cells of a plan, and why some will not run; `missing` says why a runtime cannot be had on this platform."""
    out = console()
    table = plain_table("cell", "recipe", "runtime", "will it run")
    runs = [cell for cell in cells if cell.excluded is None]
    for cell in runs:
        recipe = cell.recipe.name if cell.recipe else "–"
        will = f"[dim]unavailable: {escape(missing[cell.runtime])}[/]" if cell.runtime in missing else "yes"
        table.add_row(cell.id, recipe, cell.runtime, will)
    if runs:
        out.print(table)
    if len(runs) < len(cells):
        out.print(*([""] if runs else []), _excluded_table(cells), "", sep="\n")
    out.print(f"{len(cells)} cells: {len(runs)} will run, {len(cells) - len(runs)} are excluded")


def _excluded_table(cells: Sequence[Cell]) -> Table:
    """Cells that are left out for one reason stand in one row."""
    reasons: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.excluded is not None:
            reasons.setdefault(cell.excluded, []).append(cell)
    table = plain_table("excluded", "cells", "why")
    for reason, left_out in reasons.items():
        table.add_row(_together(left_out, cells), str(len(left_out)), escape(reason))
    return table


def _together(left_out: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """The groups of some cells, `minilm/int8/cpu`; `*/cuda/*` or `qwen/*` for every group of a target or a model."""
    groups = tuple(dict.fromkeys(cell.group for cell in left_out))
    targets = {cell.target for cell in left_out}
    if len(groups) > 1 and len(targets) == 1 and len(left_out) == sum(cell.target in targets for cell in cells):
        return f"*/{targets.pop()}/*"
    models = dict.fromkeys(cell.model for cell in left_out)
    return ", ".join(part for model in models for part in _of_model(model, left_out, cells))


def _of_model(model: str, left_out: Sequence[Cell], cells: Sequence[Cell]) -> tuple[str, ...]:
    """The groups of one model: `qwen/*` for all of them, `qwen/… (24 rows)` for many; `--json` names each."""
    own = [cell for cell in left_out if cell.model == model]
    groups = tuple(dict.fromkeys(cell.group for cell in own))
    if len(groups) > 1 and len(own) == sum(cell.model == model for cell in cells):
        return (f"{model}/*",)
    return (f"{model}/… ({len(groups)} rows)",) if len(groups) > MANY else groups


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """The fingerprint as names and values."""
    cpu = machine.cpu
    cores = f"{cpu.physical_cores} cores, {cpu.logical_cores} threads, {cpu.usable_cores:g} usable"
    gpus = "; ".join(map(_accelerator, machine.accelerators)) or "none seen"
    return [
        ("CPU", f"{cpu.brand} ({cpu.architecture}), {cores}"),
        ("Instruction sets", " ".join(cpu.isa)),
        ("Memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("Accelerators", gpus),
        ("System", f"{machine.os} {machine.os_version}, kernel {machine.kernel}"),
        ("Virtual", ", ".join(filter(None, (machine.hypervisor, machine.container))) or "no"),
        ("Python", machine.python),
        ("Machine key", machine.key),
    ]


def _accelerator(device: Accelerator) -> str:
    """`NVIDIA L4 (24.0 GiB, driver 570.86, CUDA 12.8)`."""
    memory = f"{device.memory_bytes / 2**30:.1f} GiB" if device.memory_bytes else None
    facts = ", ".join(filter(None, (memory, device.driver and f"driver {device.driver}", device.api)))
    return f"{device.name} ({facts})" if facts else device.name


def cache_table(entries: Sequence[Entry], root: Path) -> None:
    """The artifacts of a cache and what they weigh."""
    table = plain_table("key", "what", "kind", "MiB", "made", "used, days ago")
    for entry in entries:
        size = f"{entry.size_bytes / 2**20:.1f}"
        table.add_row(entry.key, entry.what, entry.kind, size, entry.created[:10], f"{entry.used_days_ago:.1f}")
    out = console()
    if entries:
        out.print(table)
    total = sum(entry.size_bytes for entry in entries)
    out.print(f"{len(entries)} artifacts, {total / 2**20:.1f} MiB, in {root}", soft_wrap=True)


def finished_table(finished: Finished) -> None:
    """Every verdict of a run, then where its files are."""
    table = plain_table("cell", "status", "latency, ms", "throughput", "against control", "warnings")
    absent: dict[str, list[Outcome]] = {}
    for outcome in finished.outcomes:
        if outcome.failure and outcome.failure.stage == "target":
            absent.setdefault(outcome.cell.target, []).append(outcome)
        elif outcome.status != "excluded":
            table.add_row(*_outcome_row(outcome))
    out = console()
    if table.row_count:
        out.print(table, "", sep="\n")
    if absent:
        out.print(_absent_table(absent), "", sep="\n")
    counts = Counter(outcome.status for outcome in finished.outcomes)
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    why = " (`bench plan` says why)" if counts["excluded"] else ""
    out.print(f"{len(finished.outcomes)} cells: {said}{why}")
    for path in finished.files:
        out.print(f"  {path}", soft_wrap=True, highlight=False)


def _absent_table(absent: Mapping[str, Sequence[Outcome]]) -> Table:
    """Targets that are not on this machine: one row each, whatever was planned on them."""
    from bench.report import text

    table = plain_table("not here", "cells", "why", "what would enable it")
    for target, outcomes in absent.items():
        table.add_row(target, str(len(outcomes)), escape(text.reason(outcomes[0])), escape(text.remedy(outcomes[0])))
    return table


def _outcome_row(outcome: Outcome) -> tuple[str, ...]:
    """One verdict; the numbers are rounded by their intervals, as they are in the report."""
    from bench.report import emulation, text, text_flags

    outcome = emulation.without_times(outcome)
    status = f"[{COLOURS.get(outcome.status, 'red')}]{outcome.status}[/]"
    flags, reason = ", ".join(text_flags.names(outcome.flags)), text.reason(outcome)
    speed = outcome.speed
    if speed is None:
        told = f"{reason}; {flags}" if flags else reason
        return outcome.cell.id, status, "–", "–", "–", escape(told)
    told = flags if outcome.status == "ok" else f"{reason}; {flags}"
    return outcome.cell.id, status, *_figures(outcome.cell, speed), escape(told)


def _figures(cell: Cell, speed: Speed) -> tuple[str, str, str]:
    """Latency, throughput and ratio; of a model that generates, its time to first token, and those of decoding."""
    from bench.report import numbers

    unit, rate = next(iter(speed.throughput.items()))
    latency, ratio = numbers.plus_minus(speed.latency_ms), speed.ratio_to_control
    if (generated := speed.generation) is not None:
        latency = f"TTFT {numbers.plus_minus(generated.first_token_ms)}"
        unit, rate, ratio = "tok", generated.decode_tok_s or rate, generated.decode_ratio
    compared = "control" if cell.id == speed.control else numbers.ratio(ratio, speed.resolvable)
    return latency, numbers.plus_minus(rate, f" {unit}/s"), compared


def plain_table(*columns: str) -> Table:
    """A table without lines, whose long words are folded."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
