"""history.html as a reader meets it: it loads nothing, follows the colour scheme, and fits a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_machine
from stored_runs import CELLS, INT8, a_stored_run, failing, generators, observed
from test_report_in_a_browser import OUTSIDE, OVERFLOW, TEXT_COLOURS
from webdriver import Browser

from bench.comparison import history_page
from bench.comparison.compare import judged
from bench.comparison.history import history
from bench.files import write_atomically
from tests.shared import make_once

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(pages: dict[str, Path], shared: Path) -> Path:
    """Fourteen runs of two machines: one cell steps, one run fails, and a name is far too long."""
    return make_once(shared / "history", write_history) / history_page.FILE


def write_history(folder: Path) -> None:
    runs = []
    for day in range(14):
        machine = a_machine(key="feedfacef00d") if day == 12 else a_machine()
        name = f"vm-{'long-' * 30}{day}"
        run = a_stored_run(day, cells=(*CELLS, *generators()), machine=machine, name=name, threads=1 + day // 6)
        seen = failing(run, CELLS[1].id) if day == 4 else observed(run, day, slower={INT8: 1.3} if day > 7 else {})
        runs.append(judged(run, seen))
    page = history_page.render(history(runs, left_out=["older/run.json has schema 0"]))
    write_atomically(folder / history_page.FILE, page.encode())


def test_the_page_asks_for_nothing_but_itself(desk: Browser, page: Path) -> None:
    desk.open(page)
    assert desk.requests() == [page.as_uri()]


def test_a_phone_scrolls_the_table_and_never_the_page(phone: Browser, page: Path) -> None:
    phone.open(page)
    assert phone.run("return innerWidth") == 390
    assert phone.run(OVERFLOW) == 0
    assert phone.run(OUTSIDE) == []


def test_the_charts_take_the_colours_of_the_scheme(desk: Browser, phone: Browser, page: Path) -> None:
    for window in (desk, phone):
        window.open(page)
    light, dark = (window.run(TEXT_COLOURS) for window in (desk, phone))
    ink_on_paper, ink_on_night = "rgb(27, 31, 36)", "rgb(231, 234, 238)"
    assert ink_on_paper in light
    assert ink_on_paper not in dark
    assert ink_on_night in dark


def test_charts_stay_legible_on_a_phone(phone: Browser, page: Path) -> None:
    phone.open(page)
    heights = phone.run(
        "return [...document.querySelectorAll('.chart text')].filter(t => t.textContent)"
        ".map(t => t.getBoundingClientRect().height)"
    )
    assert min(heights) >= 9


def test_a_cell_in_the_table_leads_to_its_charts(desk: Browser, page: Path) -> None:
    desk.open(page)
    desk.click("#cells tr:nth-of-type(3) a")
    said = desk.run("return document.querySelector(':target').innerText")
    assert said.startswith(INT8)
    assert "Change point: 2026-11-09" in said


def test_every_change_of_the_runs_has_its_number_in_the_charts_and_its_words_below(desk: Browser, page: Path) -> None:
    desk.open(page)
    numbers = desk.run("return [...document.querySelectorAll('#changes .number')].map(e => e.textContent)")
    assert numbers == ["1", "2"]
    drawn = desk.run(
        "return [...document.querySelector('#cell-0 svg').querySelectorAll('text')].map(e => e.textContent)"
    )
    assert {"1", "2"} <= set(drawn)
    assert "threads 1 -> 2" in desk.run("return document.querySelector('#changes').innerText")
