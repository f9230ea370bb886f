"""uv installs where it can do the same as pip, by pip's own settings; else pip does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_runtimes import ORT, a_package

from bench.declare.matrix import Runtime
from bench.errors import RuntimeSetupError
from bench.prepare import installers, interpreters
from bench.prepare.environments import ensure
from bench.prepare.installers import parse_settings, uv_settings
from bench.progress import Quiet

EXECUTABLE = Path("somewhere/bin/python")


@pytest.fixture
def uv(monkeypatch):
    monkeypatch.setattr(installers, "_uv", lambda: "/programs/uv")
    monkeypatch.setattr(installers, "pip_settings", dict)


def names(**settings: object) -> list[str]:
    return [way.name for way in installers.ways(EXECUTABLE, ["numpy"], extends=False, **settings)]


def test_uv_comes_before_pip_and_pip_is_left_where_uv_fails(uv):
    first, last = installers.ways(EXECUTABLE, ["numpy==2.4.6"], extends=False)
    assert (first.name, last.name) == ("uv", "pip")
    assert first.command[:3] == ("/programs/uv", "pip", "install")
    for way in (first, last):
        assert way.command[-1] == "numpy==2.4.6"
        assert str(EXECUTABLE) in way.command


def test_without_uv_pip_installs(monkeypatch):
    monkeypatch.setattr(installers, "_uv", lambda: None)
    assert names() == ["pip"]


def test_what_extends_another_runtime_is_installed_by_pip_which_sees_the_packages_of_the_base(uv):
    assert [way.name for way in installers.ways(EXECUTABLE, ["optimum"], extends=True)] == ["pip"]


def test_a_setting_of_pip_that_uv_does_not_know_leaves_it_to_pip(uv, monkeypatch):
    monkeypatch.setattr(installers, "pip_settings", lambda: {"client-cert": "mine.pem"})
    assert names() == ["pip"]
    monkeypatch.setattr(installers, "pip_settings", lambda: {"timeout": "180"})
    assert names() == ["uv", "pip"]


def test_a_variable_counts_more_than_a_file_and_install_more_than_global():
    text = """:env:.find-links='/wheels'
global.find-links='/others'
global.index-url='https://mirror/simple'
install.index-url='https://nearer/simple'
global.extra-index-url='\\nhttps://a/simple\\nhttps://b/simple'
what is no setting
"""
    assert parse_settings(text) == {
        "find-links": "/wheels",
        "index-url": "https://nearer/simple",
        "extra-index-url": "\nhttps://a/simple\nhttps://b/simple",
    }


def test_uv_hears_of_the_same_indexes_folders_and_constraints(monkeypatch):
    monkeypatch.setenv("UV_CONSTRAINT", "mine.txt")
    settings = {
        "index-url": "https://mirror/simple",
        "extra-index-url": "\nhttps://a/simple\nhttps://b/simple",
        "find-links": "/wheels /more",
        "no-index": "1",
        "constraint": "theirs.txt",
        "default-timeout": "180",
    }
    assert uv_settings(settings) == {
        "UV_DEFAULT_INDEX": "https://mirror/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_NO_INDEX": "1",
    }


class Spoken(Quiet):
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def test_where_uv_fails_pip_installs_and_that_is_told(tmp_path, uv, monkeypatch):
    monkeypatch.setattr(interpreters, "INSTALLED", ())
    real = installers.run

    def command(words: list[str], *rest: object) -> None:
        if words[0] == "/programs/uv":
            raise RuntimeSetupError("runtime 'hay' could not be installed: no solution", "")
        real(words, *rest)

    monkeypatch.setattr(installers, "run", command)
    progress = Spoken()
    made = ensure(Runtime("hay", (a_package(tmp_path, "straw", "1.0"),)), tmp_path / "cache", progress)
    assert made.record.packages == {"straw": "1.0"}
    assert "uv: runtime 'hay' could not be installed: no solution; pip tries it" in progress.steps
    # Its packages are compiled, since a worker writes no bytecode.
    assert list(made.executable.parents[1].rglob("straw.*.pyc"))


def test_the_tests_of_packages_are_not_compiled_and_a_folder_above_them_may_be_named_tests(tmp_path):
    packages = tmp_path / "tests" / "site-packages"
    for name in ("straw", "straw/tests", "test"):
        (packages / name).mkdir(parents=True, exist_ok=True)
        (packages / name / "code.py").write_text("", encoding="utf-8")
    subprocess.run(installers.compile_command(Path(sys.executable), packages), check=True)
    compiled = [path.parents[1].name for path in packages.rglob("code.*.pyc")]
    assert compiled == ["straw"]


def test_a_wheel_that_is_missing_in_a_folder_without_an_index_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(installers, "_uv", lambda: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RuntimeSetupError, match=r"No matching distribution found for onnxruntime==1\.31\.1"):
        ensure(ORT, tmp_path / "cache", Quiet())
