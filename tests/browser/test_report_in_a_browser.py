"""report.html as a reader meets it: in a real browser, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from webdriver import ENTER, ESCAPE, SPACE, Browser, browser

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


def test_the_charts_of_one_workload_fill_whole_rows_at_a_desk(desk: Browser, pages: dict[str, Path]) -> None:
    rows = (
        "return [...document.querySelectorAll('#speed .charts')].map(e => {"
        " const shown = [...e.children].filter(f => f.checkVisibility());"
        " return [shown.length, new Set(shown.map(f => f.getBoundingClientRect().top)).size] })"
    )
    desk.open(pages["generating"])
    assert desk.run(rows) == [[2, 1], *[[4, 2]] * 3]
    desk.open(pages["one"])
    assert set(map(tuple, desk.run(rows))) == {(3, 1)}


# --- the tables of speed and the cells --------------------------------------------------------------------------------

WIDER = """
return [...document.querySelectorAll('#speed table.speed')].map(e => e.closest('.scroll'))
  .filter(e => e.scrollWidth > e.clientWidth).map(e => [e.ariaLabel, e.scrollWidth, e.clientWidth])
"""
NAMES = """
return [...document.querySelector('table.sortable tbody:not(.head)').rows].filter(e => e.checkVisibility())
  .map(e => e.cells[0].querySelector('a').textContent)
"""
LATENCIES = """
return [...document.querySelector('table.sortable tbody:not(.head)').rows]
  .map(e => e.cells[1].dataset.value).filter(e => e !== undefined).map(Number)
"""
SORTED = "return document.querySelectorAll('table.sortable th[data-sort]')[1].getAttribute('aria-sort')"
CELL = "cell-minilm/int8/cpu/b1-s128"
IS_UNFOLDED = f"return document.getElementById('{CELL}').closest('details').open"


@pytest.fixture
def laptop(pages: dict[str, Path]) -> Iterator[Browser]:
    with browser(1310, 800) as window:
        yield window


@pytest.mark.parametrize("name", ["one", "two", "generating"])
def test_the_tables_of_speed_fit_a_laptop(laptop: Browser, pages: dict[str, Path], name: str) -> None:
    laptop.open(pages[name])
    assert laptop.run(WIDER) == []


@pytest.mark.parametrize("key", [None, ENTER])
def test_a_heading_sorts_its_table_up_down_and_back(desk: Browser, pages: dict[str, Path], key: str | None) -> None:
    desk.open(pages["one"])
    button = "table.sortable th:nth-child(2) .sort"
    before = desk.run(NAMES)

    def press() -> None:
        desk.press(button, key) if key else desk.click(button)

    press()
    assert desk.run(SORTED) == "ascending"
    rising = desk.run(LATENCIES)
    assert rising == sorted(rising)
    assert desk.run(NAMES) != before
    press()
    assert desk.run(SORTED) == "descending"
    assert desk.run(LATENCIES) == rising[::-1]
    press()
    assert desk.run(SORTED) is None
    assert desk.run(NAMES) == before


def test_the_filter_keeps_the_rows_and_cells_that_hold_every_word(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    desk.press("#query", "INT8 cpu b1-s128 minilm")
    assert set(desk.run(NAMES)) == {"cpu · int8", "cpu-ort-1-30 · int8", "openvino-cpu · int8"}
    words = desk.run("return document.getElementById('shown').textContent")
    assert words.endswith(" cells")
    left = desk.run("return [...document.querySelectorAll('details.cell')].filter(e => !e.hidden).length")
    assert words.startswith(f"{left} of ")
    # A link to a cell that the filter hides shows it.
    desk.run("location.hash = '#cell-minilm/fp32/torch-eager/b1-s128'; return 0")
    assert desk.run("return document.activeElement.closest('details').open")
    assert desk.run("return document.getElementById('query').value") == ""


def test_a_row_leads_to_the_cell_with_its_command_and_its_log(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    assert not desk.run(IS_UNFOLDED)
    desk.press(f'#speed a[href="#{CELL}"]', ENTER)
    assert desk.run(IS_UNFOLDED)
    story = desk.run("return document.activeElement.innerText")
    assert "bench run --budget standard --matrix matrix.toml" in story
    assert "--only minilm/int8/cpu/b1-s128 --only minilm/fp32/torch-eager/b1-s128" in story
    assert "logs/minilm--int8--cpu.log" in story
    assert "latency_ms" in story


def test_the_address_of_a_cell_opens_it_with_and_without_the_script(desk: Browser, pages: dict[str, Path]) -> None:
    address = f"{pages['one'].as_uri()}#{CELL}"
    desk.send("/url", url="about:blank")
    desk.send("/url", url=address)
    assert desk.run(IS_UNFOLDED)
    desk.send("/goog/cdp/execute", cmd="Emulation.setScriptExecutionDisabled", params={"value": True})
    try:
        desk.send("/url", url="about:blank")
        desk.send("/url", url=address)
    finally:
        desk.send("/goog/cdp/execute", cmd="Emulation.setScriptExecutionDisabled", params={"value": False})
    assert desk.run("return document.querySelectorAll('.sort').length") == 0, "the script did not run"
    assert desk.run("return document.getElementById('filter').hidden")
    assert desk.run(IS_UNFOLDED), "the browser itself unfolds what holds the target"


def test_the_story_of_a_box_leads_to_the_cell_and_closes(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    name = desk.run("return document.querySelector('[popover] dt a').closest('[popover]').id")
    desk.click(f'[popovertarget="{name}"]')
    desk.click(f"#{name} dt a")
    assert not desk.run(f"return document.getElementById('{name}').matches(':popover-open')")
    assert desk.run("return document.activeElement.closest('details.cell').open")


def test_a_missing_target_is_below_the_matrix_with_what_would_enable_it(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    assert "Remedy: install tensorrt-cu13" in desk.run("return document.querySelector('#matrix .lacking').innerText")


def test_comparisons_are_folded_and_sorted_inside_their_workload(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    assert not desk.run("return document.querySelector('details.comparisons').open")
    desk.run("document.querySelector('details.comparisons').open = true")
    desk.click(".comparisons th:nth-child(2) .sort")
    ratios = "[...document.querySelector('.comparisons tbody:not(.head)').rows].map(r => +r.cells[1].dataset.value)"
    values = desk.run(f"return {ratios}")
    assert len(values) > 1
    assert values == sorted(values)


def test_print_shows_the_reasons_and_hides_the_buttons(desk: Browser, pages: dict[str, Path]) -> None:
    desk.open(pages["one"])
    desk.send("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"media": "print"})
    try:
        assert desk.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
        assert desk.run("return document.querySelector('#trouble details pre').getBoundingClientRect().height > 0")
        stories = "return [...document.querySelectorAll('.story')].filter(e => e.checkVisibility()).length"
        assert desk.run(stories) == 0, "every figure of every cell would fill hundreds of pages"
    finally:
        desk.send("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"media": ""})
