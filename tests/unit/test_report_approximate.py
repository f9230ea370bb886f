"""Cells that are ranked only when a reader asks for them, and cells that are never ranked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from a_report import a_cell, a_parity, a_report, a_speed, an_outcome
from test_report_html import Page, page_of

from bench import pipeline
from bench.cli import report as report_verb
from bench.cli import result_rows
from bench.cli import run as run_verb
from bench.records import Outcome, OutputParity, note
from bench.report import columns, text_outputs
from bench.report.renderers import html, markdown, pytest_benchmark

OTHER = note("figure-too-low", figure="top1_agreement", value=0.81, limit=0.9)


def an_approximate(target: str = "webgpu") -> Outcome:
    reason = note("visibly-other", OTHER, reference="PyTorch 2.13.0, FP32", times=5, rounds=5)
    return an_outcome(a_cell(target=target), status="approximate", reason=reason, parity=a_parity(top1_agreement=0.81))


def an_unchecked() -> Outcome:
    speed = a_speed(ratio_to_control=None, control=None)
    reason = note("random-model", outputs=("y",))
    return an_outcome(a_cell(target="openvino"), status="unchecked", reason=reason, speed=speed)


def section(source: str, name: str) -> str:
    return source.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_the_matrix_shows_the_agreement_in_the_cell() -> None:
    source = html.render(a_report(an_outcome(), an_approximate()))
    assert '<span class="verdict tone-near"><b>approximate</b>' in source
    assert '<small class="agreed">top-1 0.81</small>' in source
    assert "**approximate** · 12.3 ± 0.2 ms · top-1 0.81" in markdown.render(a_report(an_outcome(), an_approximate()))


def test_the_tables_and_charts_of_speed_have_them_only_where_the_box_is_checked() -> None:
    speed = section(html.render(a_report(an_outcome(), an_approximate())), "speed")
    assert '<input type="checkbox" id="rank-approximate">' in speed
    rows = re.findall(r'<tr( class="rank-all")? data-cell="[^"]*"><th scope="row"><a [^>]*>(\w+)', speed)
    assert rows == [("", "cpu"), (' class="rank-all"', "webgpu")]
    strict, every = (
        re.findall(rf'<figure class="{kind}">(.*?)</figure>', speed, re.S) for kind in ("rank-strict", "rank-all")
    )
    assert 0 < len(strict) < len(every), "with it there are two points for a chart of errors"
    assert not any("webgpu" in figure for figure in strict)
    assert all("webgpu · int8 (approximate)" in figure for figure in every)


def test_without_such_cells_there_is_no_box() -> None:
    speed = section(html.render(a_report(an_outcome())), "speed")
    assert "rank-approximate" not in speed
    assert "rank-strict" not in speed


def test_the_summary_lists_them_below_its_tables() -> None:
    summary = markdown.render(a_report(an_outcome(), an_approximate(), an_unchecked()))
    table = summary.partition("### Speed")[2].partition("Control:")[0]
    assert "webgpu" not in table
    assert "openvino" not in table
    assert "Approximate (within tolerance, but visibly other answers; in no ranking):" in summary
    assert "- `minilm/int8/webgpu/b1-s128`: 12.3 ± 0.2 ms, top-1 0.81" in summary
    assert "- `minilm/int8/openvino/b1-s128`: 12.3 ± 0.2 ms" in summary


def test_a_random_model_has_its_time_in_a_table_of_its_own() -> None:
    page = page_of(an_outcome(), an_unchecked())
    assert "Unchecked: the model is random" in page.text
    speed = section(html.render(a_report(an_outcome(), an_unchecked())), "speed")
    assert re.findall(r'<tr[^>]*><th scope="row">(?:<a [^>]*>)?(\w+)', speed) == ["cpu", "openvino"]
    assert speed.index("Unchecked") < speed.index('<th scope="row">openvino')


def test_the_terminal_shows_the_times_and_no_rank() -> None:
    for outcome in (an_approximate(), an_unchecked()):
        row = result_rows.row(outcome)
        assert row.status == outcome.status
        assert row.figure == "12.3 ± 0.2 ms"
        assert row.compared == "not ranked"
    (group,) = result_rows.groups([an_approximate(), an_outcome()])
    assert [row.name for row in group.rows] == ["cpu · int8", "webgpu · int8"], "what is ranked comes first"
    (trouble,) = result_rows.troubles([an_approximate(), an_outcome()])
    assert trouble.heading == "Not ranked: visibly other answers than those of FP32"
    assert "top-1 agreement 0.81 is below 0.9" in trouble.entries[0].words


def test_a_reader_who_asks_for_them_has_them_in_every_ranking() -> None:
    report = replace(a_report(an_outcome(), an_approximate(), an_unchecked()), rank_approximate=True)
    report = replace(report, sheets=tuple(replace(sheet, rank_approximate=True) for sheet in report.sheets))
    assert '<input type="checkbox" id="rank-approximate" checked>' in html.render(report)
    summary = markdown.render(report)
    table = summary.partition("### Speed")[2].partition("Control:")[0]
    assert "webgpu" in table
    assert "openvino" not in table
    assert "Approximate (within tolerance" not in summary
    both = (an_approximate(), an_unchecked())
    rows = {each.status: result_rows.row(each, rank_approximate=True).compared for each in both}
    assert rows["unchecked"] == "not ranked"
    assert rows["approximate"] != "not ranked"


def test_both_verbs_pass_the_wish_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(pipeline, "report", lambda *_, rank_approximate: asked.append(rank_approximate))
    monkeypatch.setattr(pipeline, "run", lambda options, _: asked.append(options.rank_approximate))
    for module in (report_verb, run_verb):
        monkeypatch.setattr(module, "run_table", lambda _, *, rank_approximate: asked.append(rank_approximate))
    report_verb.report([tmp_path], rank_approximate=True)
    run_verb.run(rank_approximate=True, quiet=True)
    assert asked == [True] * 4


def test_files_that_are_made_to_rank_have_no_random_model() -> None:
    written = pytest_benchmark.render(a_report(an_outcome(), an_unchecked()))
    assert "cpu" in written
    assert "openvino" not in written


def test_the_details_show_every_output_and_which_one_decides() -> None:
    outputs = (
        OutputParity("boxes", "float", 8, 800, max_abs_error=0.5, relative_error=0.01, cosine=0.9999),
        OutputParity("label", "integer", 8, 8, max_abs_error=1.0, agreement=0.875),
        OutputParity("none", "float", 8, 0),
    )
    outcome = an_outcome(parity=a_parity(outputs=outputs, decides="boxes"))
    assert [row.verdict for row in text_outputs.rows(outcome)] == [
        "decides",
        "share of equal values 0.875 is below 1",
        "",
    ]
    page = Page(html.render(a_report(outcome)))
    assert "Each output by itself" in page.text
    assert "88 % of 8 equal, largest error 1" in page.text
    assert "empty, as the reference is" in page.text
    assert "Output, that decides" in [column.name for column in columns.agreement([outcome])]


def test_a_single_whole_output_needs_no_name() -> None:
    output = OutputParity("y", "float", 8, 800, max_abs_error=0.5, relative_error=0.01, cosine=0.9999)
    outcome = an_outcome(parity=a_parity(outputs=(output,), decides="y"))
    assert "Output, that decides" not in [column.name for column in columns.agreement([outcome])]
