"""Faults on purpose: whatever a target does, its cell has a row with the truth, and the run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import CPU, ENGINES, REPO, Bench, call_bench, outcomes_of, write_matrix
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

Matrix = Callable[..., Path]


MODES = (
    "segfaults",
    "aborts",
    "exits",
    "raises",
    "refuses",
    "runs-out-of-memory",
    "lies",
    "gives-nan",
    "obeys",
    "chatters",
    "hangs",
    "eats-memory",
    "segfaults-in-the-second-workload",
)
NO_RUNTIME = """[providers.no-runtime]
ep = "CPUExecutionProvider"
runtime = "missing"
"""
MISSING = '[runtimes.missing]\nrequires = ["touchstone-no-such-package==1.0"]\n'
NOT_IN_THE_WHEEL = '[providers.not-in-the-wheel]\nep = "CUDAExecutionProvider"\n'


def fake(*modes: str) -> str:
    """Baselines that misbehave, one for each mode."""
    tables = (f'[baselines.{mode}]\nengine = "fake"\nmode = "{mode}"\nruntime = "ort"\n' for mode in modes)
    return "\n".join(tables)


def outcomes(folder: Path) -> dict[str, dict]:
    """The verdicts of a run by target and workload."""
    return outcomes_of(folder, "target", "workload")


@pytest.fixture(scope="session")
def faulty(shared: Path, environment: dict[str, str], tiny_model: Path) -> dict[str, dict]:
    """The verdicts of one run of all misbehaving targets beside the real CPU provider."""

    def make(folder: Path) -> None:
        model = f'family = "onnx-file"\nsource = "onnx:{tiny_model}"\nworkloads = [{{ batch = 1 }}, {{ batch = 4 }}]\n'
        limits = "timeout_s = 10\nmemory_limit_mb = 700"
        targets = CPU + NO_RUNTIME + NOT_IN_THE_WHEEL + fake(*MODES)
        path = write_matrix(folder, tiny_model, targets, model, limits, more=MISSING, fp32='fake = "fp32"')
        only = ("--only", "*/b1", "--only", "*/segfaults-in-the-second-workload/*")
        arguments = ("run", "--matrix", path, "--out", folder / "run", "--format", "json,html", *only)
        done = call_bench(folder, environment | {"BENCH_ENGINES": str(ENGINES)}, *arguments)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr

    return outcomes(make_once(shared / "faulty", make) / "run")


def test_every_way_to_go_wrong_becomes_its_own_verdict_and_the_others_are_measured(faulty):
    statuses = {name: outcome["status"] for name, outcome in faulty.items()}
    second = {statuses.pop(f"segfaults-in-the-second-workload/b{batch}") for batch in (1, 4)}
    assert second == {"crashed", "ok"}, "a crash in one workload costs no other"
    assert statuses == {
        "cpu/b1": "ok",
        "obeys/b1": "ok",
        "chatters/b1": "ok",
        "segfaults/b1": "crashed",
        "aborts/b1": "crashed",
        "exits/b1": "crashed",
        "raises/b1": "failed",
        "refuses/b1": "unsupported",
        "runs-out-of-memory/b1": "out-of-memory",
        "eats-memory/b1": "out-of-memory",
        "hangs/b1": "timeout",
        "lies/b1": "inaccurate",
        "gives-nan/b1": "inaccurate",
        "no-runtime/b1": "unavailable",
        "not-in-the-wheel/b1": "unavailable",
    }


def test_a_crash_names_its_signal_its_stage_and_its_last_words(faulty):
    failure = faulty["segfaults/b1"]["failure"]
    assert failure["signal"] == "SIGSEGV"
    assert failure["exit_code"] == -signal.SIGSEGV
    assert failure["stage"] == "time"
    assert "about to read address 0" in failure["stderr_tail"]


def test_an_exit_of_its_own_is_told_from_a_signal(faulty):
    failure = faulty["exits/b1"]["failure"]
    assert (failure["exit_code"], failure["signal"]) == (3, None)


def test_an_error_is_told_by_its_first_line(faulty):
    failure = faulty["raises/b1"]["failure"]
    assert failure["message"] == "[FakeRuntime] the kernel said no"
    assert "second line" in failure["stderr_tail"]


def test_a_glutton_ends_at_the_memory_limit(faulty):
    assert "over the limit of 700 MiB" in faulty["eats-memory/b1"]["reason"]


def test_wrong_answers_show_no_speed(faulty):
    for name in ("cpu", "obeys", "lies", "gives-nan"):
        outcome = faulty[f"{name}/b1"]
        assert (outcome["speed"] is None) == (outcome["status"] == "inaccurate")


def test_a_runtime_that_cannot_be_installed_is_told_by_its_requirement(faulty):
    assert "touchstone-no-such-package" in faulty["no-runtime/b1"]["reason"]


def test_a_provider_that_the_wheel_lacks_is_unavailable_and_never_the_cpu_in_disguise(faulty):
    found = faulty["not-in-the-wheel/b1"]
    assert "CUDAExecutionProvider is not in this onnxruntime" in found["reason"]
    assert found["speed"] is None


def test_a_truncated_model_is_told_by_the_real_error(bench: Bench, matrix: Matrix, tiny_model: Path, tmp_path: Path):
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(tiny_model.read_bytes()[:5000])
    model = f'family = "onnx-file"\nsource = "onnx:{torn}"\n'
    done = bench("run", "--matrix", matrix(model=model), "--out", tmp_path / "run", "--format", "json")
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("bench: nothing was measured; tiny/fp32/cpu/b1: ")
    assert outcomes(tmp_path / "run")["cpu/b1"]["failure"]["stage"] in ("source", "export", "reference")


def test_a_model_that_is_not_there_is_told_with_its_place(bench: Bench, matrix: Matrix, tmp_path: Path):
    model = 'family = "text-encoder"\nsource = "path:no/such/folder"\n'
    done = bench("run", "--matrix", matrix(model=model), "--out", tmp_path / "run", "--format", "json")
    assert done.returncode == 4
    assert "no/such/folder" in done.stderr
    assert "Traceback" not in done.stderr


def start(matrix: Path, out: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A run that goes on while the test does something to it."""
    command = [sys.executable, "-m", "bench", "run", "--matrix", str(matrix), "--out", str(out), "--budget", "thorough"]
    return subprocess.Popen(command, cwd=out.parent, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_lines(path: Path, count: int) -> int:
    """Wait until so many observations are there."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return path.read_bytes().count(b"\n")
        time.sleep(0.05)
    raise AssertionError(f"{path} did not grow to {count} lines")


def rounds_seen(folder: Path) -> list[tuple[str, int]]:
    """Cell and round of every observation, as they stand in the file."""
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["cell"], line["round"]) for line in map(json.loads, lines)]


def test_ctrl_c_keeps_everything_measured_and_writes_the_report(matrix: Matrix, environment, tmp_path: Path):
    out = tmp_path / "run"
    process = start(matrix(), out, environment)
    wait_for_lines(out / "results.jsonl", 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--resume" in said
    assert (out / "report.html").exists()
    assert len(rounds_seen(out)) >= 2


def test_a_killed_run_goes_on_where_it_was(matrix: Matrix, environment, bench: Bench, tmp_path: Path):
    out = tmp_path / "run"
    process = start(matrix(), out, environment)
    before = wait_for_lines(out / "results.jsonl", 3)
    process.kill()
    process.communicate(timeout=60)
    with (out / "results.jsonl").open("ab") as file:
        file.write(b'{"cell":"tiny/fp32/cpu/b1","rou')  # a power cut tears the last line
    first = (out / "results.jsonl").read_bytes().splitlines()[:before]
    done = bench("run", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.jsonl").read_bytes().splitlines()[:before] == first
    seen = rounds_seen(out)
    assert len(seen) == len(set(seen))
    assert {number for _, number in seen} == set(range(1, 7)), "as many blocks as `thorough` makes of a cell alone"


def test_a_finished_run_has_nothing_left_to_measure(bench: Bench, recorded_run: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(recorded_run / "run", out)
    before = (out / "results.jsonl").read_bytes()
    done = bench("run", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.jsonl").read_bytes() == before


def test_two_runs_at_once_share_the_cache_without_a_double_build(matrix: Matrix, environment, tmp_path: Path):
    cache = tmp_path / "cache"
    (cache).mkdir()
    (cache / "runtimes").symlink_to(Path(environment["BENCH_CACHE_DIR"]) / "runtimes")
    mine = environment | {"BENCH_CACHE_DIR": str(cache)}
    path = matrix()
    command = [sys.executable, "-m", "bench", "run", "--matrix", str(path), "--out"]
    both = [
        subprocess.Popen([*command, str(tmp_path / name)], env=mine, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    built = [line for text in said for line in text.splitlines() if "built fp32 of tiny" in line]
    assert len(built) == 1, said
    assert not list((cache / "artifacts").glob("making-*"))


def test_a_full_disk_is_one_sentence_and_loses_nothing(bench: Bench, matrix: Matrix, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("a file system of a given size needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        done = bench("run", "--matrix", matrix(), "--out", small / "run", "--budget", "thorough", "--format", "csv")
        assert done.returncode == 2, done.stderr
        assert "the disk is full" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        kept = rounds_seen_whole(small / "run")
        assert kept >= 1
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def rounds_seen_whole(folder: Path) -> int:
    """How many whole observations there are."""
    return (folder / "results.jsonl").read_bytes().count(b"\n")


def test_a_run_of_another_schema_is_refused_with_both_numbers(bench: Bench, recorded_run: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(recorded_run / "run", out)
    said = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (out / "run.json").write_text(json.dumps(said | {"schema": 99}), encoding="utf-8")
    done = bench("report", out)
    assert done.returncode == 2
    assert "schema 99" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fake_engine_cannot_be_reached_without_asking_for_it(bench: Bench, matrix: Matrix):
    done = bench("plan", "--matrix", matrix(targets=fake("obeys")))
    assert done.returncode == 2
    assert "unknown engine 'fake'" in done.stderr


def test_the_default_matrix_stands_in_the_package(bench: Bench):
    assert (REPO / "matrix.toml").exists()
    done = bench("plan", "--matrix", REPO / "matrix.toml", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    run = [cell for cell in cells if cell["excluded"] is None]
    assert {"cpu", "torch-eager", "torch-compile"} <= {cell["target"] for cell in run}
    assert not {"webgpu-software", "qnn-emulator"} & {cell["target"] for cell in cells}, "what is optional is no cell"
