"""One row a metric: what a row says is in every format, in the schema and in the documentation."""

from __future__ import annotations

import csv as csv_reader
import io
import re
from pathlib import Path

import msgspec
import pytest
from a_generating_report import a_generating_run
from a_report import a_cell, a_report, a_speed, a_start, a_whole_run, an_interval, an_outcome
from sustained_runs import a_sustained

from bench.records import Outcome
from bench.report import metric_docs, metrics, model
from bench.report.metric import CellResult, Metric
from bench.report.renderers import csv, html, json, markdown

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
MARGIN = Metric(
    "resolvable_share",
    "share",
    "number",
    lambda result: result.outcome.speed.resolvable if result.outcome.speed else None,
    "Smallest relative difference that the rounds can resolve.",
    is_time=True,
    field="speed",
)
"""A row for a field that is measured and has no row."""


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, MARGIN))


def rows_of(report: model.Report) -> list[dict[str, str]]:
    return list(csv_reader.DictReader(io.StringIO(csv.render(report))))


def details_of(page: str) -> dict[str, str]:
    """The figures in the details of the only cell."""
    return dict(re.findall(r'<th scope="row"><code>(\w+)</code></th><td class="n">(.*?)</td>', page))


# --- adding a metric touches one row ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_more")
def test_a_new_row_is_in_every_format_and_in_the_documentation() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=0.031)))
    assert rows_of(report)[0]["resolvable_share"] == "0.031"
    read = msgspec.json.decode(json.render(report), type=json.Results)
    assert read.runs[0].metrics["minilm/int8/cpu/b1-s128"]["resolvable_share"] == 0.031
    page = html.render(report)
    assert details_of(page)["resolvable_share"] == "3.1 %"
    assert MARGIN.meaning in page
    assert "| `resolvable_share` | 3.1 % |" in markdown.render(report)
    assert f"| `resolvable_share` | metric, time | number | share | 0.1.0 | {MARGIN.meaning} |" in metric_docs.table()


def test_without_the_row_it_is_in_none_of_them() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=0.031)))
    for text in (csv.render(report), json.render(report), html.render(report), markdown.render(report)):
        assert "resolvable_share" not in text


@pytest.mark.usefixtures("one_more")
def test_a_new_time_is_missing_for_a_cell_that_ran_in_an_emulator() -> None:
    report = a_report(an_outcome(a_cell(emulated=True), speed=a_speed(resolvable=0.031)))
    assert rows_of(report)[0]["resolvable_share"] == ""
    assert "resolvable_share" not in details_of(html.render(report))


# --- the rows ---------------------------------------------------------------------------------------------------------


def test_no_two_columns_have_the_same_name() -> None:
    names = [column.name for column in metrics.columns()]
    assert len(names) == len(set(names))


def test_every_row_explains_itself_in_one_sentence_that_a_table_can_hold() -> None:
    for metric in metrics.METRICS:
        assert metric.meaning.endswith(".")
        assert "|" not in metric.meaning


def test_the_documentation_is_made_of_the_rows() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert metric_docs.with_table(page) == page, "python -m bench.report.metric_docs writes it again"


def test_values_have_the_types_of_their_rows() -> None:
    kinds = {"text": str, "list": str, "integer": int, "number": float, "boolean": bool}
    for sheet in model.build([a_whole_run(), a_generating_run()]).sheets:
        for outcome in sheet.outcomes:
            row = metrics.row(sheet.result(outcome))
            for column in metrics.columns():
                value = row[column.name]
                kind = (float, int) if column.type == "number" else kinds[column.type]
                assert value is None or (isinstance(value, kind)), column.name


# --- times and emulators ----------------------------------------------------------------------------------------------


def an_emulated_outcome() -> Outcome:
    return an_outcome(
        a_cell(emulated=True),
        cold=a_start("cold", 700, 4000),
        cached=a_start("cached", 690, 10),
        energy_j=an_interval(1.2),
        energy_source="RAPL package",
        energy_per_token_j=an_interval(0.1),
        first_token_from_nothing_ms=an_interval(900),
        sustained=a_sustained(),
    )


def test_every_time_is_held_by_a_field_of_the_outcome_that_the_report_of_an_emulator_leaves_out() -> None:
    assert metrics.time_fields() <= set(Outcome.__struct_fields__)
    outcome = a_report(an_emulated_outcome()).sheets[0].outcomes[0]
    assert [name for name in metrics.time_fields() if getattr(outcome, name) is not None] == []
    assert outcome.import_ms is not None
    assert outcome.parity is not None


def test_an_outcome_as_it_was_judged_shows_no_time_of_an_emulator_either() -> None:
    report = a_report(an_emulated_outcome())
    judged = CellResult(report.sheets[0].run, an_emulated_outcome())
    assert metrics.row(judged) == metrics.row(report.sheets[0].result(report.sheets[0].outcomes[0]))
    row = metrics.row(judged)
    assert row["emulated_latency_ms"] == 12.3
    times = [column.name for metric in metrics.METRICS if metric.is_time for column in metric.columns()]
    assert {row[name] for name in times} == {None}


# --- figures as people read them --------------------------------------------------------------------------------------


def test_figures_have_their_units_and_as_many_digits_as_their_interval_supports() -> None:
    outcome = an_outcome(
        cold=a_start("cold", 700, 4000), energy_j=an_interval(0.0024), model_rss_bytes=170_000_000, word_error_rate=0.05
    )
    (sheet,) = a_report(outcome).sheets
    shown = {metric.name: value for metric, value in metrics.figures(sheet.result(sheet.outcomes[0]))}
    assert shown["latency_ms"] == "12.3 ± 0.2 ms"
    assert shown["ratio_to_control"] == "1.83× (1.79–1.88)"
    assert shown["cold_first_call_ms"] == "4.00 s"
    assert shown["energy_j"] == "2.40 ± 0.05 mJ"
    assert (shown["model_rss_bytes"], shown["word_error_rate"]) == ("162 MiB", "5 %")
    assert (shown["cosine"], shown["effective_bits"], shown["calls"]) == ("0.9901", "5.55 bits", "412")
    assert not shown.keys() & {"p99_ms", "status", "onnxruntime"}


def test_a_ratio_that_shows_no_difference_says_so() -> None:
    speed = a_speed(ratio_to_control=an_interval(1.02, 0.05))
    control = a_cell(target="torch-eager", precision="fp32", control=True)
    (sheet,) = a_report(an_outcome(speed=speed), an_outcome(control, speed=speed)).sheets
    shown = [{m.name: value for m, value in metrics.figures(sheet.result(one))} for one in sheet.outcomes]
    assert [one["ratio_to_control"] for one in shown] == ["no difference shown (0.97–1.07)", "control"]


def test_the_details_of_a_cell_without_calls_have_no_figures() -> None:
    assert details_of(html.render(a_report(an_outcome(status="unsupported", reason="no")))) == {}


def test_a_summary_that_a_comment_could_not_hold_leaves_the_figures_to_the_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(an_outcome())
    whole = markdown.render(report)
    monkeypatch.setattr(markdown, "MOST_CHARACTERS", len(whole) - 1)
    short = markdown.render(report)
    assert "| `latency_ms` |" in whole
    assert "| `latency_ms` |" not in short
    assert "All figures of every cell are in results.csv" in short


def test_metrics_in_json_are_numbers_by_the_names_of_the_columns() -> None:
    (sheet,) = msgspec.json.decode(json.render(a_report(an_outcome())), type=json.Results).runs
    ((cell, values),) = sheet.metrics.items()
    assert cell == "minilm/int8/cpu/b1-s128"
    assert list(values) == [column.name for column in metrics.measured_columns()]
    assert (values["latency_ms"], values["p99_ms"], values["rounds"]) == (12.3, None, 5)
