"""What the terminal tables of several verbs share: the console, plain tables, escaping, and the table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bench.pipeline import RunResult
    from bench.records import Cell, Outcome, Speed

PIPE_WIDTH = 160
"""Columns of a table that does not go to a terminal: wide enough for a row."""
COLOURS = {
    "ok": "green",
    "partial": "yellow",
    "approximate": "cyan",
    **dict.fromkeys(("unchecked", "excluded", "unavailable"), "dim"),
    "unsupported": "magenta",
}
TONES = {"bad": "red", "good": "green", "warn": "yellow"}
"""The colours of the tones in a comparison or a history."""


class _Console(Console):
    """A console that leaves the exit code to `cli.app`: rich ends the process with 1 if the pipe is closed."""

    def on_broken_pipe(self) -> None:
        """Raise the error for `cli.app`."""
        raise BrokenPipeError


def console() -> Console:
    """The console for tables: as wide as the terminal, or `PIPE_WIDTH` columns if there is no terminal."""
    out = _Console()
    return out if out.is_terminal else _Console(width=PIPE_WIDTH)


def plain_table(*columns: str) -> Table:
    """A table without lines, which folds long words."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def safe(text: str) -> str:
    """Foreign text on one line, without control characters for the terminal and markup for rich."""
    from bench.report import escaping

    return escape(escaping.line(text))


def run_table(finished: RunResult, *, rank_approximate: bool = False) -> None:
    """Print every verdict of a run, then the paths of its files; `rank_approximate` compares approximate cells too."""
    table = plain_table("cell", "status", "latency, ms", "throughput", "speedup over control", "warnings")
    absent: dict[str, list[Outcome]] = {}
    for outcome in finished.outcomes:
        # All cells of a target that is missing fail for one reason, so they share one row with the remedy.
        if outcome.failure and outcome.failure.stage == "target":
            absent.setdefault(outcome.cell.target, []).append(outcome)
        elif outcome.status != "excluded":
            table.add_row(*_outcome_row(outcome, rank_approximate=rank_approximate))
    out = console()
    if table.row_count:
        out.print(table, "", sep="\n")
    scored = {outcome.cell.group: outcome for outcome in reversed(finished.outcomes) if outcome.task is not None}
    if scored:
        out.print(_task_table(list(reversed(scored.values()))), "", sep="\n")
    if absent:
        out.print(_absent_table(absent), "", sep="\n")
    counts = Counter(outcome.status for outcome in finished.outcomes)
    tally = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    why = " (`bench plan` says why)" if counts["excluded"] else ""
    out.print(f"{len(finished.outcomes)} cells: {tally}{why}")
    # Not folded, so that a path can be copied whole.
    for path in finished.files:
        out.print(f"  {path}", soft_wrap=True, highlight=False)


def _absent_table(absent: Mapping[str, Sequence[Outcome]]) -> Table:
    """A table with one row for each target that is not on this machine."""
    from bench.report import text

    table = plain_table("unavailable", "cells", "why", "how to enable it")
    for target, outcomes in absent.items():
        table.add_row(target, str(len(outcomes)), escape(text.reason(outcomes[0])), escape(text.remedy(outcomes[0])))
    return table


def _task_table(outcomes: Sequence[Outcome]) -> Table:
    """A table with the task metric of each model, precision and target: workloads share the labelled samples."""
    from bench.report import task

    table = plain_table("labelled samples", "metric", "value", "FP32", "loss (95 %)", "samples", "remark")
    for outcome in outcomes:
        table.add_row(outcome.cell.group, *map(escape, task.row(outcome)))
    return table


def _outcome_row(outcome: Outcome, *, rank_approximate: bool) -> tuple[str, ...]:
    """The row of one outcome; numbers are rounded by their intervals, as in the report."""
    from bench.report import emulation, text, text_flags

    # This table ranks too, and an emulator's times say nothing about a device.
    outcome = emulation.without_times(outcome)
    # Every status without a colour is a failure or a wrong answer.
    status = f"[{COLOURS.get(outcome.status, 'red')}]{outcome.status}[/]"
    flags, reason = ", ".join(text_flags.names(outcome.flags)), text.reason(outcome)
    # The name of the cell calls such a file by the recipe that left it as it is.
    own = f"the file is {outcome.file_format}" if outcome.file_format else ""
    speed = outcome.speed
    if speed is None:
        remark = "; ".join(filter(None, (own, reason, flags, text.optimization(outcome))))
        return outcome.cell.id, status, "–", "–", "–", escape(remark)
    # No number without what it was measured with.
    remarks = (
        own,
        "" if outcome.status == "ok" else reason,
        flags,
        text.optimization(outcome),
        text.input_mark(outcome),
    )
    latency, rate, compared = _figures(outcome.cell, speed)
    # Other answers than the reference's, or answers that nobody can check, are in no ranking.
    unranked = {"unchecked"} if rank_approximate else {"approximate", "unchecked"}
    compared = "not ranked" if outcome.status in unranked else compared
    return outcome.cell.id, status, latency, rate, compared, escape("; ".join(filter(None, remarks)))


def _figures(cell: Cell, speed: Speed) -> tuple[str, str, str]:
    """Latency, throughput and ratio; of a model that generates, time to first token, and rate and ratio of decode."""
    from bench.report import numbers

    unit, rate = next(iter(speed.throughput.items()))
    latency, ratio = numbers.plus_minus(speed.latency_ms), speed.ratio_to_control
    if (generated := speed.generation) is not None:
        latency = f"TTFT {numbers.plus_minus(generated.first_token_ms)}"
        unit, rate, ratio = "tok", generated.decode_tok_s or rate, generated.decode_ratio
    compared = "control" if cell.id == speed.control else numbers.ratio(ratio, speed.resolvable)
    return latency, numbers.plus_minus(rate, f" {unit}/s"), compared
