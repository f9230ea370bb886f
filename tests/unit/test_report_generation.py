"""Models that generate, in the page, the summary and across runs."""

from __future__ import annotations

import re

import pytest
from a_generating_report import (
    a_generated,
    a_generating_report,
    a_generation,
    a_generator,
    a_recognizer,
    heard,
    some_traits,
    two_generating_machines,
)
from a_report import a_cell, a_report, a_run, a_speed, a_whole_report, an_interval, an_outcome
from test_report_html import Page, page_of, section

from bench.report import generation
from bench.report import model as grid
from bench.report.columns import Column, filled
from bench.report.renderers import html, markdown

SPEED, DIFFERS, FLAGS = "Latency is the time of one call", "Differences between the engines", "Startup time, memory"
DEEP = {"workload": "b1-p128-n64-d1024", "sizes": {"batch": 1, "prompt": 128, "new": 64, "context": 1024}}


@pytest.fixture(scope="module")
def source() -> str:
    return html.render(a_generating_report())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def told(*outcomes: object) -> str:
    """The section of speeds of a run of these outcomes."""
    return section(page_of(*outcomes), SPEED, "The first answer takes")


# --- which figure is shown --------------------------------------------------------------------------------------------


def test_the_figure_of_a_generator_is_what_it_decodes_and_of_other_models_the_latency() -> None:
    assert generation.headline(a_speed(12.3)) == "12.3 ± 0.2 ms"
    assert generation.headline(a_speed(generation=a_generation(310))) == "310 ± 6 tok/s"
    one_token = a_generation(first_token_ms=an_interval(101), decode_tok_s=None, decode_ratio=None)
    assert generation.headline(a_speed(generation=one_token)) == "101 ± 2 ms"


def test_prefill_and_decoding_are_compared_apart_and_speech_as_a_whole_too() -> None:
    assert list(generation.compared(a_speed())) == [""]
    assert list(generation.compared(a_speed(generation=a_generation()))) == ["decode", "prefill"]
    assert list(generation.compared(a_speed(generation=heard()))) == ["decode", "whole clip"]
    alone = a_generation(decode_ratio=None, prefill_ratio=None)
    assert generation.compared(a_speed(generation=alone)) == {}
    assert generation.compared(a_speed(ratio_to_control=None)) == {}


def test_a_model_generates_even_where_its_speed_is_withheld() -> None:
    assert generation.generates(a_generated(status="inaccurate"))
    assert not generation.generates(an_outcome())
    assert not generation.generates(an_outcome(status="inaccurate"))


def test_a_column_that_no_outcome_fills_is_left_out() -> None:
    columns = (Column("a", "", "text", lambda _: None), Column("b", "x", "text", lambda o: o.threads))
    assert [column.name for column in filled(columns, [an_outcome()])] == ["b, x"]
    assert filled(columns, []) == ()


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_text_generator_has_a_table_of_its_parts(page: Page) -> None:
    speed = section(page, SPEED, "The first answer takes")
    heading = (
        "Target and precision First token ms Prefill tok/s Decode tok/s Decode speedup over the control "
        "Prefill speedup over the control Warnings"
    )
    assert heading in speed
    control = "34.0 33.3–34.7 is the control is the control"
    assert f"torch-eager · fp32 150 147–153 853 836–870 {control}" in speed
    compared = "9.12× (8.94–9.30) 1.48× (1.46–1.50)"
    assert f"cpu · int4 k-quant-int4 101 99–103 1,260 1,240–1,290 310 304–316 {compared}" in speed
    assert "b1-p128-n64 batch 1, prompt 128, new 64 random weights" in speed, "no context is not worth a word"
    assert "b4-p128-n64-d1024 batch 4, prompt 128, new 64, context 1024" in speed


def test_speech_has_an_encoder_and_a_real_time_factor_in_place_of_prefill(page: Page) -> None:
    speed = section(page, SPEED, "The first answer takes")
    heading = (
        "First token ms Real-time factor Decode tok/s Decode speedup over the control "
        "Whole clip speedup over the control Word error rate"
    )
    assert heading in speed
    assert "cpu · int8 345 338–352 0.0194 0.0190–0.0198 266 261–271 4.84× (4.74–4.93)" in speed
    assert "batch 1, audio 30 s, new 64" in speed
    assert "4.8 %" in speed


def test_what_nothing_was_seen_of_has_no_column() -> None:
    speed = told(a_generated(a_recognizer(), heard(encode_ms=None)))
    assert "Word error rate" not in speed
    assert "Encoder" not in speed
    bare = some_traits(kv_type="", kv_bytes=None, logits="", declared_bits=None)
    without = {"bits_per_weight": None, "energy_per_token_j": None, "first_token_from_nothing_ms": None}
    speed = told(a_generated(traits=bare, **without))
    heading = "Target and precision Weights as they are stored Memory peak Threads Tokens counted by Sampling"
    assert heading in speed


def test_a_report_without_a_generator_says_nothing_of_generation() -> None:
    text = Page(html.render(a_whole_report())).text
    for word in ("tok/s", "prefill", "KL divergence", "Top-1", "Real-time", DIFFERS, "the likeliest token"):
        assert word not in text


def test_what_differs_between_the_engines_stands_below_their_speeds(page: Page) -> None:
    speed = section(page, SPEED, "The first answer takes")
    differs = speed[speed.index(DIFFERS) :]
    costs = "1,430 1,400–1,460 202 MiB 61.4 60.2–62.6 2"
    assert f"llama-cpp · int4 fp16, 6.75 MiB last token Q4_K_M 4.85 5.03 {costs} engine greedy" in differs
    assert "torch-eager · fp32 fp32, 6.75 MiB every token – 32.0 32.0" in differs
    assert "lm-studio · int4 – – Q4_K_M – – 1,430 1,400–1,460 202 MiB 61.4 60.2–62.6 2 chunks greedy" in differs


def test_wrong_answers_have_no_speed_and_keep_their_traits(page: Page) -> None:
    speed = section(page, SPEED, DIFFERS)
    reason = "KL divergence 1.21 is above 0.5 and top-1 agreement 0.21 is below 0.3, against PyTorch 2.13.0, FP32"
    assert f"webgpu · int4 inaccurate k-quant-int4 withheld : {reason}" in speed
    text = section(page, SPEED, "The first answer takes")
    assert "webgpu · int4 inaccurate fp32, 6.75 MiB last token" in text


def test_a_generator_none_of_whose_cells_is_right_still_has_its_tables() -> None:
    speed = told(a_generated(status="inaccurate", reason="KL divergence 1.21 is above 0.5"))
    assert "First token ms Warnings" in speed
    assert "withheld : KL divergence 1.21 is above 0.5" in speed
    assert DIFFERS in speed


def test_one_token_has_no_decoding_and_one_round_no_interval() -> None:
    one = a_generation(decode_tok_s=None, decode_ratio=None, token_p50_ms=None, token_p90_ms=None)
    speed = told(a_generated(made=one))
    assert "First token ms Prefill tok/s Prefill speedup over the control Warnings" in speed
    alone = told(a_generated(made=a_generation(share=None)))
    assert "310 no interval" in alone


def test_a_box_says_what_is_decoded_and_its_story_has_the_parts(page: Page, source: str) -> None:
    assert '<span class="number">95.0 tok/s<small>93.1–96.9</small></span>' in source
    assert "or its decode speed" in page.text
    story = re.search(r'<div popover id="box-1-2-1".*?</div>', source, re.DOTALL)
    assert story is not None
    words = Page(story[0]).text
    assert "Prefill, tok/s: 1,100 1,080–1,130" in words
    assert "Decode, speedup over the control: 2.79× (2.74–2.85)" in words
    assert "sequences/s" not in words


def test_random_weights_are_named_at_the_speeds_of_a_generator(page: Page) -> None:
    speed = section(page, "llama-100m text-generator", DIFFERS)
    assert speed.count("random weights") == 1 + 16 + 2, "beside its name, twice a chart, and above each workload"


def test_what_an_engine_says_of_itself_is_only_text() -> None:
    strange = some_traits(weights="<img src=x>", kv_type="\u202efp32", logits="{{ 7 }}", counted_by="</td>")
    found = page_of(a_generated(traits=strange))
    assert "<img src=x>" in found.text
    assert "img" not in {tag for tag, _ in found.tags}
    assert "\u202e" not in found.text


def test_an_emulated_generator_is_in_no_table_of_speeds() -> None:
    speed = told(a_generated(), a_generated(a_generator(target="qnn", emulated=True)))
    assert "qnn" not in speed[: speed.index("Emulated: times of an emulator")]


# --- the summary ------------------------------------------------------------------------------------------------------


def test_the_summary_has_a_table_for_each_model_that_generates() -> None:
    summary = markdown.render(a_generating_report())
    head = "| cell | weights, inputs | first token, ms | prefill, tok/s | decode, tok/s |"
    assert f"{head} decode, speedup over the control |" in summary
    row = "| `llama-100m/int4/cpu/b1-p128-n64` | random | 101 ± 2 | 1,260 ± 30 | 310 ± 6 | 9.12× (8.94–9.30) |"
    assert row in summary
    assert "| `llama-100m/int4/webgpu/b1-p128-n64` | random | withheld: inaccurate | – | – |" in summary
    assert "| **ok** · 310 ± 6 tok/s |" not in summary.split("### Targets")[1]
    assert "**ok** · 310 ± 6 tok/s" in summary
    assert "| `whisper-tiny/int8/cpu/b1-a30-n64` | pretrained | 345 ± 7 | 0.0194 ± 0.0004 | 266 ± 5 |" in summary
    assert "- tokens estimated: The server did not report" in summary


def test_generators_are_in_no_table_of_latencies() -> None:
    summary = markdown.render(a_generating_report())
    speed = summary[summary.index("### Speed\n") : summary.index("### Speed of generation")]
    assert "llama" not in speed
    assert "minilm/int8/cpu" in speed
    assert "### Speed\n" not in markdown.render(a_report(a_generated()))
    assert "### Speed of generation" not in markdown.render(a_whole_report())


def test_every_table_has_as_many_cells_in_each_row_as_in_its_header() -> None:
    for block in markdown.render(two_generating_machines()).split("\n\n"):
        rows = [re.split(r"(?<!\\)\|", row) for row in block.splitlines() if row.startswith("|")]
        assert len({len(row) for row in rows}) <= 1, block


# --- side by side -----------------------------------------------------------------------------------------------------


def test_machines_are_compared_by_prefill_and_by_decoding() -> None:
    report = two_generating_machines()
    rows = {(row.cell, row.part): row for row in report.across}
    cell = "llama-100m/int4/cpu/b1-p128-n64"
    assert rows[cell, "decode"].ratios[1].value == pytest.approx(310 / 34)
    assert rows[cell, "prefill"].ratios[1].value == pytest.approx(1263 / 853)
    assert (cell, "") not in rows
    assert "llama-100m/int4/cpu/b1-p128-n64 decode fp32 on torch-eager 9.12×" in Page(html.render(report)).text
    assert f"| `{cell}` decode | `llama-100m/fp32/torch-eager/b1-p128-n64` | 9.12×" in markdown.render(report)


def test_two_versions_of_a_generator_stand_side_by_side_by_what_they_decode() -> None:
    old = a_generated(a_generator(target="cpu-old", runtime="old"), versions={"onnxruntime-genai": "0.17.0"})
    run = a_run((a_generator(), old.cell), runtimes={})
    report = grid.build([(run, [a_generated(), old])])
    beside = Page(html.render(report)).text
    beside = beside[beside.index("Versions of CPUExecutionProvider side by side") :]
    assert "310 tok/s 304–316 speedup over the control: decode 9.12× (8.94–9.30) , prefill 1.48×" in beside
    assert "| `llama-100m/int4/b1-p128-n64` | 310 ± 6 tok/s | 310 ± 6 tok/s |" in markdown.render(report)


def test_a_generator_and_an_encoder_share_a_run() -> None:
    report = a_report(an_outcome(), a_generated(), a_generated(a_generator(**DEEP)), an_outcome(a_cell(target="b")))
    assert [model.generates for model in report.sheets[0].models] == [False, True]
    assert report.generates
