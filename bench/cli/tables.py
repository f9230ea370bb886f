"""What the terminal tables of several verbs share: the console, plain tables, escaping, and the table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from bench import foreign_text

if TYPE_CHECKING:
    from bench.cli import result_rows
    from bench.pipeline import RunResult

PIPE_WIDTH = 160
"""Columns of a table that does not go to a terminal: wide enough for a row."""
GAP = 2
"""Spaces between two columns."""
COLOURS = {
    "ok": "green",
    "partial": "yellow",
    "approximate": "cyan",
    **dict.fromkeys(("unchecked", "excluded", "unavailable", "not-measured"), "dim"),
    "unsupported": "magenta",
}
TONES = {"bad": "red", "good": "green", "warn": "yellow"}
"""The colours of the tones in a comparison or a history."""


class TerminalConsole(Console):
    """The console of every verb. No control character, and no command of a CI runner, passes it.

    It leaves the exit code to `cli.app`: rich ends the process with 1 if the pipe is closed.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.push_render_hook(_Border())

    def on_broken_pipe(self) -> None:
        """Raise the error for `cli.app`."""
        raise BrokenPipeError


class _Border(RenderHook):
    """Cleans what is printed after it is laid out, also where a caller forgot it, and what folding made of it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [item if isinstance(item, Control) else _Clean(item) for item in renderables]


class _Clean:
    def __init__(self, content: ConsoleRenderable) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        segments = list(console.render(self.content, options))
        last, *_ = segments[-1] if segments else ("",)
        ended = last[-1:] == "\n"
        rows = list(Segment.split_lines(segments))
        for number, row in enumerate(rows, start=1):
            # Whole lines, since highlighting cuts a command into several segments.
            shown = "".join(segment.text for segment in row if not segment.control)
            clean = foreign_text.lines(shown)
            yield from row if clean == shown else [Segment(clean)]
            if ended or number < len(rows):
                yield Segment.line()


def console() -> Console:
    """The console for tables: as wide as the terminal, or `PIPE_WIDTH` columns if there is no terminal."""
    out = TerminalConsole()
    return out if out.is_terminal else TerminalConsole(width=PIPE_WIDTH)


def plain_table(*columns: str) -> Table:
    """A table without lines, which folds long words."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(out: Console, headings: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print a plain table of many rows: where they fit the width, as whole lines, in a part of the time of rich."""
    lines = [[Text(heading, "bold") for heading in headings], *rows]
    widths = [max(line[place].cell_len for line in lines) for place in range(len(headings))]
    if sum(widths) + GAP * (len(widths) - 1) > out.width:
        table = plain_table(*headings)
        for row in rows:
            table.add_row(*row)
        out.print(table)
        return
    whole = Text()
    for line in lines:
        for text, width in zip(line[:-1], widths, strict=False):
            whole.append_text(text).append(" " * (width - text.cell_len + GAP))
        whole.append_text(line[-1]).append("\n")
    out.print(whole, end="", soft_wrap=True, highlight=False)


def safe(text: str) -> str:
    """Foreign text on one line, without control characters for the terminal and markup for rich."""
    return escape(foreign_text.line(text))


def safe_path(path: Path) -> str:
    """A path as it is, to be copied; what is not printable in it is shown as an escape."""
    return escape(foreign_text.visible(str(path)))


def run_table(finished: RunResult, *, rank_approximate: bool = False) -> None:
    """Print the speeds of a run by model and workload, what did not work and why, then the paths of its files.

    `rank_approximate` compares approximate cells too. Lines are folded between words at the width of the terminal.
    """
    out = console()
    for result in finished.runs or (finished,):
        if finished.runs:
            machine = result.run.machine.cpu.brand
            _print_line(out, _clean(f"{result.run.name} on {machine}", "bold underline"))
        _print_run(out, result, rank_approximate)
    counts = Counter(outcome.status for outcome in finished.outcomes)
    tally = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    why = " (`bench plan` says why)" if counts["excluded"] else ""
    out.print(f"{len(finished.outcomes)} cells: {tally}{why}")
    # Not folded, so that a path can be copied whole.
    for path in finished.files:
        out.print(f"  {safe_path(path)}", soft_wrap=True, highlight=False)


def results_so_far(finished: RunResult, width: int, height: int) -> list[Text]:
    """The lines of a run's results while it is measured: at most `height` of them, the latest models last."""
    from bench.cli import result_rows

    lines: list[Text] = []
    for group in result_rows.groups(finished.outcomes, finished.comparisons):
        lines.append(_clean(group.heading, "bold"))
        # Remarks are for the table at the end.
        lines += [_styled(line) for line in result_rows.lines(group, width) if not line.aside]
    counts = Counter(outcome.status for outcome in finished.outcomes if outcome.rounds or outcome.failure)
    tally = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return [*lines[-max(1, height - 1) :], Text(tally, "dim")]


def _print_run(out: Console, finished: RunResult, rank_approximate: bool) -> None:
    # Late: the tables of other verbs have no such rows.
    from bench.cli import result_rows

    outcomes = finished.outcomes
    for group in result_rows.groups(outcomes, finished.comparisons, rank_approximate=rank_approximate):
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
    return Text(foreign_text.lines(line), style)
