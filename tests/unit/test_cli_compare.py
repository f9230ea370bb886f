"""`bench compare` as a process: two runs in a table, in Markdown and in JSON; a mistake is one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders import a_cell, a_machine
from msgspec.structs import replace
from stored_runs import CELLS, FP32, INT8, a_stored_run, failing, observed, write

HOSTILE = "<img src=x onerror=alert(1)> | [red]boo[/] \x1b[31m @someone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some runs: two of one machine, one of another, one with nothing in common, one of another schema."""
    root = tmp_path_factory.mktemp("reports")
    base, new = a_stored_run(0), a_stored_run(1, bench_version="0.2.0")
    write(root / "base", base, observed(base, 1))
    write(root / "new", new, observed(new, 2, slower={FP32: 1.5}))
    write(root / "elsewhere", replace(new, machine=a_machine(key="feedfacef00d")), observed(new, 2))
    other = a_stored_run(1, cells=(a_cell("vit/fp32/cpu/b1"),))
    write(root / "other", other, observed(other))
    hostile = a_stored_run(2, name=HOSTILE, bench_version=HOSTILE)
    write(root / "hostile", hostile, failing(hostile, INT8, message=HOSTILE))
    (root / "older").mkdir()
    (root / "older" / "run.json").write_text('{"schema": 0}', encoding="utf-8")
    return root


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_two_runs_are_compared_and_the_exit_code_is_none_of_the_answer(folder):
    done = bench(folder, "compare", "base", "new")
    assert done.returncode == 0
    assert "1 slower" in done.stdout
    assert "touchstone-bench 0.1 -> 0.2.0" in done.stdout
    assert "cannot be distinguished from drift" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith(FP32))
    assert "+49.9 %" in row
    assert row.rstrip().endswith("slower against control")


def test_two_machines_are_shown_and_no_time_is_compared(folder):
    done = bench(folder, "compare", "base", "elsewhere")
    assert done.returncode == 0
    assert "The runs are of two machines" in done.stdout
    assert "another machine (key 0123456789ab -> feedfacef00d)" in done.stdout


def test_json_is_for_programs(folder):
    found = json.loads(bench(folder, "compare", "base", "new", "--json", "--only", "*/cpu/*").stdout)
    assert list(found) == ["base", "new", "same_machine", "differences", "conclusions", "cells"]
    assert found["base"]["name"] == "vm-000"
    assert [cell["cell"] for cell in found["cells"]] == [FP32, INT8]
    (figure,) = found["cells"][0]["figures"]
    assert figure["verdict"] == "slower"
    assert figure["change"]["low"] < 0.5 < figure["change"]["high"]
    assert set(figure) == {
        *("name", "base_ms", "new_ms", "change", "base_ratio", "new_ratio", "ratio_change"),
        *("verdict", "rests_on", "conclusion"),
    }


@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_a_file_is_written_as_its_name_ends(folder, tmp_path, suffix):
    path = tmp_path / f"comparison{suffix}"
    assert bench(folder, "compare", "base", "new", "--out", str(path)).returncode == 0
    text = path.read_text(encoding="utf-8")
    assert json.loads(text)["cells"] if suffix == ".json" else text.startswith("## Touchstone")


def test_what_another_machine_says_is_escaped_everywhere(folder, tmp_path):
    path = tmp_path / "comparison.md"
    done = bench(folder, "compare", "base", "hostile", "--out", str(path))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "[red]boo[/]" in done.stdout, "markup is shown, and colours nothing"
    text = path.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "\x1b" not in text
    assert "| [red]" not in text, "a bar in a foreign text would end the cell of its table"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["base", "nowhere"], 2, "nowhere holds no run: there is no run.json; name a folder under reports/"),
        (["older", "new"], 2, "older/run.json has schema 0, and this version reads schema 2; "),
        (["base"], 2, "Missing argument 'NEW'"),
        (["base", "new", "--only", "minilm/int7/*"], 2, "--only 'minilm/int7/*' matches no cell; "),
        (["base", "new", "--out", "x.pdf"], 2, "--out x.pdf is neither Markdown nor JSON; end it with .md or .json"),
        (["base", "other"], 4, "base and other have no common cell that both planned to measure; "),
    ],
)
def test_a_mistake_is_one_sentence(folder, arguments, code, said):
    done = bench(folder, "compare", *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: {said}")


def test_cells_without_a_speed_that_are_as_they_were_are_only_counted(folder, tmp_path):
    run = a_stored_run(0)
    paths = [write(tmp_path / name, run, failing(run, INT8)) for name in ("a", "b")]
    out = bench(folder, "compare", *map(str, paths)).stdout
    assert "1 cell without a speed kept the verdict: 1 failed" in out
    assert not [line for line in out.splitlines() if line.startswith(INT8)]


def test_a_cell_that_a_rule_leaves_out_of_both_is_in_neither_count(folder, tmp_path):
    run = a_stored_run(0, cells=(*CELLS[:3], replace(CELLS[3], excluded="too slow", emulated=False)))
    paths = [write(tmp_path / name, run, observed(run)) for name in ("a", "b")]
    found = json.loads(bench(folder, "compare", *map(str, paths), "--json").stdout)
    assert len(found["cells"]) == 3
