"""The real gate: a run against itself, a slowdown, lost support, and baselines that nothing can be judged against.

Timings of a shared machine are noisy, so a gate may say that it cannot tell (3); what it may never do is call the same
code slower, or pass a slowdown that is far beyond any noise.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.declare.budgets import TURNS
from tests.end_to_end.conftest import CPU, ENGINES, Bench
from tests.end_to_end.test_faults import wait_for_lines

pytestmark = pytest.mark.end_to_end

Matrix = Callable[..., Path]
CELL = "tiny/fp32/cpu/b1"
BRIEFLY = ("--budget-minutes", "2")
"""For verdicts that no time decides: beside another test every pair is disturbed, and would be made again."""


def slowed(slowdown: float) -> str:
    """ONNX Runtime with a busy wait inside every call."""
    return f'[baselines.cpu]\nengine = "slowed"\nruntime = "ort"\noptions = {{ slowdown = {slowdown} }}\n'


@pytest.fixture
def a_base(recorded_run: Path, tmp_path: Path) -> Path:
    """A copy of the recorded run of the CPU provider, with its matrix beside it."""
    shutil.copy(recorded_run / "matrix.toml", tmp_path)
    return Path(shutil.copytree(recorded_run / "run", tmp_path / "base"))


@pytest.fixture
def baseline(bench: Bench, matrix: Matrix, tmp_path: Path) -> Callable[..., Path]:
    """Record a baseline of other cells; its folder."""

    def record(targets: str = CPU, **said: str) -> Path:
        path = matrix(targets=targets, **said)
        done = bench("run", "--matrix", path, "--out", tmp_path / "base", "--format", "csv", BENCH_ENGINES=str(ENGINES))
        assert done.returncode == 0, done.stderr
        return tmp_path / "base"

    return record


@pytest.fixture
def gate(bench: Bench, tmp_path: Path):
    """`gate(base, …)`: the real command into `tmp_path/gate`; what it printed, and its record if it left one."""

    def run(base: Path, *arguments: object, out: str = "gate", **more: str):
        folder = tmp_path / out
        done = bench("gate", "--baseline", base, "--out", folder, *arguments, BENCH_ENGINES=str(ENGINES), **more)
        assert "Traceback" not in done.stderr, done.stderr
        file = folder / "gate.json"
        return done, json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    return run


def last_line(done) -> str:
    return done.stderr.strip().splitlines()[-1]


def cells(record) -> dict[str, dict]:
    return {cell["cell"]: cell for cell in record["cells"]}


# --- the same, and slower ------------------------------------------------------------------------------------------


def test_a_run_against_itself_is_never_slower_and_every_file_is_there(a_base, gate, bench, tmp_path):
    summary = tmp_path / "summary.md"
    done, record = gate(
        a_base, "--matrix", tmp_path / "matrix.toml", "--github", *BRIEFLY, GITHUB_STEP_SUMMARY=str(summary)
    )
    assert done.returncode in (0, 3), done.stdout
    assert record["exit_code"] == done.returncode
    assert cells(record)[CELL]["verdict"] in ("pass", "inconclusive")
    assert record["differences"] == []
    assert record["null"]["pairs"] > 0
    pairs = [json.loads(line) for line in (tmp_path / "gate" / "pairs.jsonl").read_text().splitlines()]
    assert {pair["kind"] for pair in pairs} >= {"screen", "null"}
    assert all(len(pair["base_ms"]) == len(pair["new_ms"]) == TURNS for pair in pairs)
    assert ElementTree.parse(tmp_path / "gate" / "gate.xml").getroot().tag in ("testsuites", "testsuite")
    assert CELL in (tmp_path / "gate" / "gate.md").read_text(encoding="utf-8")
    assert CELL in summary.read_text(encoding="utf-8")
    assert "::notice" in done.stderr
    assert CELL in done.stdout
    for side in ("base", "new"):  # both sides are runs, and can be reported as such
        assert bench("report", tmp_path / "gate" / side, "--format", "json").returncode == 0
        report = json.loads((tmp_path / "gate" / side / "results.json").read_text(encoding="utf-8"))
        assert [outcome["status"] for outcome in report["runs"][0]["outcomes"]] == ["ok"]


@pytest.mark.alone
def test_a_slowdown_is_found_named_and_ends_with_1(baseline, gate, matrix, tmp_path):
    base = baseline(slowed(0.0))
    new = matrix(targets=slowed(1.0))
    done, record = gate(base, "--matrix", new)
    if done.returncode == 3:  # the machine was too busy for any gate, and said so; once more
        done, record = gate(base, "--matrix", new, out="again")
    assert done.returncode == 1, done.stdout
    found = cells(record)[CELL]
    assert found["verdict"] == "regression"
    assert found["change"]["low"] > 0.3
    assert found["stage"] == "confirm"
    assert found["pairs"] >= 3, "the first look at a suspect"
    assert any("slowdown" in line for line in record["differences"]), record["differences"]
    assert CELL in done.stdout


# --- lost support --------------------------------------------------------------------------------------------------


LOST = {"lies": "inaccurate", "segfaults": "crashed", "refuses": "unsupported"}


def test_a_cell_that_stops_answering_right_ends_with_1_however_fast_it_is(baseline, gate, matrix):
    """Three targets that obeyed when the baseline was recorded."""

    def targets(modes: dict[str, str]) -> str:
        tables = '[baselines.{}]\nengine = "fake"\nmode = "{}"\nruntime = "ort"\n'
        return "".join(tables.format(name, mode) for name, mode in modes.items())

    base = baseline(targets(dict.fromkeys(LOST, "obeys")), fp32='fake = "fp32"')
    done, record = gate(
        base, "--matrix", matrix(targets=targets({mode: mode for mode in LOST}), fp32='fake = "fp32"'), *BRIEFLY
    )
    assert done.returncode == 1, done.stdout
    for mode, status in LOST.items():
        found = cells(record)[f"tiny/fp32/{mode}/b1"]
        assert found["verdict"] == "lost-support"
        assert (found["base_status"], found["new_status"]) == ("ok", status)


@pytest.mark.nightly  # pairs of a GPU in software take minutes
def test_a_cell_that_loses_its_providers_nodes_ends_with_1(baseline, gate, matrix):
    """INT8 has operators that WebGPU has not, and they go to the CPU."""
    webgpu = "[providers.webgpu-software]\n"
    low = '[precisions.low]\nonnx-file = "{}"\n'
    base = baseline(webgpu, more=low.format("fp32"))
    new = matrix(targets=webgpu, more=low.format("dynamic-int8"))
    done, record = gate(base, "--matrix", new, "--only", "tiny/low/*", *BRIEFLY)
    assert done.returncode == 1, done.stdout
    found = cells(record)["tiny/low/webgpu-software/b1"]
    assert found["verdict"] == "lost-support"
    assert (found["base_status"], found["new_status"]) == ("ok", "partial")
    assert "fell back to CPUExecutionProvider" in found["reason"]
    assert any("precision low" in line for line in record["differences"]), record["differences"]


def test_a_cell_that_is_gone_from_the_matrix_ends_with_4(baseline, gate, matrix, tiny_model):
    model = 'family = "onnx-file"\nsource = "onnx:{}"\nworkloads = [{}]\n'
    both = model.format(tiny_model.as_posix(), "{ batch = 1 }, { batch = 2 }")
    base = baseline(model=both)
    done, record = gate(base, "--matrix", matrix(model=model.format(tiny_model.as_posix(), "{ batch = 1 }")))
    assert cells(record)["tiny/fp32/cpu/b2"]["verdict"] == "gone"
    assert done.returncode in (3, 4), done.stdout
    if cells(record)[CELL]["verdict"] == "pass":
        assert done.returncode == 4


# --- a base that cannot be run again --------------------------------------------------------------------------------


def test_a_base_whose_packages_are_gone_is_held_against_its_stored_numbers_and_the_gate_says_so(a_base, gate, tmp_path):
    said = json.loads((a_base / "run.json").read_text(encoding="utf-8"))
    said["runtimes"]["ort"]["packages"] |= {"touchstone-no-such-package": "1.0"}
    (a_base / "run.json").write_text(json.dumps(said), encoding="utf-8")
    # A run that was changed is no longer the user's own: its packages are installed only with trust.
    done, record = gate(a_base, "--matrix", tmp_path / "matrix.toml", "--trust-baseline")
    assert "  installs touchstone-no-such-package==1.0" in done.stderr
    found = cells(record)[CELL]
    assert found["stage"] == "stored"
    assert "touchstone-no-such-package" in found["reason"]
    assert found["verdict"] in ("pass", "warning", "inconclusive") or found["change"]["low"] > 0.1
    assert any("stored numbers" in note for note in record["notes"])
    assert done.returncode in (0, 1, 3)


def test_a_base_whose_model_has_changed_is_made_again_from_the_cache(baseline, gate, tiny_model, tmp_path):
    mine = tmp_path / "mine.onnx"
    shutil.copyfile(tiny_model, mine)
    base = baseline(model=f'family = "onnx-file"\nsource = "onnx:{mine.as_posix()}"\n')
    keys = json.loads((base / "run.json").read_text(encoding="utf-8"))["artifacts"]
    mine.write_bytes(tiny_model.read_bytes() + b"\x32\x00")  # an empty doc_string more: another file, the same graph
    done, record = gate(base, "--matrix", tmp_path / "matrix.toml")
    assert done.returncode in (0, 3), done.stdout
    assert cells(record)[CELL]["pairs"] >= 2, "the base was measured again, though its source is gone"
    again = json.loads((tmp_path / "gate" / "base" / "run.json").read_text(encoding="utf-8"))["artifacts"]
    assert again == keys
    assert any("tiny" in line for line in record["differences"])


# --- baselines that nothing can be judged against -------------------------------------------------------------------


def edited(base: Path, **changes) -> None:
    said = json.loads((base / "run.json").read_text(encoding="utf-8"))
    for name, change in changes.items():
        said[name] = change(said[name]) if callable(change) else change
    (base / "run.json").write_text(json.dumps(said), encoding="utf-8")


def test_no_baseline_ends_with_4(gate, matrix, tmp_path):
    done, record = gate(tmp_path / "nowhere", "--matrix", matrix())
    assert (done.returncode, record) == (4, None)
    assert last_line(done).startswith("bench: there is no baseline in ")


def test_a_baseline_of_another_machine_ends_with_4(a_base, gate, tmp_path):
    edited(a_base, machine=lambda machine: machine | {"key": "feedfacecafe"})
    done, record = gate(a_base, "--matrix", tmp_path / "matrix.toml", "--github")
    assert (done.returncode, record) == (4, None)
    assert "is of another machine (key feedfacecafe" in last_line(done)
    assert "bench compare" in last_line(done)
    assert "::error" in done.stderr


def test_a_baseline_of_another_schema_ends_with_2(a_base, gate, tmp_path):
    edited(a_base, schema=99)
    done, _ = gate(a_base, "--matrix", tmp_path / "matrix.toml")
    assert done.returncode == 2
    assert "schema 99" in last_line(done)


def test_a_baseline_without_its_raw_data_ends_with_4(a_base, gate, tmp_path):
    (a_base / "results.jsonl").unlink()
    done, _ = gate(a_base, "--matrix", tmp_path / "matrix.toml")
    assert done.returncode == 4
    assert "has no raw data" in last_line(done)


def test_a_baseline_of_other_cells_ends_with_4(a_base, gate, matrix):
    path = matrix()
    path.write_text(path.read_text(encoding="utf-8").replace("[models.tiny]", "[models.other]"), encoding="utf-8")
    done, _ = gate(a_base, "--matrix", path)
    assert done.returncode == 4
    assert "holds other cells than the matrix" in last_line(done)


def test_a_baseline_with_a_torn_middle_ends_with_2(a_base, gate, tmp_path):
    lines = (a_base / "results.jsonl").read_bytes()
    (a_base / "results.jsonl").write_bytes(b'{"cell":1}\n' + lines)
    done, _ = gate(a_base, "--matrix", tmp_path / "matrix.toml")
    assert done.returncode == 2
    assert "line 1" in last_line(done)


def test_a_budget_that_is_too_short_decides_nothing_and_ends_with_3(a_base, gate, tmp_path):
    done, record = gate(a_base, "--matrix", tmp_path / "matrix.toml", "--budget-minutes", "0.02")
    assert done.returncode == 3
    assert record["verdict"].startswith("inconclusive: --budget-minutes 0.02 is too short to decide anything")
    assert {cell["verdict"] for cell in record["cells"]} == {"inconclusive"}
    assert {cell["stage"] for cell in record["cells"]} <= {"", "screen"}, "what was not measured has lost no support"


def test_a_gate_that_is_cancelled_keeps_its_pairs_and_writes_its_report(a_base, environment, tmp_path):
    out = tmp_path / "gate"
    command = [sys.executable, "-m", "bench", "gate", "--baseline", a_base, "--matrix", "matrix.toml", "--out", out]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_lines(out / "pairs.jsonl", 1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "what was judged so far is in" in said.splitlines()[-1]
    record = json.loads((out / "gate.json").read_text(encoding="utf-8"))
    assert record["exit_code"] == 3
    assert cells(record)[CELL]["verdict"] == "inconclusive"


def test_a_budget_of_nothing_is_a_mistake(a_base, gate, tmp_path):
    done, _ = gate(a_base, "--matrix", tmp_path / "matrix.toml", "--budget-minutes", "0")
    assert done.returncode == 2


def test_a_gate_does_not_overwrite_another(a_base, gate, tmp_path):
    short = ("--matrix", tmp_path / "matrix.toml", "--budget-minutes", "0.02")
    gate(a_base, *short)
    done, _ = gate(a_base, *short)
    assert done.returncode == 2
    assert "there is a gate in" in last_line(done)
