"""Formats found, checked and written."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from a_report import a_report, an_outcome

from bench.errors import DiskError, UsageError
from bench.report import formats

HEAVY = "altair|vl_convert|jinja2|pandas|numpy|scipy|narwhals"


def test_every_format_is_found_by_its_file() -> None:
    assert formats.formats().keys() >= {"html", "csv", "markdown", "json"}
    for name in formats.formats():
        assert name == formats.load(name).NAME


def test_names_are_checked_without_importing_what_they_need() -> None:
    script = f"""
import sys
from bench.report import formats, model, numbers
assert formats.known("html, csv") == ("html", "csv")
print([name for name in sys.modules if name in "{HEAVY}".split("|")])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown report format 'htlm'; did you mean 'html'\?"):
        formats.known("csv,htlm")


def test_a_name_that_is_near_nothing_is_answered_with_all_of_them() -> None:
    with pytest.raises(UsageError, match="the formats are csv, html"):
        formats.known("pdf")


def test_files_are_written_in_the_order_of_the_names(tmp_path: Path) -> None:
    written = formats.write(a_report(an_outcome()), ["markdown", "csv", "csv"], tmp_path / "new")
    assert [path.name for path in written] == ["summary.md", "results.csv"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"summary.md", "results.csv"}


def test_files_are_utf8_with_line_feeds_on_every_system(tmp_path: Path) -> None:
    (path,) = formats.write(a_report(an_outcome(reason="naïve – \ud800")), ["csv"], tmp_path)
    data = path.read_bytes()
    assert b"\r" not in data
    assert "naïve –" in data.decode("utf-8")


def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        formats.write(a_report(an_outcome()), ["csv", "nothing"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = formats.write(a_report(an_outcome()), ["csv"], tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match=r"results\.csv could not be written: the disk is full; free some space"):
        formats.write(a_report(an_outcome(), an_outcome()), ["csv"], tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
