"""Writes the Markdown tables of the speed of generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.records import Note, Outcome, Run
from bench.report import generation, text, text_flags
from bench.report.escaping import code, table
from bench.report.escaping import markdown as plain
from bench.report.model import RunReport
from bench.report.model_tables import ModelPart
from bench.report.table import Column


def tables(sheet: RunReport) -> Iterator[str]:
    """A heading, and a table for each model that generates, because their columns may differ."""
    models = [model for model in sheet.models if model.generates and model.outcomes]
    if models:
        yield "### Speed of generation"
    for model in models:
        yield _model(sheet.run, model)


def _model(run: Run, model: ModelPart) -> str:
    # Only the main columns: a table in a comment on a pull request must stay narrow.
    columns = tuple(column for column in generation.speeds(model.outcomes) if column.brief)
    header = ["cell", "weights", *(column.name.lower() for column in columns), "warnings"]
    return table(header, (_row(run, columns, outcome) for outcome in model.outcomes))


def _row(run: Run, columns: Sequence[Column], outcome: Outcome) -> list[str]:
    values = [column.text(outcome) for column in columns]
    if outcome.status == "inaccurate":
        values[0] = "withheld: inaccurate"
    weights = text.WEIGHTS[text.weights_of(run, outcome)]
    return [cell(outcome), weights, *values, flags(outcome.flags)]


def flags(raised: Iterable[Note]) -> str:
    """The name of each flag, with the figures that raised it where they are known."""
    named = ((text_flags.name(flag.kind), text_flags.detail(flag)) for flag in raised)
    return ", ".join(plain(f"{name} ({detail})" if detail else name) for name, detail in named)


def cell(outcome: Outcome) -> str:
    """The id of the cell, and in bold the number format that it computes in, if it asks for another."""
    gap = text.asked_and_computed(outcome)
    return code(outcome.cell.id) + (f"<br>**{plain(gap)}**" if gap else "")
