"""The list of all comparisons of a model, in every format that shows it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from a_report import a_cell, a_report, a_run, an_interval, an_outcome
from stored_runs import CONTROL, FP32, INT8, a_stored_run, observed, write

from bench import pipeline
from bench.records import Comparison, Interval, Outcome
from bench.report import comparison_table, model
from bench.report.renderers import comparisons, html, markdown

CPU, QUICK, OTHER = (a_cell(target=target) for target in ("cpu", "openvino-cpu", "torch-eager"))


def outcomes() -> dict[str, Outcome]:
    return {cell.id: an_outcome(cell) for cell in (CPU, QUICK, OTHER)}


def row(ratio: Interval, *, decided: bool = False) -> comparison_table.ComparisonRow:
    (part,) = comparison_table.parts(outcomes(), [Comparison(CPU.id, OTHER.id, ratio, decided)])
    return part.rows[0]


def test_the_faster_cell_comes_first_and_the_interval_is_turned_with_it():
    turned = row(Interval(0.5, 0.4, 0.6))
    assert (turned.first.cell, turned.second.cell) == (OTHER, CPU)
    assert (turned.ratio.value, turned.ratio.low, turned.ratio.high) == pytest.approx((2, 1 / 0.6, 1 / 0.4))
    equal = row(Interval(1.01, 0.99, 1.03), decided=True)
    assert equal.sentence == "cpu · int8 is 0.99–1.03× torch-eager · int8: no difference shown"
    kept = row(Interval(1.15, 1.12, 1.18))
    assert kept.sentence == f"cpu · {CPU.precision} is 1.15× torch-eager · {OTHER.precision}, ± 2.6 %"


@pytest.mark.parametrize(
    ("ratio", "decided", "finding"),
    [
        (Interval(1.15, 1.12, 1.18), False, "difference"),
        (Interval(1.01, 0.99, 1.03), True, "no difference shown"),
        (Interval(1.01, 0.80, 1.25), False, "open"),
        (Interval(1.50, None, None), False, "open"),
        # As it is printed, the interval contains 1.
        (Interval(1.02, 1.0004, 1.04), True, "no difference shown"),
    ],
)
def test_a_finding_is_what_the_printed_interval_says(ratio, decided, finding):
    assert row(ratio, decided=decided).finding == finding


def test_a_comparison_of_a_cell_without_an_outcome_is_left_out():
    assert comparison_table.parts(outcomes(), [Comparison("gone/fp32/cpu/b1", CPU.id, an_interval(2), True)]) == ()
    assert comparison_table.parts(outcomes(), [Comparison(CPU.id, OTHER.id, Interval(0.0, 0.0, 0.0), True)]) == ()


def a_compared_report(status: str = "ok") -> model.Report:
    own = [an_outcome(CPU), an_outcome(QUICK, status=status), an_outcome(OTHER)]
    pairs = [
        Comparison(CPU.id, OTHER.id, Interval(1.15, 1.12, 1.18), True, "a-run"),
        Comparison(QUICK.id, OTHER.id, Interval(1.01, 0.8, 1.25), False, "a-run"),
        Comparison(CPU.id, QUICK.id, Interval(1.01, 0.99, 1.03), True, "a-run"),
    ]
    return model.build([(a_run((CPU, QUICK, OTHER)), own)], [pairs])


def test_the_page_folds_the_list_and_says_what_is_in_it():
    page = html.render(a_compared_report())
    assert f"<summary>All 3 comparisons of {CPU.model}: 1 difference, 1 no difference shown, 1 open</summary>" in page
    assert '<details class="comparisons">' in page, "folded until it is opened"
    assert page.count('<td class="n" data-value="1.15">') == 1, "its column can be sorted"
    assert "details class" not in html.render(a_report(an_outcome())).partition("<main>")[2].partition("cell-")[0]


def test_pairs_with_other_answers_are_hidden_where_rankings_hide_them():
    report = a_compared_report("approximate")
    page = html.render(report)
    assert f'<span class="rank-strict">Comparison of {CPU.model}: 1 difference</span>' in page
    assert (
        page.count('<tr class="rank-all" data-cell="' + CPU.id)
        + page.count('<tr class="rank-all" data-cell="' + QUICK.id + " " + OTHER.id)
        == 2
    )
    assert f"Comparison of {CPU.model}: 1 difference" in markdown.render(report)


def test_the_summary_folds_a_table_for_each_model():
    summary = markdown.render(a_compared_report())
    assert f"<details><summary>All 3 comparisons of {CPU.model}: " in summary
    assert "| `cpu · int8` | 1.15×, ± 2.6 % | `torch-eager · int8` | difference |" in summary
    assert "| `openvino-cpu · int8` | 0.8–1.2 | `torch-eager · int8` | open |" in summary
    assert "1.01×" not in summary, "a ratio without a difference would read as one"


def test_the_table_for_programs_has_a_row_for_each_pair():
    rows = list(csv.DictReader(io.StringIO(comparisons.render(a_compared_report("approximate")))))
    assert tuple(rows[0]) == tuple(comparisons.COLUMNS)
    assert [row["finding"] for row in rows] == ["difference", "open", "no difference shown"]
    assert [row["approximate"] for row in rows] == ["false", "true", "true"]
    assert (rows[0]["run"], rows[0]["faster"], rows[0]["ratio_low"]) == ("a-run", CPU.id, "1.12")


def test_a_report_of_two_runs_keeps_the_comparisons_of_both_each_with_its_run(tmp_path: Path):
    runs = [a_stored_run(day) for day in (0, 1)]
    folders = [write(tmp_path / run.name, run, observed(run, seed)) for seed, run in enumerate(runs)]
    finished = pipeline.report(folders, ["json", "comparisons"], tmp_path)
    pairs = [(FP32, CONTROL), (INT8, CONTROL), (FP32, INT8)]
    assert [(each.run, each.a, each.b) for each in finished.comparisons] == [
        (run.name, *pair) for run in runs for pair in pairs
    ]
    assert [len(each.comparisons) for each in finished.runs] == [3, 3]
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [{each["run"] for each in run["comparisons"]} for run in stored["runs"]] == [{"vm-000"}, {"vm-001"}]
    rows = csv.DictReader(io.StringIO((tmp_path / "comparisons.csv").read_text(encoding="utf-8")))
    assert [row["run"] for row in rows] == ["vm-000"] * 3 + ["vm-001"] * 3
