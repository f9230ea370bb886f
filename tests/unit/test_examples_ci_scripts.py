"""The scripts for CI, run by a real shell against a `bench` that ends as it is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli.app import build
from bench.report.formats import known

CI = Path(__file__).parents[2] / "examples" / "ci"
STAND_IN = """#!/bin/sh
# Writes down how it was called, leaves a report, and ends as it is told.
printf '%s\\n' "$@" -- >> "$CALLS"
[ "$1" = report ] || exit "$CODE"
mkdir -p "$4"
echo '<html>' > "$4/report.html"
exit "${REPORT_CODE:-0}"
"""


class Shop:
    """A folder of a CI job with a `bench` on its PATH that ends as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        (folder / "bin").mkdir()
        (folder / "bin" / "bench").write_text(STAND_IN, encoding="utf-8")
        (folder / "bin" / "bench").chmod(0o755)
        (folder / "baseline").mkdir()
        (folder / "baseline" / "run.json").write_text("{}", encoding="utf-8")

    def run(self, script: str, *arguments: str, code: int = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        said = {name: str(value) for name, value in settings.items()}
        env = {"PATH": path, "CALLS": str(self.calls), "CODE": str(code), **said}
        command = ("sh", CI / script, *arguments)
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, cwd=self.folder, env=env
        )

    def called(self) -> list[list[str]]:
        if not self.calls.exists():
            return []
        text = self.calls.read_text(encoding="utf-8")
        return [call.splitlines() for call in text.split("--\n")[:-1]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    if shutil.which("sh") is None:
        pytest.skip("not on this system: there is no sh")
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("code", "settings", "exits", "says"),
    [
        (0, {}, 0, "nothing got slower and nothing lost support"),
        (1, {}, 1, "a confirmed regression, or a cell that lost support: gate/gate.md names it"),
        (1, {"PASS_IF_INCONCLUSIVE": "true", "PASS_IF_NOTHING_JUDGED": "true"}, 1, "a confirmed regression"),
        (2, {}, 2, "The command or the matrix is wrong"),
        (3, {}, 3, "Inconclusive, which is no pass"),
        (3, {"PASS_IF_INCONCLUSIVE": "true"}, 0, "Inconclusive, which is no pass"),
        (3, {"PASS_IF_NOTHING_JUDGED": "true"}, 3, "Inconclusive, which is no pass"),
        (4, {}, 4, "Nothing was judged"),
        (4, {"PASS_IF_NOTHING_JUDGED": "true"}, 0, "Nothing was judged"),
        (130, {}, 130, "Interrupted"),
        (137, {"PASS_IF_NOTHING_JUDGED": "true"}, 137, "bench ended with 137, which is no answer of a gate"),
    ],
)
def test_the_gate_script_ends_as_it_says(
    shop: Shop, code: int, settings: dict[str, str], exits: int, says: str
) -> None:
    done = shop.run("gate.sh", code=code, **settings)
    assert (done.returncode, done.stderr) == (exits, "")
    assert done.stdout.startswith(f"touchstone: {says}")
    assert len(done.stdout.splitlines()) == 1


def test_the_gate_script_passes_its_settings_and_what_follows_on(shop: Shop) -> None:
    shop.run("gate.sh", "--only", "minilm/* x", MATRIX="my matrix.toml", BUDGET_MINUTES=7)
    said = ["--matrix", "my matrix.toml", "--budget-minutes", "7", "--out", "gate", "--only", "minilm/* x"]
    assert shop.called() == [["gate", "--baseline", "baseline", *said]]


@pytest.mark.parametrize(("setting", "flags"), [("true", ["--trust-baseline"]), ("false", [])])
def test_the_gate_script_trusts_a_baseline_only_where_it_is_told_to(shop: Shop, setting: str, flags: list[str]) -> None:
    shop.run("gate.sh", "--skip", "x", TRUST_BASELINE=setting)
    assert shop.called()[0][-2 - len(flags) :] == [*flags, "--skip", "x"]


@pytest.mark.parametrize(("setting", "exits"), [("false", 4), ("true", 0)])
def test_without_a_baseline_the_gate_script_says_so_and_runs_nothing(shop: Shop, setting: str, exits: int) -> None:
    done = shop.run("gate.sh", BASELINE="elsewhere", PASS_IF_NOTHING_JUDGED=setting)
    assert done.returncode == exits
    assert "There is no baseline in elsewhere yet" in done.stdout
    assert shop.called() == []


@pytest.mark.parametrize("name", ["PASS_IF_INCONCLUSIVE", "PASS_IF_NOTHING_JUDGED", "TRUST_BASELINE"])
def test_a_setting_that_means_nothing_is_no_pass(shop: Shop, name: str) -> None:
    done = shop.run("gate.sh", **{name: "warn"})
    assert done.returncode == 2
    assert "true or false, not 'warn'" in done.stdout
    assert shop.called() == []


@pytest.mark.parametrize(
    ("code", "setting", "begins"),
    [(3, "true", "::warning title="), (3, "false", "::error title="), (2, "true", "::error")],
)
def test_on_github_the_gate_script_is_loud(shop: Shop, code: int, setting: str, begins: str) -> None:
    done = shop.run("gate.sh", code=code, GITHUB_ACTIONS="true", PASS_IF_INCONCLUSIVE=setting)
    assert done.stdout.startswith(begins)
    assert "--github" in shop.called()[0]


def test_the_publish_script_leaves_a_site(shop: Shop) -> None:
    done = shop.run("publish.sh", "--budget", "standard")
    assert done.returncode == 0, done.stdout
    assert shop.called() == [
        ["run", "--matrix", "matrix.toml", "--out", "run", "--budget", "standard"],
        ["report", "run", "--out", "site", "--format", "html,csv,markdown,pytest-benchmark"],
    ]
    assert (shop.folder / "site" / "index.html").read_text(encoding="utf-8") == "<html>\n"


@pytest.mark.parametrize(
    ("code", "says"),
    [(2, "is wrong"), (4, "the last baseline stays"), (130, "Interrupted"), (9, "bench ended with 9")],
)
def test_the_publish_script_publishes_nothing_after_a_run_that_failed(shop: Shop, code: int, says: str) -> None:
    done = shop.run("publish.sh", code=code)
    assert done.returncode == code
    assert says in done.stdout
    assert [call[0] for call in shop.called()] == ["run"]
    assert not (shop.folder / "site").exists()


def test_the_publish_script_ends_with_the_code_of_a_report_that_failed(shop: Shop) -> None:
    done = shop.run("publish.sh", REPORT_CODE=2)
    assert done.returncode == 2
    assert not (shop.folder / "site" / "index.html").exists()


# --- the key of a cache -----------------------------------------------------------------------------------------------

RUN = {
    "bench_version": "0.1.0",
    "code": "c0de",
    "matrix_text": "[models]",
    "runtimes": {"build": {"python": "3.12.1", "packages": {"torch": "2.13.0"}, "key": "k"}},
    "artifacts": {"minilm/fp32": "a1"},
    "created": "2026-11-27",
    "name": "run-1",
}


def cache_key(folder: Path, **changes: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(RUN | changes), encoding="utf-8")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ("sh", CI / "cache-key.sh", folder), check=True, capture_output=True, text=True, timeout=60, env={"PATH": tools}
    )
    return done.stdout.strip()


def test_the_key_of_a_cache_is_that_of_versions_and_artifacts_and_not_of_the_time(shop: Shop) -> None:
    first = cache_key(shop.folder / "a")
    assert len(first) == 16
    assert cache_key(shop.folder / "b", created="2026-11-28", name="run-2") == first
    torch = {"build": {"python": "3.12.1", "packages": {"torch": "2.14.0"}, "key": "k"}}
    others = [
        cache_key(shop.folder / "c", **change)
        for change in (
            {"bench_version": "0.2.0"},
            {"matrix_text": "[models.x]"},
            {"artifacts": {"minilm/fp32": "a2"}},
            {"runtimes": torch},
        )
    ]
    assert len({first, *others}) == 5


def test_a_folder_without_a_run_has_no_key(shop: Shop) -> None:
    done = subprocess.run(
        ("sh", CI / "cache-key.sh", shop.folder), check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no run in" in done.stderr


# --- what they call is there ------------------------------------------------------------------------------------------


def flags(verb: str) -> set[str]:
    """The long options that a verb takes."""
    command = typer.main.get_command(build()).commands[verb]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def test_every_flag_that_the_scripts_give_is_one_that_bench_takes(shop: Shop) -> None:
    shop.run("gate.sh", GITHUB_ACTIONS="true")
    shop.run("publish.sh", "--budget", "standard")
    assert [call[0] for call in shop.called()] == ["gate", "run", "report"]
    for verb, *words in shop.called():
        assert {word for word in words if word.startswith("--")} <= flags(verb), verb


def test_every_format_that_the_scripts_ask_for_is_known(shop: Shop) -> None:
    shop.run("publish.sh")
    assert known(shop.called()[-1][-1])
