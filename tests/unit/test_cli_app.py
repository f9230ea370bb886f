"""The command line as a whole: it finds its verbs, helps who asks for nothing, and can be quiet."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app, options

FOLDER = Path(app.__file__).parent
VERBS = ["init", "plan", "run", "report", "doctor", "ops", "compare", "history", "gate", "cache"]
NO_VERB = {"__init__", "app", "options", "tables"}


def commands(application: typer.Typer) -> dict[str, Any]:
    return getattr(typer.main.get_command(application), "commands")  # noqa: B009 - of a group alone


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)


def test_every_file_of_the_folder_is_a_verb_of_its_own_name_in_a_fixed_order():
    assert list(commands(app.app)) == VERBS
    assert {path.stem for path in FOLDER.glob("*.py")} - NO_VERB == set(VERBS)


def test_a_new_verb_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "hello.py").write_text(
        "ORDER = 15\ndef hello():\n    print('hello')\ndef add_to(app):\n    app.command()(hello)\n", encoding="utf-8"
    )
    find = app.pkgutil.iter_modules
    monkeypatch.setattr(app.pkgutil, "iter_modules", lambda paths: find([*paths, str(tmp_path)]))
    monkeypatch.setattr(importlib.import_module("bench.cli"), "__path__", [str(FOLDER), str(tmp_path)])
    monkeypatch.delitem(sys.modules, "bench.cli.hello", raising=False)
    assert list(commands(app.build()))[:4] == ["init", "plan", "hello", "run"]


@pytest.mark.parametrize("arguments", [(), ("cache",)])
def test_without_a_verb_the_help_is_printed_and_the_exit_code_is_2(tmp_path, arguments):
    done = bench(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.lstrip().startswith("Usage: ")
    assert "Commands" in done.stdout


@pytest.mark.parametrize("verb", ["run", "doctor", "ops", "history", "gate"])
def test_a_verb_that_shows_progress_can_be_quiet(verb):
    parameters = commands(app.app)[verb].params
    assert any("--quiet" in parameter.opts for parameter in parameters)


def test_quiet_work_prints_nothing(capsys):
    def work(progress) -> int:
        progress.step("a step")
        return 3

    assert options.with_progress(work, quiet=True) == 3
    assert capsys.readouterr().err == ""
    assert options.with_progress(work) == 3
    assert "a step" in capsys.readouterr().err
