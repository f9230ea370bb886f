"""operators.html as a reader meets it: it filters, it unfolds, and a phone never scrolls it sideways."""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_cases import a_case, a_failure, a_run, a_target, done, seen
from test_report_in_a_browser import OUTSIDE, OVERFLOW
from webdriver import Browser

from bench.conformance import reports
from bench.conformance.verdicts import judge
from bench.files import write_atomically
from bench.records import Provider

pytestmark = pytest.mark.browser

SHOWN = "return [...document.querySelectorAll('details.operator')].filter(e => e.checkVisibility()).length"
ROWS = "return [...document.querySelectorAll('details.operator tbody tr')].filter(e => !e.hidden).length"
CASES = (
    a_case("test_relu"),
    a_case("test_softmax_axis_0", operator="Softmax", opset=13),
    a_case("test_softmax_axis_1", operator="Softmax", opset=13),
    a_case("test_" + "long_name_" * 12, operator="BatchNormalization", opset=15),
)


@pytest.fixture(scope="module")
def page(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases on two providers."""
    run = a_run(*CASES, targets=(a_target(), a_target("cpu", provider=Provider("CPUExecutionProvider"))))
    found = [
        seen("test_relu"),
        seen("test_softmax_axis_0", done=done(cpu={"Softmax": 1})),
        seen("test_softmax_axis_1", failure=a_failure("a_word_without_a_break_" * 20)),
        seen(CASES[3].name),
    ]
    path = tmp_path_factory.mktemp("operators") / reports.PAGE
    write_atomically(path, reports.html(run, judge(run, found)).encode())
    return path


def wanted(window: Browser, words: str) -> None:
    """Type into the filter."""
    window.run(f"const i = document.getElementById('query'); i.value = {words!r}; i.dispatchEvent(new Event('input'))")


@pytest.mark.parametrize(
    ("words", "groups", "rows"),
    [
        ("", 3, 4),
        ("softmax", 1, 2),
        ("SOFTMAX axis_1", 1, 1),
        ("webgpu:elsewhere", 1, 1),
        ("opset:15", 1, 1),
        ("webgpu:refused relu", 0, 0),
    ],
)
def test_the_filter_keeps_the_cases_that_hold_every_word(desk: Browser, page: Path, words, groups, rows) -> None:
    desk.open(page)
    wanted(desk, words)
    assert desk.run(SHOWN) == groups
    assert desk.run(ROWS) == rows


def test_an_operator_unfolds_to_its_cases(desk: Browser, page: Path) -> None:
    desk.open(page)
    desk.click("details.operator:nth-of-type(3) summary")
    said = desk.run("return document.querySelector('details[open]').innerText")
    assert "softmax_axis_0" in said
    assert "a_word_without_a_break_" in said


def test_the_page_asks_for_nothing_but_itself(desk: Browser, page: Path) -> None:
    desk.open(page)
    assert desk.requests() == [page.as_uri()]


def test_a_phone_scrolls_tables_and_never_the_page(phone: Browser, page: Path) -> None:
    phone.open(page)
    phone.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert phone.run("return innerWidth") == 390
    assert phone.run(OVERFLOW) == 0
    assert phone.run(OUTSIDE) == []
