"""results.csv as a data frame and a spreadsheet read it."""

from __future__ import annotations

import io
import re
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from a_report import a_cell, a_report, a_speed, a_whole_report, an_outcome

from bench.report import csv
from bench.report.row import COLUMNS, Row

README = Path(__file__).parents[2] / "reports" / "README.md"
KINDS = {"str": "text", "int": "number", "float": "number"}
NEVER_FILLED = {"device"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.read_csv(io.StringIO(csv.render(a_whole_report())))


def read(*outcomes: object, **run: object) -> pd.Series:
    return pd.read_csv(io.StringIO(csv.render(a_report(*outcomes, **run)))).iloc[0]  # type: ignore[arg-type]


def test_every_cell_has_one_row(frame: pd.DataFrame) -> None:
    assert len(frame) == len(a_whole_report().sheets[0].outcomes)
    assert list(frame.columns) == list(COLUMNS)


def test_pandas_gives_every_column_the_type_that_the_record_says(frame: pd.DataFrame) -> None:
    for field in fields(Row):
        if field.name in NEVER_FILLED:
            assert frame[field.name].isna().all()
            continue
        kind = KINDS[str(field.type).split(" | ")[0]]
        read_as = "number" if pd.api.types.is_numeric_dtype(frame[field.name]) else "text"
        assert read_as == kind, field.name


def test_missing_is_empty_and_zero_is_zero(frame: pd.DataFrame) -> None:
    crashed = frame[frame.status == "crashed"]
    assert crashed.latency_ms.isna().all()
    assert crashed.nodes_on_target.isna().all()
    assert (crashed.rounds == 0).all()
    assert (frame[frame.status == "ok"].nodes_elsewhere.dropna() == 0).all()


def test_no_speed_for_wrong_answers(frame: pd.DataFrame) -> None:
    wrong = frame[frame.status == "inaccurate"]
    columns = [name for name in COLUMNS if re.match(r"latency|p\d\d|throughput|ratio|first_call", name)]
    assert len(wrong) == 1
    assert len(columns) == 15
    assert wrong[columns].isna().all(axis=None)
    assert wrong.cosine.notna().all()


def test_values_are_not_rounded() -> None:
    row = read(an_outcome(speed=a_speed(12.345678901)))
    assert row.latency_ms == 12.345678901
    assert row.throughput_unit == "sequences/s"


def test_a_single_round_leaves_the_ends_empty() -> None:
    row = read(an_outcome(speed=a_speed(share=None)))
    assert pd.isna(row.latency_ms_low)
    assert pd.isna(row.throughput_high)


def test_lists_are_joined_by_semicolons() -> None:
    row = read(an_outcome(fallback_ops=("Gather x3", "Cast x1"), flags=("noisy", "few rounds")))
    assert row.fallback_ops == "Gather x3;Cast x1"
    assert row["flags"] == "noisy;few rounds"


def test_a_reason_cannot_become_a_formula_nor_break_the_row() -> None:
    hostile = '=HYPERLINK("http://x","y"),\n"second line"'
    row = read(an_outcome(status="failed", reason=hostile))
    assert row.reason == '\'=HYPERLINK("http://x","y"), "second line"'


def test_a_key_of_digits_stays_text() -> None:
    row = read(an_outcome(artifact="012345678901"))
    assert row.artifact == "'012345678901"


def test_a_figure_that_is_no_number_is_missing() -> None:
    row = read(an_outcome(speed=a_speed(p99_ms=float("nan"), p95_ms=float("inf"))))
    assert pd.isna(row.p99_ms)
    assert pd.isna(row.p95_ms)


def test_the_version_of_onnxruntime_is_found_under_the_names_of_its_wheels() -> None:
    refused = {"status": "unsupported", "reason": "session: no", "versions": {}}
    openvino = a_cell(target="openvino-cpu", runtime="openvino", provider="OpenVINOExecutionProvider")
    assert read(an_outcome(openvino, **refused)).onnxruntime == "1.24.1"
    assert read(an_outcome(**refused)).onnxruntime == "1.31.1"
    torch = a_cell(target="torch-eager", runtime="torch", engine="torch", provider=None)
    assert pd.isna(read(an_outcome(torch, versions={"torch": "2.13.0+cpu"})).onnxruntime)


def test_the_readme_explains_every_column() -> None:
    explained = re.findall(r"^\| `(\w+)` \| (.*) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert explained == list(COLUMNS.items())
