"""The real command with `--sustained`: what it leaves, and that a run killed amid it goes on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Bench

pytestmark = pytest.mark.end_to_end

Matrix = Callable[..., Path]
THREE_SECONDS = "0.05"


def lines(folder: Path) -> list[dict]:
    """Every observation."""
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def sustained(folder: Path) -> list[dict]:
    """What was seen of the minutes."""
    return [line["sustained"] for line in lines(folder) if line["sustained"]]


def test_a_cell_is_run_on_end_after_its_rounds_and_shown_in_every_format(bench: Bench, matrix: Matrix, tmp_path: Path):
    out = tmp_path / "run"
    formats = ("--format", "html,csv,markdown,json")
    done = bench("run", "--matrix", matrix(), "--out", out, "--sustained", THREE_SECONDS, *formats)
    assert done.returncode == 0, done.stderr
    assert [bool(line["sustained"]) for line in lines(out)] == [False, False, False, True]
    (told,) = sustained(out)
    assert told["minute"]["seconds"] >= 3.0
    assert len(told["minute"]["samples_ns"]) <= 200 < told["minute"]["calls"]
    (row,) = csv.DictReader((out / "results.csv").open(encoding="utf-8"))
    assert (row["rounds"], row["status"]) == ("3", "ok")
    assert float(row["sustained_ms"]) > 0
    assert float(row["sustained_ratio_low"]) <= float(row["sustained_ratio"]) <= float(row["sustained_ratio_high"])
    assert '<section id="sustained">' in (out / "report.html").read_text("utf-8")
    assert "### Sustained" in (out / "summary.md").read_text("utf-8")
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert run["sustained_minutes"] == 0.05
    assert run["command"].endswith("--sustained 0.05")


def test_a_run_that_was_killed_amid_the_minutes_makes_them_anew_and_no_round(
    bench: Bench, matrix: Matrix, environment: dict[str, str], tmp_path: Path
):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "bench", "run", "--matrix", matrix(), "--out", out, "--sustained", THREE_SECONDS]
    process = subprocess.Popen(
        list(map(str, command)), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 240
    while len(lines(out)) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)
    assert not sustained(out)
    done = bench("run", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert [line["round"] for line in lines(out)] == [1, 2, 3, 0]
    assert len(sustained(out)) == 1
    assert bench("run", "--resume", out).returncode == 0
    assert len(lines(out)) == 4, "and then nothing is left to do"
