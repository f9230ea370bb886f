"""The real command on the real, pretrained MiniLM: what a newcomer sees, and that the second run only measures."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.conftest import REPO, Bench
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

# A GPU and an NPU in software take minutes for a real model; test_providers.py runs them on small ones. What PyTorch
# does in fewer bits is tested in tests/worker.
SLOW = ("*/torch-compile/*", "*/webgpu-software/*", "*/qnn-emulator/*", "*/fp16/torch-eager/*", "*/int8/torch-eager/*")
ABSENT = ("*/cuda/*", "*/webgpu/*", "*/directml/*", "*/coreml/*")
"""What `--with-optional` asks for too, on a machine without it."""
ONLY = ("--only", "minilm/*/b1-s128", *(word for glob in (*SLOW, *ABSENT) for word in ("--skip", glob)))


@pytest.fixture(scope="module")
def run(cache: Path, shared: Path):
    """One run of the default matrix's MiniLM at batch 1: its folder and what it printed."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "bench", "run", "--matrix", str(REPO / "matrix.toml"), *ONLY]
        # FP16 and BF16 are optional, as most CPUs do not compute in them.
        command += ["--with-optional"]
        command += ["--out", str(folder / "run"), "--format", "html,csv,markdown,json", "--minutes", "1"]
        environment = {**os.environ, "BENCH_CACHE_DIR": str(cache)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "stdout").write_text(done.stdout, encoding="utf-8")
        (folder / "stderr").write_text(done.stderr, encoding="utf-8")

    folder = make_once(shared / "real-model", make)
    out, err = ((folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    return folder / "run", subprocess.CompletedProcess((), 0, out, err)


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    """`results.csv` as pandas reads it, with no fix-ups."""
    return pd.read_csv(run[0] / "results.csv")


def test_it_ends_by_saying_where_the_report_is(run):
    out, done = run
    for name in ("report.html", "results.csv", "summary.md"):
        assert (out / name).stat().st_size > 500
        assert name in done.stdout


def test_every_planned_cell_has_exactly_one_row(run, table):
    planned = json.loads((run[0] / "run.json").read_text(encoding="utf-8"))["cells"]
    assert len(table) == len(planned)
    assert table[["model", "precision", "target", "workload"]].drop_duplicates().shape[0] == len(table)


def row(table: pd.DataFrame, precision: str, target: str) -> pd.Series:
    """The row of one cell."""
    found = table[(table["precision"] == precision) & (table["target"] == target)]
    assert len(found) == 1
    return found.iloc[0]


def is_around(low: float, value: float, high: float, *, blocks: int) -> bool:
    """Whether an interval holds its value; after one block, whether there is a value and no interval."""
    return low <= value <= high if blocks > 1 else value > 0 and math.isnan(low) and math.isnan(high)


def test_the_weights_are_the_real_ones(table):
    assert set(table["weights"].dropna()) == {"pretrained"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_onnx_runtime_is_right_and_wholly_on_its_provider(table, precision):
    cell = row(table, precision, "cpu")
    assert cell["status"] == "ok"
    assert cell["nodes_on_target"] > 50
    assert cell["nodes_elsewhere"] == 0
    assert cell["latency_ms"] > 0
    assert is_around(cell["latency_ms_low"], cell["latency_ms"], cell["latency_ms_high"], blocks=cell["rounds"])


def test_the_precisions_are_what_they_say(table):
    bits = {precision: row(table, precision, "cpu")["effective_bits"] for precision in ("fp32", "fp16", "int8")}
    assert bits["fp32"] > bits["fp16"] > bits["int8"]
    assert bits["fp32"] > 15
    assert 7 < bits["fp16"] < 14
    assert row(table, "int8", "cpu")["cosine"] > 0.98


def test_bf16_is_torchs_own_and_never_called_fp16(table):
    assert set(table[table["precision"] == "bf16"]["target"]) == {"torch-eager"}
    assert row(table, "bf16", "torch-eager")["status"] in ("ok", "unsupported")


def test_the_control_is_what_ratios_are_against(table):
    cell = row(table, "fp32", "cpu")
    assert cell["control"] == "minilm/fp32/torch-eager/b1-s128"
    assert is_around(cell["ratio_low"], cell["ratio_to_control"], cell["ratio_high"], blocks=cell["rounds"])


def test_every_target_had_the_same_threads(table):
    assert table["threads"].dropna().nunique() == 1


def test_rates_agree_with_the_latency(table):
    cell = row(table, "fp32", "cpu")
    assert cell["throughput"] == pytest.approx(cell["batch"] / cell["latency_ms"] * 1000, rel=1e-6)


def test_the_fingerprint_and_every_package_are_recorded(run):
    said = json.loads((run[0] / "run.json").read_text(encoding="utf-8"))
    assert said["runtimes"]["ort"]["packages"]["onnxruntime"] == "1.31.1"
    assert said["runtimes"]["build"]["packages"]["torch"].startswith("2.13.0")
    assert len(said["machine"]["key"]) == 12
    assert said["machine"]["cpu"]["isa"]


def test_raw_nanoseconds_are_kept(run):
    lines = [json.loads(line) for line in (run[0] / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    timed = [line for line in lines if line["timing"]]
    assert timed
    assert all(line["timing"]["samples_ns"] and line["timing"]["warmup_ns"] for line in timed)


def test_a_second_run_exports_nothing_and_installs_nothing(run, bench: Bench, tmp_path: Path):
    only = ("--with-optional", "--only", "minilm/*/cpu/b1-s128", "--out", tmp_path / "second")
    done = bench("run", "--matrix", REPO / "matrix.toml", *only)
    assert done.returncode == 0, done.stderr
    for word in ("installing", "built", "downloading"):
        assert word not in done.stderr


def test_the_report_can_be_made_again_from_what_was_observed(run, bench: Bench, tmp_path: Path):
    done = bench("report", run[0], "--format", "csv,markdown", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    again, first = pd.read_csv(tmp_path / "results.csv"), pd.read_csv(run[0] / "results.csv")
    pd.testing.assert_frame_equal(again, first)


def test_the_cache_is_listed_verified_and_its_damage_found(run, bench: Bench, cache: Path, tmp_path: Path):
    listed = json.loads(bench("cache", "list", "--json").stdout)
    # Another test may be building one in the same cache: that one is unfinished, and soon gone under this name.
    artifacts = [entry for entry in listed if entry["kind"] == "artifact" and not entry["unfinished"]]
    assert {"artifact", "runtime", "wheel", "worker-code"} <= {entry["kind"] for entry in listed}
    assert {"model", "reference"} <= {entry["what"].split()[0] for entry in artifacts}
    assert bench("cache", "verify").returncode == 0
    smallest = min(artifacts, key=lambda entry: entry["size_bytes"])["key"]
    copy = tmp_path / "cache" / "artifacts" / smallest
    shutil.copytree(cache / "artifacts" / smallest, copy)
    victim = next(path for path in sorted(copy.iterdir()) if path.suffix in (".onnx", ".npz"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    done = bench("cache", "verify", BENCH_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert f"{victim.name} has changed" in done.stderr
    assert bench("cache", "prune", "--damaged", BENCH_CACHE_DIR=str(tmp_path / "cache")).returncode == 0
    assert not copy.exists()
