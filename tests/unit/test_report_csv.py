"""results.csv as a data frame and a spreadsheet read it."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from a_generating_report import a_generated, a_generating_run, a_generator, a_recognizer, heard
from a_report import EMULATED, a_cell, a_report, a_speed, a_start, a_whole_run, an_interval, an_outcome
from msgspec.structs import replace

from bench.records import Interval, Placement, TaskResult, note
from bench.report import metrics, model
from bench.report.renderers import csv

COLUMNS = {column.name: column.meaning for column in metrics.columns()}
KINDS = {"text": "text", "list": "text", "integer": "number", "number": "number", "boolean": "text"}
"""A column of `true` and missing is one of objects, as texts are."""

SPEEDS = r"latency|p\d\d|throughput|ratio|first_|ttft|prefill|decode|itl|encode|rtf|energy"
"""The columns that wrong answers leave empty."""
TIMES = SPEEDS + r"|control|load_ms|cold|cached"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A run with every status, and one of models that generate; the first cell has made-up inputs and labels."""
    run, (first, *others) = a_whole_run()
    task = TaskResult("accuracy", 500, 0.88, 0.9, Interval(2.0, -0.5, 4.5), 4200)
    runs = [(run, [replace(first, build_notes=(note("noise"),), task=task), *others]), a_generating_run()]
    return pd.read_csv(io.StringIO(csv.render(model.build(runs))))


def read(*outcomes: object, **run: object) -> pd.Series:
    return pd.read_csv(io.StringIO(csv.render(a_report(*outcomes, **run)))).iloc[0]  # type: ignore[arg-type]


def test_made_up_inputs_are_named_in_the_row() -> None:
    notes = (
        note("calibrated", inputs=16),
        note("noise-for", inputs=("state",)),
        note("guessed-integers", inputs=("k=3",)),
    )
    assert read(an_outcome(build_notes=notes))["inputs"] == "seeded noise for the inputs state; guessed: k=3"
    assert pd.isna(read(an_outcome())["inputs"])


def test_every_cell_has_one_row(frame: pd.DataFrame) -> None:
    assert len(frame) == sum(len(outcomes) for _, outcomes in (a_whole_run(), a_generating_run()))
    assert list(frame.columns) == list(COLUMNS)


def test_pandas_gives_every_column_the_type_that_its_row_says(frame: pd.DataFrame) -> None:
    for column in metrics.columns():
        read_as = "number" if pd.api.types.is_numeric_dtype(frame[column.name]) else "text"
        assert read_as == KINDS[column.type], column.name
        if column.type == "integer":
            assert (frame[column.name].dropna() % 1 == 0).all(), column.name


def test_the_first_column_names_the_cell(frame: pd.DataFrame) -> None:
    assert frame.columns[0] == "cell"
    assert list(frame.cell) == [o.cell.id for _, outcomes in (a_whole_run(), a_generating_run()) for o in outcomes]


def test_missing_is_empty_and_zero_is_zero(frame: pd.DataFrame) -> None:
    crashed = frame[frame.status == "crashed"]
    assert crashed.latency_ms.isna().all()
    assert crashed.nodes_on_target.isna().all()
    assert (crashed.rounds == 0).all()
    assert (frame[frame.status == "ok"].nodes_elsewhere.dropna() == 0).all()


def test_no_speed_for_wrong_answers(frame: pd.DataFrame) -> None:
    wrong = frame[frame.status == "inaccurate"]
    columns = [name for name in COLUMNS if re.match(SPEEDS, name)]
    assert len(wrong) == 3
    assert len(columns) == 68
    assert wrong[columns].isna().all(axis=None)
    assert wrong.cosine.notna().all()


def test_a_time_of_an_emulator_stands_in_a_column_of_its_own_and_in_no_other(frame: pd.DataFrame) -> None:
    emulated = frame[(frame.emulated == True) & frame.status.isin(["ok", "partial"])]  # noqa: E712
    assert len(emulated) == 2
    assert emulated[[name for name in COLUMNS if re.match(TIMES, name)]].isna().all(axis=None)
    assert (emulated.emulated_latency_ms > 1000).all()
    assert frame[frame.emulated.isna()].emulated_latency_ms.isna().all()
    assert EMULATED not in set(frame.sort_values("latency_ms").dropna(subset="latency_ms").target)


def test_cold_and_cached_starts_have_their_parts_and_their_sum() -> None:
    row = read(an_outcome(cold=a_start("cold", 700, 4000), cached=a_start("cached", 690, 10)))
    assert (row.cold_load_ms, row.cold_first_call_ms) == (700, 4000)
    assert row.cold_answer_ms == pytest.approx(4761.2)
    assert row.cached_answer_ms == pytest.approx(761.2)


def test_a_start_that_came_to_nothing_has_no_time() -> None:
    row = read(an_outcome(cached=a_start("cached", 0, 0, note("no-compiled-model", text="cannot be opened"))))
    assert row[["cached_load_ms", "cached_first_call_ms", "cached_answer_ms"]].isna().all()


def test_copies_and_time_elsewhere_are_those_of_the_profile() -> None:
    profiled = Placement({"CPUExecutionProvider": {"Add": 1}}, "assignment-info", 8, 0.25)
    row = read(an_outcome(placement=profiled, device="gpu.0 NVIDIA H100", executed="tf32"))
    assert (row.copies, row.time_elsewhere) == (8, 0.25)
    assert (row.device, row.executed) == ("gpu.0 NVIDIA H100", "tf32")


MEASURED = re.compile(r"_ms$|_s$|^throughput$|^ratio_to_control$|_ratio$|^rtf$|_j$")
SINGLE = re.compile(r"^(cold|cached)_|^sustained_(?!ratio$)")
"""Columns of measured figures, and those among them that one start gave, or one process that was run on end."""


def test_every_measured_figure_has_an_interval_beside_it(frame: pd.DataFrame) -> None:
    measured = [name for name in COLUMNS if MEASURED.search(name) and not SINGLE.match(name)]
    assert {"p90_ms", "itl_p99_ms", "load_ms", "first_answer_ms", "energy_j", "decode_tok_s"} <= set(measured)
    for name in measured:
        base = name.replace("ratio_to_control", "ratio")
        low, value, high = (frame[column] for column in (f"{base}_low", name, f"{base}_high"))
        shown = value.notna()
        assert ((low <= value) & (value <= high))[shown].all(), name
        assert low[~shown].isna().all(), name


def test_a_figure_of_one_start_says_so_in_its_meaning() -> None:
    for kind in ("cold", "cached"):
        assert "one start" in COLUMNS[f"{kind}_load_ms"]
        assert "that start" in COLUMNS[f"{kind}_answer_ms"]


def test_a_generator_has_the_speeds_of_its_parts_and_what_differs_between_engines() -> None:
    row = read(a_generated())
    assert (row.prompt, row.new, row.decode_tok_s, row.prefill_tok_s) == (128, 64, 310, 1263)
    assert (row.ttft_ms, row.itl_p50_ms) == (pytest.approx(101.3, abs=0.1), pytest.approx(3.23, abs=0.01))
    assert row.decode_tok_s_low < row.decode_tok_s < row.decode_tok_s_high
    assert (row.decode_ratio, row.prefill_ratio) == (pytest.approx(310 / 34), pytest.approx(1263 / 853))
    assert (row.kv_type, row.kv_bytes, row.logits) == ("fp32", 7_077_888, "last token")
    assert row.weight_format == "MatMulNBits, 4 bits, blocks of 32"
    assert (row.bits_declared, row.bits_counted, row.tokens_counted_by) == (4.5, 5.21, "engine")
    assert (row.kl_divergence, row.top1_agreement, row.tokens_same, row.tokens_compared) == (0.38, 0.331, 0, 64)
    assert (row.first_token_from_nothing_ms, row.energy_per_token_j) == (1430, 0.0614)
    assert row.context == 0
    nothing = ["audio", "itl_p99_ms", "encode_ms", "rtf", "word_error_rate"]
    assert row[nothing].isna().all()


def test_speech_has_a_real_time_factor_in_place_of_prefill() -> None:
    row = read(a_generated(a_recognizer(), heard(130, real_time_factor=an_interval(0.03)), word_error_rate=0.05))
    assert (row.audio, row.rtf, row.encode_ms, row.word_error_rate, row.decode_tok_s) == (30, 0.03, 402, 0.05, 130)
    assert row.rtf_low < row.rtf < row.rtf_high
    assert row[["prompt", "prefill_tok_s", "prefill_ratio"]].isna().all()


def test_what_does_not_generate_has_none_of_these() -> None:
    row = read(an_outcome())
    assert row[list(COLUMNS)[list(COLUMNS).index("ttft_ms") : list(COLUMNS).index("emulated_latency_ms")]].isna().all()
    assert row[["prompt", "new", "kv_type", "bits_counted", "tokens_same"]].isna().all()


def test_an_emulated_generator_has_answers_and_no_time() -> None:
    row = read(a_generated(a_generator(emulated=True)))
    assert row[[name for name in COLUMNS if re.match(TIMES, name)]].isna().all()
    assert (row.kl_divergence, row.kv_type) == (0.38, "fp32")


def test_values_are_not_rounded() -> None:
    row = read(an_outcome(speed=a_speed(12.345678901)))
    assert row.latency_ms == 12.345678901
    assert row.throughput_unit == "sequences/s"


def test_a_single_round_leaves_the_ends_empty() -> None:
    row = read(an_outcome(speed=a_speed(share=None)))
    assert pd.isna(row.latency_ms_low)
    assert pd.isna(row.throughput_high)


def test_lists_are_joined_by_semicolons() -> None:
    row = read(an_outcome(fallback_ops=("Gather x3", "Cast x1"), flags=("noisy", "few-rounds")))
    assert row.fallback_ops == "Gather x3;Cast x1"
    assert row["warnings"] == "noisy;few rounds"


def test_a_reason_cannot_become_a_formula_nor_break_the_row() -> None:
    hostile = '=HYPERLINK("http://x","y"),\n"second line"'
    row = read(an_outcome(status="failed", reason=hostile))
    assert row.reason == '\'=HYPERLINK("http://x","y"), "second line"'


def test_a_key_of_digits_stays_text() -> None:
    row = read(an_outcome(artifact="012345678901"))
    assert row.artifact == "'012345678901"


def test_a_figure_that_is_no_number_is_missing() -> None:
    row = read(an_outcome(speed=a_speed(p99_ms=Interval(float("nan"), 1.0, float("inf")))))
    assert pd.isna(row.p99_ms)
    assert (row.p99_ms_low, pd.isna(row.p99_ms_high)) == (1.0, True)


def test_the_version_of_onnxruntime_is_found_under_the_names_of_its_wheels() -> None:
    refused = {"status": "unsupported", "reason": "session: no", "versions": {}}
    openvino = a_cell(target="openvino-cpu", runtime="openvino", provider="OpenVINOExecutionProvider")
    assert read(an_outcome(openvino, **refused)).onnxruntime == "1.24.1"
    assert read(an_outcome(**refused)).onnxruntime == "1.31.1"
    torch = a_cell(target="torch-eager", runtime="torch", engine="torch", provider=None)
    assert pd.isna(read(an_outcome(torch, versions={"torch": "2.13.0+cpu"})).onnxruntime)
