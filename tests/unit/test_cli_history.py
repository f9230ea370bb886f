"""`bench history` as a process: a page, a table, and one line for each run that cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stored_runs import FP32, INT8, a_stored_run, observed, write

RUNS = 12


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve runs in which INT8 became slower on the eighth day, and what else lies about in such a folder."""
    root = tmp_path_factory.mktemp("reports")
    for day in range(RUNS):
        run = a_stored_run(day)
        write(root / f"r{day:02}", run, observed(run, day, slower={INT8: 1.2} if day >= 7 else {}))
    (root / "notes").mkdir()
    (root / "README.md").write_text("runs", encoding="utf-8")
    for name, text in (("older", '{"schema": 0}'), ("torn", '{"sche')):
        (root / name).mkdir()
        (root / name / "run.json").write_text(text, encoding="utf-8")
    undated = a_stored_run(0, created="once upon a time")
    write(root / "undated", undated, observed(undated))
    return root


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_folder_of_runs_becomes_a_page_and_a_table(reports, tmp_path):
    done = bench(reports.parent, "history", reports.name, "--out", str(tmp_path))
    assert done.returncode == 0
    assert "12 runs of 1 machine, 2026-11-01 to 2026-11-12" in done.stdout
    assert f"{INT8}: 2026-11-08 (vm-007)" in done.stdout
    assert "advisory" in done.stdout
    assert (tmp_path / "history.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (tmp_path / "history.csv").read_text(encoding="utf-8").startswith("cell,figure,run,")


def test_what_cannot_be_read_is_left_out_with_a_line_each_and_no_path_of_this_machine(reports, tmp_path):
    done = bench(reports.parent, "history", str(reports), "--out", str(tmp_path))
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("left out: ")]
    assert [line.split()[0] for line in lines] == ["older/run.json", "torn/run.json", "undated/run.json"]
    assert str(reports) not in (tmp_path / "history.html").read_text(encoding="utf-8")


def test_without_out_the_files_lie_in_the_folder(tmp_path):
    run = a_stored_run(0)
    write(tmp_path / "reports" / "one", run, observed(run))
    assert bench(tmp_path, "history", "reports").returncode == 0
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"one", "history.html", "history.csv"}


def test_json_is_for_programs(reports, tmp_path):
    arguments = ("history", str(reports), "--out", str(tmp_path), "--json", "--only", "*/cpu/*")
    found = json.loads(bench(reports, *arguments).stdout)
    assert list(found) == ["runs", "series", "left_out", "notes"]
    assert len(found["runs"]) == RUNS
    assert [series["cell"] for series in found["series"]] == [FP32, INT8]
    (step,) = found["series"][1]["change_points"]
    assert (step["run"], step["of"]) == (7, "ratio")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 2, "nowhere cannot be read: No such file or directory; name a folder of runs, as reports/"),
        (["notes"], 4, "notes holds no run that can be read; name the folder that holds runs"),
        (["r00"], 2, "r00 is one run, and a history takes several; name the folder that holds it: ."),
        ([".", "--only", "minlm/*"], 2, "--only 'minlm/*' matches no cell; "),
        ([], 2, "Missing argument 'FOLDER'"),
    ],
)
def test_a_mistake_is_one_sentence(reports, arguments, code, said):
    done = bench(reports, "history", *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]
    assert line.startswith(f"bench: {said}")


def test_a_folder_of_nothing_but_damaged_runs_says_why(tmp_path):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{", encoding="utf-8")
    done = bench(tmp_path, "history", ".")
    assert done.returncode == 4
    assert ". holds no run that can be read; torn/run.json is not JSON of a run" in done.stderr
