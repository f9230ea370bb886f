"""The command line as a whole: it finds its verbs, helps who asks for nothing, and can be quiet."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from bench import pipeline
from bench.cli import app, options
from bench.errors import BenchError
from bench.prepare.quiet_machine import MOST_WAIT_MINUTES

FOLDER = Path(app.__file__).parent
VERBS = ["init", "plan", "run", "report", "doctor", "ops", "compare", "history", "gate", "cache"]
NO_VERB = {"__init__", "app", "crash", "interrupts", "options", "result_rows", "streams", "tables"}


def commands(application: typer.Typer) -> dict[str, Any]:
    return getattr(typer.main.get_command(application), "commands")  # noqa: B009 - of a group alone


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)


def test_every_file_of_the_folder_is_a_verb_of_its_own_name_in_a_fixed_order():
    assert list(commands(app.build())) == VERBS
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
    parameters = commands(app.build())[verb].params
    assert any("--quiet" in parameter.opts for parameter in parameters)


def test_quiet_work_prints_nothing(capsys):
    def work(progress) -> int:
        progress.step("a step")
        return 3

    assert options.with_progress(work, quiet=True) == 3
    assert capsys.readouterr().err == ""
    assert options.with_progress(work) == 3
    assert "a step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "minutes"),
    [
        ((), None),
        (("--wait",), MOST_WAIT_MINUTES),
        (("--wait-minutes", "2.5"), 2.5),
        (("--wait", "--wait-minutes", "90"), 90.0),
    ],
)
def test_a_run_waits_as_long_as_it_is_told_or_for_half_an_hour(monkeypatch, flags, minutes):
    seen = []

    def run(given: pipeline.Options, _progress: object) -> None:
        seen.append(given.wait_minutes)
        raise BenchError("enough seen")

    monkeypatch.setattr(pipeline, "run", run)
    with pytest.raises(BenchError, match="enough seen"):
        app.build("run")(args=["run", *flags], standalone_mode=False)
    assert seen == [minutes]


def test_every_summary_in_the_help_is_whole(tmp_path):
    for arguments in (["--help"], ["cache", "--help"]):
        _, heading, summaries = bench(tmp_path, *arguments).stdout.partition("Commands:")
        assert heading
        assert "..." not in summaries


@pytest.mark.parametrize("verb", VERBS)
def test_the_verb_that_is_asked_for_is_the_only_one_that_is_loaded(verb):
    assert list(commands(app.build(verb))) == [verb]


@pytest.mark.parametrize("word", ["plann", "tables", "--help", "app"])
def test_for_every_other_word_all_verbs_are_loaded(word):
    assert list(commands(app.build(word))) == VERBS


def test_h_is_help_for_every_verb(tmp_path):
    for arguments in (["-h"], ["plan", "-h"], ["cache", "list", "-h"]):
        done = bench(tmp_path, *arguments)
        assert (done.returncode, done.stdout.lstrip()[:6]) == (0, "Usage:"), arguments


@pytest.mark.parametrize("verb", ["run", "doctor", "ops", "gate"])
def test_a_verb_that_prepares_something_can_be_verbose(verb):
    parameters = commands(app.build())[verb].params
    assert any({"--verbose", "-v"} == set(parameter.opts) for parameter in parameters)


def test_verbose_work_prints_its_details(capsys):
    def work(progress) -> None:
        progress.detail("a detail")
        progress.work("runtime ort", "downloading")

    options.with_progress(work, verbose=True)
    err = capsys.readouterr().err
    assert "a detail" in err
    assert "downloading" in err


# --- completion -------------------------------------------------------------------------------------------------------

SMALL = """
schema = 1
[models.minilm]
family = "text-encoder"
source = "config:vit-tiny"
workloads = [{ batch = 1, sequence = 8 }]
[precisions.fp32]
text-encoder = "fp32"
[providers.cpu]
[baselines.torch-eager]
engine = "torch"
mode = "eager"
"""


def completions(folder: Path, words: str) -> list[str]:
    """What bash offers for the last word of a command line."""
    environment = {**os.environ, "_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - (0 if words.endswith(" ") else 1))
    command = [sys.executable, "-m", "bench"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_verbs_and_the_globs_of_models_and_targets(tmp_path):
    (tmp_path / "matrix.toml").write_text(SMALL, encoding="utf-8")
    assert completions(tmp_path, "bench re") == ["report"]
    assert completions(tmp_path, "bench run --only m") == ["minilm/*"]
    assert completions(tmp_path, "bench plan --only ") == ["minilm/*", "*/cpu/*", "*/torch-eager/*"]


def test_a_matrix_with_a_mistake_completes_nothing(tmp_path):
    (tmp_path / "matrix.toml").write_text("[models", encoding="utf-8")
    assert completions(tmp_path, "bench run --only m") == []
