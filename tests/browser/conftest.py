"""Reports on disk, and browsers to open them in; without a browser the tests are skipped, in CI they fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from a_generating_report import a_generating_report
from a_report import a_whole_report, two_machines
from webdriver import Browser, browser, find

from bench.report import formats
from tests.shared import make_once

PHONE = (390, 844)
DESK = (1280, 900)


@pytest.fixture(scope="session")
def pages(shared: Path) -> dict[str, Path]:
    """The report of one run, that of two machines, and that of models that generate."""
    if find() is None:
        why = "no Chromium or Chrome with its chromedriver on the path"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    reports = {"one": a_whole_report, "two": two_machines, "generating": a_generating_report}

    def make(folder: Path) -> None:
        for name, report in reports.items():
            formats.write(report(), ["html"], folder / name)

    folder = make_once(shared / "pages", make)
    return {name: folder / name / "report.html" for name in reports}


@pytest.fixture(scope="session")
def desk(pages: dict[str, Path]) -> Iterator[Browser]:
    """A wide window in light colours."""
    with browser(*DESK) as window:
        yield window


@pytest.fixture(scope="session")
def phone(pages: dict[str, Path]) -> Iterator[Browser]:
    """A narrow window in dark colours."""
    with browser(*PHONE, dark=True) as window:
        yield window
