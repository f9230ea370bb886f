"""report.html as a reader meets it: in a real browser, at a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from webdriver import ENTER, ESCAPE, SPACE, Browser

pytestmark = pytest.mark.browser

BOX = '[popovertarget="box-1-3-5"]'
STORY = "#box-1-3-5"
IS_OPEN = f"return document.querySelector('{STORY}').matches(':popover-open')"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEXT_COLOURS = """
return [...document.querySelectorAll('body, .chart text, .chart line, .chart path')]
  .map(e => getComputedStyle(e)).flatMap(s => [s.color, s.fill, s.stroke])
"""
OUTSIDE = """
return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, [popover], svg'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))
"""
COLUMNS_IN_SIGHT = """
const edge = document.querySelector('.matrix').closest('.scroll').getBoundingClientRect().right;
return [...document.querySelectorAll('.matrix thead th')].filter(e => e.getBoundingClientRect().left < edge - 20).length
"""
CUT_WORDS = """
return [...document.querySelectorAll('.box b, .box .number, .box .gap')]
  .filter(e => e.getBoundingClientRect().right > e.closest('.box').getBoundingClientRect().right)
  .map(e => e.textContent)
"""


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_page_asks_for_nothing_but_itself(desk: Browser, pages: dict[str, Path], name: str) -> None:
    desk.open(pages[name])
    desk.click(BOX)
    assert desk.requests() == [pages[name].as_uri()]


@pytest.mark.parametrize("name", ["one", "two", "generating"])
def test_a_phone_scrolls_wide_tables_and_never_the_page(phone: Browser, pages: dict[str, Path], name: str) -> None:
    phone.open(pages[name])
    phone.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert phone.run("return innerWidth") == 390
    assert phone.run(OVERFLOW) == 0
    assert phone.run(OUTSIDE) == []
    wide = phone.run("return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
    assert wide, "the tables of this report do not fit a phone, so some must scroll"


def test_a_story_on_a_phone_fits_the_screen(phone: Browser, pages: dict[str, Path]) -> None:
    phone.open(pages["one"])
    phone.run(f"document.querySelector('{STORY}').showPopover()")
    left, right = phone.run(
        f"const b = document.querySelector('{STORY}').getBoundingClientRect(); return [b.left, b.right]"
    )
    assert left >= 0
    assert right <= 390


def test_a_click_on_a_box_opens_its_story_and_the_button_closes_it(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    assert not desk.run(IS_OPEN)
    desk.click(BOX)
    assert desk.run(IS_OPEN)
    assert "the graph is not acyclic" in desk.run(f"return document.querySelector('{STORY}').innerText")
    desk.click(f"{STORY} .close")
    assert not desk.run(IS_OPEN)


@pytest.mark.parametrize("key", [ENTER, SPACE])
def test_the_keyboard_opens_a_story_and_escape_closes_it(desk: Browser, pages: dict[str, Path], key: str) -> None:
    desk.open(pages["one"])
    desk.press(BOX, key)
    assert desk.run(IS_OPEN)
    desk.press(f"{STORY} .close", ESCAPE)
    assert not desk.run(IS_OPEN)


@pytest.mark.parametrize("key", [None, ENTER])
def test_details_open_by_click_and_by_keyboard(desk: Browser, pages: dict[str, Path], key: str | None) -> None:
    desk.open(pages["one"])
    summary = "#machine details summary"
    desk.press(summary, key) if key else desk.click(summary)
    assert desk.run("return document.querySelector('#machine details').open")
    assert "onnxruntime-ep-webgpu 0.4.0" in desk.run("return document.querySelector('#machine details').innerText")


def test_the_charts_take_the_colours_of_the_scheme(desk: Browser, phone: Browser, pages: dict[str, Path]) -> None:
    for window in (desk, phone):
        window.open(pages["one"])
    light, dark = (window.run(TEXT_COLOURS) for window in (desk, phone))
    ink_on_paper, ink_on_night = "rgb(27, 31, 36)", "rgb(231, 234, 238)"
    assert ink_on_paper in light
    assert ink_on_paper not in dark
    assert ink_on_night in dark
    assert "rgb(42, 108, 179)" in light, "points are drawn in the variable's colour, not in Vega's"


def test_charts_stay_legible_on_a_phone(phone: Browser, pages: dict[str, Path]) -> None:
    phone.open(pages["one"])
    heights = phone.run(
        "return [...document.querySelectorAll('.chart text')].filter(t => t.textContent)"
        ".map(t => t.getBoundingClientRect().height)"
    )
    assert min(heights) >= 9


def test_the_matrix_on_a_phone_shows_more_than_two_targets_and_cuts_no_verdict(
    phone: Browser, pages: dict[str, Path]
) -> None:
    phone.open(pages["one"])
    assert phone.run(COLUMNS_IN_SIGHT) >= 4, "the precision and three targets, the last one cut: the table scrolls"
    assert phone.run(CUT_WORDS) == []


def test_no_speed_of_a_generator_is_cut_in_its_box_on_a_phone(phone: Browser, pages: dict[str, Path]) -> None:
    phone.open(pages["generating"])
    assert phone.run(CUT_WORDS) == []


def test_the_charts_of_one_workload_stand_in_one_row_at_a_desk(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["generating"])
    tops = desk.run(
        "return [...document.querySelectorAll('.charts.three')]"
        ".map(e => new Set([...e.children].map(f => f.getBoundingClientRect().top)).size)"
    )
    assert tops == [1, 1, 1]


def test_a_missing_target_in_the_matrix_leads_to_what_would_enable_it(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    desk.click('.away a[href="#target-1-2"]')
    assert "Remedy: install tensorrt-cu13" in desk.run("return document.querySelector(':target').innerText")


def test_print_shows_the_reasons_and_hides_the_buttons(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    desk.send("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"media": "print"})
    try:
        assert desk.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
        assert desk.run("return document.querySelector('#trouble details pre').getBoundingClientRect().height > 0")
    finally:
        desk.send("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"media": ""})
