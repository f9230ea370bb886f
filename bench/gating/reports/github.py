"""Write a gate as GitHub's workflow commands, which the runner shows as annotations of a job.

Source: GitHub's "Workflow commands for GitHub Actions", and the escaping of `@actions/core`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.gating import text
from bench.records import GateCell, GateRun
from bench.report.escaping import line

MOST = 10
"""Annotations of one kind that GitHub shows for a step; it drops further ones silently."""


def workflow_commands(run: GateRun) -> str:
    """Errors, warnings and one notice, one command a line; the tenth of a kind gives the number of further ones."""
    cells = text.ordered(run.cells)
    errors = [_annotation("error", *_title_and_message(cell)) for cell in cells if cell.verdict in text.RED]
    warnings = [_annotation("warning", *_title_and_message(cell)) for cell in cells if cell.verdict in text.UNSURE]
    if not run.null.fine:
        # First, since GitHub drops the last ones, and this one concerns every cell.
        warnings.insert(0, _annotation("warning", "Null control", text.null_control(run)))
    notice = f"{line(run.verdict)} ({text.counted(run.cells)}; {text.about(run)})"
    commands = [*_at_most(errors, "error"), *_at_most(warnings, "warning"), _annotation("notice", "bench gate", notice)]
    return "\n".join(commands) + "\n"


def ended(message: str) -> str:
    """The annotation of a gate that ended with an error before it could judge, with a line feed."""
    return _annotation("error", "bench gate", message) + "\n"


def _title_and_message(cell: GateCell) -> tuple[str, str]:
    """Title and message of one cell's annotation."""
    verdict = text.named(cell.verdict)
    figures = ", ".join(f"{name} {value}" for name, value in text.figures(cell)[1:])
    return f"{verdict.capitalize()}: {cell.cell}", f"{text.explanation(cell)} ({figures})"


def _at_most(commands: Sequence[str], kind: str) -> Iterator[str]:
    if len(commands) <= MOST:
        yield from commands
        return
    yield from commands[: MOST - 1]
    more = len(commands) - MOST + 1
    message = f"{more} more {kind}s stand in gate.md and gate.xml, as GitHub shows {MOST}"
    yield _annotation(kind, f"{more} more", message)


def _annotation(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_property(text.cut(line(title)))}::{_data(line(message))}"


def _data(words: str) -> str:
    # The percent sign first, else the escapes of the others would be escaped again.
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    # Commas separate properties and a colon ends them, so both are escaped here and not in the message.
    return _data(words).replace(":", "%3A").replace(",", "%2C")
