"""The table of agreement: logits, tokens and errors, each where something was compared."""

from __future__ import annotations

from a_generating_report import a_generated, a_generating_report, a_generator, tokens_compared
from a_report import an_outcome
from msgspec.structs import replace
from test_report_html import Page, page_of, section

from bench.records import Tolerance
from bench.report import columns
from bench.report.renderers import html


def test_logits_and_tokens_stand_beside_the_cosine() -> None:
    page = Page(html.render(a_generating_report()))
    answers = section(page, "How far the outputs are", "The placement is ONNX Runtime's")
    heading = (
        "KL divergence nats at most Perplexity of the reference's text Top-1 agreement at least Same tokens asked for "
        "Cosine Relative error Largest error Effective bits Samples"
    )
    assert heading in answers
    assert "cpu · fp32 b1-p128-n64 ok 3.10e-10 0.0001 0 % 1.00 0.99 64 of 64 all 1 1.00e-6" in answers
    assert "cpu · int8 b1-p128-n64 ok 0.00410 0.02 +0.41 % 0.906 0.8 12 of 64 – 0.9991" in answers
    assert "lm-studio · int4 b1-p128-n64 ok – – – 0.875 0.3 – – – – – – 16" in answers


def test_agreement_of_other_models_has_the_columns_that_they_have() -> None:
    names = [column.name for column in columns.agreement([an_outcome()])]
    assert names == ["Cosine", "at least", "Relative error", "Largest error", "Effective bits"]
    asked = replace(an_outcome().parity, tolerance=Tolerance(0.98, 0.1))
    assert "at most" in [column.name for column in columns.agreement([an_outcome(parity=asked)])]
    assert columns.agreement([an_outcome(parity=None)]) == ()


def test_outputs_that_are_not_finite_say_so_in_place_of_figures() -> None:
    broken = tokens_compared(finite=False, kl_divergence=None, top1_agreement=None)
    found = page_of(a_generated(), a_generated(a_generator(target="webgpu"), status="inaccurate", parity=broken))
    assert "inaccurate the outputs contain NaN or infinity 32" in found.text


def test_a_score_is_denied_only_where_there_is_none() -> None:
    denied = "No task score was measured."
    assert denied in page_of(an_outcome()).text
    assert denied not in page_of(a_generated(weights="pretrained", word_error_rate=0.05)).text
    assert denied not in page_of(an_outcome(weights="random")).text


def test_words_that_were_wrong_are_an_answer_too() -> None:
    assert "Word error rate, worst round" in [
        column.name for column in columns.agreement([a_generated(word_error_rate=0.05)])
    ]
