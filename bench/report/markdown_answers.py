"""Writes the answers of a run in Markdown: a table of the fastest cells, and a list of what did not work."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import numbers, text_answers
from bench.report.answers import Setback, WorkloadAnswer
from bench.report.escaping import code, table
from bench.report.escaping import markdown as plain
from bench.report.model import RunReport


def parts(sheet: RunReport) -> Iterator[str]:
    """For each model the fastest right cell and the smallest; then what did not work, a line for each reason."""
    if any(model.workloads for model in sheet.answers):
        yield "### Answers"
        header = ["model, workload", "fastest right cell", "how sure", "least memory"]
        yield table(header, (_answer(sheet, m.model, each) for m in sheet.answers for each in m.workloads))
        yield text_answers.HOW_TO_READ
    setbacks = [(model.model, setback) for model in sheet.answers for setback in model.setbacks]
    if setbacks:
        yield "Did not work, or is not ranked:"
        yield "\n".join(_setback(sheet, model, setback) for model, setback in setbacks)


def _answer(sheet: RunReport, model: str, answer: WorkloadAnswer) -> list[str]:
    fastest, smallest, outcomes = answer.fastest, answer.smallest, sheet.by_id
    row = [f"{plain(model)}, {plain(answer.workload)}", "none", numbers.DASH, numbers.DASH]
    if fastest:
        row[1] = f"{code(text_answers.name(outcomes[fastest.cell]))} {plain(text_answers.figure(fastest))}"
        row[2] = plain("; ".join(text_answers.certainty(fastest, outcomes)))
    if smallest:
        row[3] = f"{code(text_answers.name(outcomes[smallest.cell]))} {plain(text_answers.size(smallest))}"
    return row


def _setback(sheet: RunReport, model: str, setback: Setback) -> str:
    cells = text_answers.setback_cells(setback, sheet.by_id)
    return f"- **{setback.status}** {plain(model)}: {code(cells)}: {plain(text_answers.setback_reason(setback))}"
