"""`bench ops` for real: ONNX's operator tests on providers that run anywhere, crashes and interruptions included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.conftest import REPO, Bench, call_bench
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

SUITE = 1884
"""Cases of onnx 1.23.2."""
MATRIX = ("--matrix", REPO / "matrix.toml")


def table(folder: Path) -> pd.DataFrame:
    """`operators.csv` as pandas reads it, by case."""
    return pd.read_csv(folder / "operators.csv").set_index("case")


@pytest.fixture(scope="module")
def on_cpu(shared: Path, environment: dict[str, str]) -> Path:
    """The folder of a run of every case on the CPU provider; `stdout` and `stderr` in it hold what was printed."""

    def make(folder: Path) -> None:
        done = call_bench(folder, environment, "ops", *MATRIX, "--provider", "cpu", "--out", folder)
        assert done.returncode == 0, done.stderr
        (folder / "stdout").write_text(done.stdout, encoding="utf-8")
        (folder / "stderr").write_text(done.stderr, encoding="utf-8")

    return make_once(shared / "ops-on-cpu", make)


# How long it takes is a benchmark: `nox -s overhead`.
def test_every_case_has_one_row(on_cpu):
    found = table(on_cpu)
    assert len(found) == len(set(found.index)) == SUITE


def test_the_cpu_provider_passes_what_it_is_known_to_pass(on_cpu):
    counts = table(on_cpu)["verdict"].value_counts()
    # Measured with onnxruntime 1.31.1: 1,483 full, 12 folded, 12 coarse, 5 wrong, 83 refused, 289 newer.
    assert counts["full"] > 1450
    assert counts["newer"] == 289
    assert not {"partial", "elsewhere", "crashed", "timeout", "not-run", "unplaced"} & set(counts.index)
    assert counts["wrong"] <= 10


def test_what_is_wrong_is_known_by_name_with_its_error(on_cpu):
    row = table(on_cpu).loc["test_resize_downsample_scales_linear_align_corners"]
    assert row["verdict"] == "wrong"
    assert row["max_abs_error"] > 0.5
    assert "1 of 2 values are off" in row["message"]


def test_what_is_refused_says_why(on_cpu):
    row = table(on_cpu).loc["test_image_decoder_decode_png_rgb"]
    assert row["verdict"] == "refused"
    assert row["message"].startswith("Could not find an implementation for ImageDecoder")


def test_it_ends_with_a_table_and_where_the_files_are(on_cpu):
    for word in ("cpu", "1.31.1", "newer", "operators.html", "operators.csv"):
        assert word in (on_cpu / "stdout").read_text(encoding="utf-8")
    assert "1884 cases" in (on_cpu / "stderr").read_text(encoding="utf-8")
    assert (on_cpu / "operators.html").stat().st_size > 100_000


def test_every_line_of_what_was_seen_is_kept(on_cpu):
    lines = (on_cpu / "operators.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["case"] for line in lines}) == len(lines) == SUITE


def test_json_and_globs(bench: Bench, tmp_path: Path):
    only = ("--only", "test_relu*", "--only", "test_abs")
    done = bench("ops", *MATRIX, "--provider", "cpu", *only, "--json", "--out", tmp_path / "ops")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["targets"][0]["counts"]["full"] == len(said["outcomes"])
    names = {outcome["case"]["name"] for outcome in said["outcomes"]}
    assert {"test_abs", "test_relu"} <= names
    assert all(name == "test_abs" or name.startswith("test_relu") for name in names)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--provider", "cpuu"), "did you mean 'cpu'?"),
        (("--only", "relu"), "no case is named like relu"),
    ],
)
def test_a_word_that_fits_nothing_is_a_mistake_of_usage(bench: Bench, flags, said):
    done = bench("ops", *MATRIX, *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_where_no_provider_can_be_run_it_says_why_and_exits_with_4(bench: Bench, tmp_path: Path):
    text = (REPO / "matrix.toml").read_text(encoding="utf-8")
    row = '[providers.mine]\nlike = "cpu"\nruntime = "gone"\n\n[runtimes.gone]\npython = "no-such-python"\n\n'
    path = tmp_path / "matrix.toml"
    path.write_text(text.replace("[runtimes.ort]", f"{row}[runtimes.ort]"), encoding="utf-8")
    done = bench("ops", "--matrix", path, "--provider", "mine", "--only", "test_abs")
    assert done.returncode == 4
    assert "no-such-python" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
def test_ctrl_c_keeps_what_was_seen_and_reports_it(on_cpu, cache: Path, tmp_path: Path):
    out = tmp_path / "ops"
    command = [sys.executable, "-m", "bench", "ops", *map(str, MATRIX), "--provider", "cpu", "--out", str(out)]
    environment = {**os.environ, "BENCH_CACHE_DIR": str(cache)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not ((lines := out / "operators.jsonl").exists() and lines.stat().st_size) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    found = table(out)
    assert len(found) == SUITE
    reached = found["message"] != "the run ended before its turn"
    assert 0 < reached.sum() < SUITE
    assert set(found[~reached]["verdict"]) == {"not-run"}


def on_plugin(bench: Bench, name: str, out: Path, *cases: str) -> pd.DataFrame:
    """Some cases on a plugin that the default matrix names; skipped where it is not here."""
    only = [word for case in cases for word in ("--only", case)]
    done = bench("ops", *MATRIX, "--provider", name, *only, "--out", out)
    if done.returncode == 4:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return table(out)


linux_x86 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="not on this system: a wheel for Linux x86-64"
)


@linux_x86
def test_a_right_answer_of_another_provider_is_no_support(bench: Bench, tmp_path: Path):
    found = on_plugin(bench, "webgpu-software", tmp_path / "ops", "test_relu", "test_acos", "test_castlike_*INT4")
    assert found.loc["test_relu"]["verdict"] == "full"
    assert found.loc["test_relu"]["imitated"] == "software"
    assert found.loc["test_acos"]["verdict"] == "elsewhere"
    assert found.loc["test_acos"]["elsewhere_ops"] == "Acos x1"
    assert not found[found["verdict"] == "elsewhere"]["supported"].any()


@linux_x86
def test_a_crash_costs_one_case(bench: Bench, tmp_path: Path):
    found = on_plugin(bench, "qnn-emulator", tmp_path / "ops", "test_stft*", "test_relu", "test_add", "test_abs")
    assert set(found["imitated"]) == {"emulated"}
    crashed = found[found["verdict"] == "crashed"]
    assert {"test_stft", "test_stft_with_window"} == set(crashed.index)
    assert crashed["message"].str.contains("SIGSEGV, at stage 'session'").all()
    assert found.loc["test_relu"]["nodes_on_target"] == 1
    assert found.loc["test_add"]["verdict"] == "coarse"
