"""Charts as their titles and what they say in words."""

from __future__ import annotations

import re

from a_generating_report import a_generated, a_generating_report, a_generation, a_recognizer, heard
from a_report import a_report, an_outcome

from bench.report import charts
from bench.report.renderers import html


def charts_of(*outcomes: object) -> list[str]:
    return [chart.title for chart in charts.model_charts(a_report(*outcomes).sheets[0].models[0], "x")]


def test_charts_are_of_prefill_and_decoding() -> None:
    name = "llama-100m, b1-p128-n64"
    assert charts_of(a_generated()) == [
        f"Decode speedup over the control, {name}",
        f"Prefill speedup over the control, {name}",
        f"Decode, {name}",
    ]
    assert [title.split(",")[0] for title in charts_of(a_generated(a_recognizer(), heard()))] == [
        "Decode speedup over the control",
        "Whole clip speedup over the control",
        "Decode",
    ]
    assert [title.split(",")[0] for title in charts_of(an_outcome())] == ["Speedup over the control", "Throughput"]


def test_a_chart_says_in_words_what_it_draws() -> None:
    source = html.render(a_generating_report())
    said = re.search(r'<desc id="chart-1-2-0-decode-desc">([^<]*)</desc>', source)
    assert said is not None
    assert "cpu · int4: 310 ± 6 tokens/s" in said[1]
    ratios = re.search(r'<desc id="chart-1-2-0-prefill-ratio-desc">([^<]*)</desc>', source)
    assert ratios is not None
    assert "llama-cpp · int4: 1.92× (1.90–1.95)" in ratios[1]
    assert "torch-eager" not in ratios[1], "the control is the line at 1"


def test_without_decoding_and_without_a_control_there_is_nothing_to_draw() -> None:
    one = a_generation(decode_tok_s=None, decode_ratio=None, prefill_ratio=None)
    assert charts_of(a_generated(made=one)) == []
