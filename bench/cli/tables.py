"""What the terminal tables of several verbs share: the console, plain tables, escaping, and the table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.cli import result_rows

if TYPE_CHECKING:
    from bench.pipeline import RunResult
    from bench.records import Outcome

PIPE_WIDTH = 160
"""Columns of a table that does not go to a terminal: wide enough for a row."""
COLOURS = {
    "ok": "green",
    "partial": "yellow",
    "approximate": "cyan",
    **dict.fromkeys(("unchecked", "excluded", "unavailable", "not-measured"), "dim"),
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
    """Print the speeds of a run by model and workload, what did not work and why, then the paths of its files.

    `rank_approximate` compares approximate cells too. Lines are folded between words at the width of the terminal.
    """
    out = console()
    for result in finished.runs or (finished,):
        if finished.runs:
            machine = result.run.machine.cpu.brand
            _print_line(out, _clean(f"{result.run.name} on {machine}", "bold underline"))
        _print_run(out, result.outcomes, rank_approximate)
    counts = Counter(outcome.status for outcome in finished.outcomes)
    tally = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    why = " (`bench plan` says why)" if counts["excluded"] else ""
    out.print(f"{len(finished.outcomes)} cells: {tally}{why}")
    # Not folded, so that a path can be copied whole.
    for path in finished.files:
        out.print(f"  {path}", soft_wrap=True, highlight=False)


def results_so_far(finished: RunResult, width: int, height: int) -> list[Text]:
    """The lines of a run's results while it is measured: at most `height` of them, the latest models last."""
    lines: list[Text] = []
    for group in result_rows.groups(finished.outcomes):
        lines.append(_clean(group.heading, "bold"))
        # Remarks are for the table at the end.
        lines += [_styled(line) for line in result_rows.lines(group, width) if not line.aside]
    counts = Counter(outcome.status for outcome in finished.outcomes if outcome.rounds or outcome.failure)
    tally = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return [*lines[-max(1, height - 1) :], Text(tally, "dim")]


def _print_run(out: Console, outcomes: Sequence[Outcome], rank_approximate: bool) -> None:
    for group in result_rows.groups(outcomes, rank_approximate=rank_approximate):
        _print_line(out, _clean(group.heading, "bold"))
        for line in result_rows.lines(group, out.width):
            _print_line(out, _styled(line))
        out.print()
    if scores := list(result_rows.score_lines(outcomes, out.width)):
        for line in scores:
            _print_line(out, _styled(line))
        out.print()
    for part in result_rows.troubles(outcomes, rank_approximate=rank_approximate):
        _print_line(out, Text(part.heading, "bold"))
        for line in result_rows.trouble_lines(part, out.width):
            _print_line(out, _styled(line))
        out.print()


def _print_line(out: Console, line: Text) -> None:
    # Folded already where that is possible: rich would break the long words that are left.
    out.print(line, soft_wrap=True, highlight=False)


def _styled(line: result_rows.Line) -> Text:
    """A line in which the word of its status has its colour; the remarks of a row are dim."""
    styled = _clean(line.text, "dim" if line.aside else "")
    if line.status and line.status != "ok":
        # Every status without a colour is a failure or a wrong answer.
        styled.highlight_words([line.status], COLOURS.get(line.status, "red"))
    return styled


def _clean(line: str, style: str) -> Text:
    """Text that may hold names of others: no control characters for the terminal, and no markup is read in it."""
    from bench.report import escaping

    return Text(escaping.lines(line), style)
