"""Formats found, checked and written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from a_report import a_cell, a_report, a_run, an_outcome

from bench import store
from bench.errors import DiskError, UsageError
from bench.report import formats

ROOT = Path(__file__).parents[2]
RENDERERS = Path(formats.__file__).parent / "renderers"
HEAVY = "altair|vl_convert|jinja2|pandas|numpy|scipy|narwhals"


def test_every_format_of_the_package_is_in_the_table() -> None:
    files = [path for path in RENDERERS.glob("*.py") if "\nNAME = " in path.read_text(encoding="utf-8")]
    assert {module.rpartition(".")[2] for module in formats.BUILT_IN.values()} == {path.stem for path in files}
    for name in formats.BUILT_IN:
        assert name == formats.load(name).NAME
    assert formats.names()[: len(formats.BUILT_IN)] == tuple(formats.BUILT_IN)


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
    with pytest.raises(UsageError, match="known are comparisons, csv, html"):
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


# --- formats of other packages ----------------------------------------------------------------------------------------

LOUD = """\
NAME = "loud"
FILE = "loud.txt"


def render(report):
    return "\\n".join(outcome.cell.id.upper() for sheet in report.sheets for outcome in sheet.outcomes)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`installed(source, …)`: a package on the path that adds a format, as pip leaves it."""

    def install(source: str, name: str = "loud", package: str = "touchstone-loud", value: str = "") -> None:
        folder = tmp_path / package
        module = package.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)
        metadata = folder / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[touchstone.reports]\n{name} = {value or module}\n")
        monkeypatch.syspath_prepend(str(folder))

    return install


def test_an_installed_package_adds_a_format(installed, tmp_path: Path) -> None:
    installed(LOUD)
    assert formats.known("csv,loud") == ("csv", "loud")
    assert "loud" in formats.names()
    paths = formats.write(a_report(an_outcome()), ["loud", "csv"], tmp_path / "out")
    assert [path.name for path in paths] == ["loud.txt", "results.csv"]
    assert paths[0].read_text(encoding="utf-8") == "MINILM/INT8/CPU/B1-S128"


def test_an_object_of_a_module_may_be_a_format_and_give_bytes(installed, tmp_path: Path) -> None:
    source = """
class Raw:
    NAME, FILE = "raw", "raw.bin"
    def render(self, report):
        return bytes([0, 255])
RAW = Raw()
"""
    installed(source, "raw", value="touchstone_loud:RAW")
    (path,) = formats.write(a_report(an_outcome()), ["raw"], tmp_path / "out")
    assert path.read_bytes() == b"\x00\xff"


def test_the_command_line_knows_the_format_of_an_installed_package(installed, tmp_path: Path) -> None:
    installed(LOUD)
    record = a_run((a_cell(),))
    store.create(tmp_path / "run", record)
    script = "from bench.cli.app import main; main()"
    command = [sys.executable, "-c", script, "report", str(tmp_path / "run"), "--format", "loud"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "touchstone-loud")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "loud.txt").read_text(encoding="utf-8") == "MINILM/INT8/CPU/B1-S128"


def test_a_package_is_not_imported_before_its_format_is_asked_for(installed, tmp_path: Path) -> None:
    installed("raise RuntimeError('imported')")
    assert formats.known("csv,loud") == ("csv", "loud")
    assert formats.write(a_report(an_outcome()), ["csv"], tmp_path / "out")
    with pytest.raises(UsageError) as error:
        formats.load("loud")
    assert str(error.value) == (
        "the entry point 'loud = touchstone_loud' of the package touchstone-loud cannot be loaded: "
        "RuntimeError: imported; repair or uninstall touchstone-loud"
    )


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("FILE = 'a.txt'\ndef render(report): return ''", "it has no NAME"),
        (LOUD.replace('"loud"', '"quiet"'), "its NAME is 'quiet'"),
        (LOUD.replace("def render", "def draw"), "it has no render"),
        (LOUD.replace("loud.txt", "../loud.txt"), "its FILE is '../loud.txt'"),
        (LOUD.replace("loud.txt", "results.jsonl"), "its FILE is 'results.jsonl'"),
    ],
)
def test_what_does_not_meet_the_contract_is_refused_by_name(installed, source: str, fault: str) -> None:
    installed(source)
    with pytest.raises(UsageError) as error:
        formats.load("loud")
    assert f"of the package touchstone-loud is no report format: {fault}" in str(error.value)


def test_a_format_that_fails_does_not_keep_the_others_from_being_written(installed, tmp_path: Path) -> None:
    installed(LOUD.replace("return", "raise ValueError('no ink') or"))
    with pytest.raises(UsageError, match="of the package touchstone-loud failed: ValueError: no ink"):
        formats.write(a_report(an_outcome()), ["loud", "csv"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.csv"]


def test_two_packages_with_one_name_are_both_named(installed) -> None:
    installed(LOUD)
    installed(LOUD, package="touchstone-louder")
    with pytest.raises(UsageError, match=r"touchstone-louder and touchstone-loud both have a report format 'loud'"):
        formats.known("loud")


def test_a_package_cannot_take_the_place_of_a_format_of_this_one(installed) -> None:
    installed(LOUD.replace('"loud"', '"csv"'), "csv")
    assert formats.load("csv").FILE == "results.csv"
