"""Cells that were run on end, as every format shows them."""

from __future__ import annotations

import io
import re

import msgspec
import pandas as pd
import pytest
from a_generating_report import a_generated
from a_report import a_cell, a_report, an_outcome
from msgspec.structs import replace
from sustained_runs import CLOCK, a_crashed, a_sustained, a_sustained_minute

from bench.records import Interval, MachineState, note
from bench.report import charts, metrics, sustained
from bench.report.renderers import csv, html, json, markdown

COLUMNS = {column.name: column.meaning for column in metrics.columns()}


def read(*outcomes):
    return pd.read_csv(io.StringIO(csv.render(a_report(*outcomes)))).iloc[0]


def section(*outcomes):
    """The page's section, without its charts."""
    found = re.search(r'<section id="sustained">.*?</section>', html.render(a_report(*outcomes)), re.DOTALL)
    return "" if found is None else re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>", "", found[0], flags=re.DOTALL))


def words_of(source):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", source))


# --- html -------------------------------------------------------------------------------------------------------------


def test_a_report_without_such_runs_has_no_such_section():
    assert section(an_outcome()) == ""
    assert "#sustained" not in html.render(a_report(an_outcome()))


def test_a_cell_is_shown_by_its_burst_its_first_and_its_last_minute_and_what_that_is_worth():
    said = words_of(section(an_outcome(sustained=a_sustained())))
    for part in ("12.3 ms", "12.4 ms", "14.3 ms", "0.86× (0.81–0.91)", "3 of 3 min", f"throttled {CLOCK}"):
        assert part in said, part


def test_a_difference_that_one_process_more_could_have_made_is_none():
    said = words_of(section(an_outcome(sustained=a_sustained(ratio=Interval(0.97, 0.92, 1.03)))))
    assert "no difference shown (0.92–1.03)" in said


def test_every_minute_has_a_row_with_what_could_be_read():
    said = words_of(section(an_outcome(sustained=a_sustained())))
    assert "minute calls median call p90 clock heat others power" in said, "nothing was stolen or decoded"
    assert "3 4,196 14.3 ms 15.7 ms 3.40 GHz 81 °C 1 % mains" in said


def test_a_run_on_end_that_crashed_keeps_its_minutes_and_says_how_it_ended():
    said = words_of(section(an_outcome(sustained=a_crashed(12.4, 12.3))))
    assert "2 of 10 min crashed: the process died of SIGSEGV" in said
    said = words_of(section(an_outcome(sustained=a_crashed())))
    assert "0 of 10 min crashed: the process died of SIGSEGV" in said


def test_its_flags_are_explained_though_the_rounds_have_none():
    page = html.render(a_report(an_outcome(sustained=a_sustained())))
    assert 'href="#flag-throttled"' in page
    assert 'id="flag-throttled"' in page


def test_foreign_words_are_only_words():
    ended = note("failed", status="crashed", text="<script>alert(1)</script>")
    assert "<script>" not in section(an_outcome(sustained=a_sustained(ended=ended)))


# --- charts -----------------------------------------------------------------------------------------------------------


def test_a_chart_says_in_words_what_it_draws():
    outcome = an_outcome(sustained=a_sustained())
    drawn = charts.sustained_chart(outcome, "x")
    assert f'<title id="x-title">Minute by minute, {outcome.cell.id}</title>' in drawn
    assert "minute 1: 12.4 ms; minute 2: 12.9 ms; minute 3: 14.3 ms" in drawn
    assert 'role="img"' in drawn


@pytest.mark.parametrize(("count", "ticks"), [(2, [1, 2]), (3, [1, 2, 3]), (10, [1, 3, 5, 7, 9])])
def test_the_axis_counts_whole_minutes_each_once(count, ticks):
    drawn = charts.sustained_chart(an_outcome(sustained=a_sustained((12.4,) * count)), "x")
    below = re.findall(r'text-anchor="middle"[^>]*>(\d+)</text>', drawn)
    assert [int(tick) for tick in below] == ticks


def test_one_minute_is_no_course_to_draw():
    assert charts.sustained_chart(an_outcome(sustained=a_sustained((12.4,))), "x") == ""
    assert charts.sustained_chart(an_outcome(sustained=a_crashed()), "x") == ""
    assert charts.sustained_chart(an_outcome(), "x") == ""


def test_a_generators_minutes_are_its_decoding():
    minutes = tuple(a_sustained_minute(210.0, decode_tok_s=rate) for rate in (311.0, 309.0, 280.0))
    outcome = a_generated(sustained=a_sustained(minutes=minutes))
    assert "minute 3: 280 tok/s" in charts.sustained_chart(outcome, "x")
    assert sustained.row(outcome).last == "280 tok/s"
    assert "280 tok/s" in words_of(section(outcome))


# --- the other formats ------------------------------------------------------------------------------------------------


def test_a_row_has_the_last_minute_and_its_ratio_with_its_ends():
    row = read(an_outcome(sustained=a_sustained()))
    assert (row.sustained_minutes, row.sustained_ms) == (3.0, 14.3)
    assert (row.sustained_ratio, row.sustained_ratio_low, row.sustained_ratio_high) == (0.86, 0.81, 0.91)
    assert row.sustained_ratio_to_first == pytest.approx(12.4 / 14.3)
    assert row.sustained_warnings == "throttled"
    assert pd.isna(row.sustained_ended)
    assert read(an_outcome(sustained=a_crashed())).sustained_ended == "crashed: the process died of SIGSEGV"


def test_without_such_a_run_the_columns_are_empty():
    row = read(an_outcome())
    assert row[[name for name in COLUMNS if name.startswith("sustained")]].isna().all()


def test_figures_of_one_process_say_so():
    for name in ("sustained_ms", "sustained_decode_tok_s"):
        assert "of one process" in COLUMNS[name]
    assert "in the same process" in COLUMNS["sustained_ratio_to_first"]


def test_an_emulators_minutes_are_shown_nowhere():
    outcome = an_outcome(a_cell(emulated=True), sustained=a_sustained())
    assert read(outcome)[["sustained_ms", "sustained_ratio"]].isna().all()
    assert section(outcome) == ""


def test_the_summary_has_a_table_of_them():
    said = markdown.render(a_report(an_outcome(sustained=a_sustained())))
    (line,) = [one for one in said[: said.index("<details>")].splitlines() if "14.3 ms" in one]
    assert "12.3 ± 0.2 ms | 12.4 ms | 14.3 ms | 0.86× (0.81–0.91) | 3 of 3 min | throttled (the clock fell" in line
    (crashed,) = [
        one for one in markdown.render(a_report(an_outcome(sustained=a_crashed()))).splitlines() if "SIG" in one
    ]
    assert "0 of 10 min: crashed: the process died of SIGSEGV" in crashed
    assert "### Sustained" not in markdown.render(a_report(an_outcome()))


def test_the_json_holds_every_minute():
    outcome = an_outcome(sustained=a_sustained())
    read_back = msgspec.json.decode(json.render(a_report(outcome)), type=json.Results)
    assert read_back.runs[0].outcomes[0].sustained == json.worded(outcome).sustained


# --- flags in figures -------------------------------------------------------------------------------------------------


def test_what_raised_a_flag_stands_beside_it_in_every_format():
    outcome = an_outcome(flags=(note("on-battery", times=2, total=5, unit="rounds"), "few-rounds"))
    page = words_of(html.render(a_report(outcome)))
    assert "on battery , few rounds" in page, "the table of speeds has room for the names"
    assert "Here: in 2 of 5 rounds." in page
    assert "on battery (in 2 of 5 rounds), few rounds" in markdown.render(a_report(outcome))
    assert read(outcome).warning_details == "on battery: in 2 of 5 rounds"
    assert read(outcome)["warnings"] == "on battery;few rounds"


def test_a_state_that_nothing_is_known_of_fills_no_column():
    minute = replace(a_sustained_minute(), state=MachineState())
    headings, rows = sustained.table([minute])
    assert headings == ["minute", "calls", "median call", "p90"]
    assert rows == [["1", "4,878", "12.3 ms", "13.5 ms"]]
