"""A user's own ONNX file with the user's own inputs, by the real command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import outcomes_of

pytestmark = pytest.mark.end_to_end

SAMPLES = np.random.default_rng(3).standard_normal((9, 64)).astype(np.float32)


def model(tiny_model: Path, inputs: str) -> str:
    source = f'family = "onnx-file"\nsource = "onnx:{tiny_model.as_posix()}"\n'
    return f"{source}workloads = [{{ batch_size = 4 }}]\n{inputs}"


def test_the_samples_of_a_file_are_fed_and_counted(bench, matrix, tiny_model, tmp_path):
    np.savez(tmp_path / "mine.npz", x=SAMPLES)
    path = matrix(model=model(tiny_model, 'inputs = "path:mine.npz"'))
    done = bench("run", "--matrix", path, "--out", tmp_path / "run", "--format", "json,csv")
    assert done.returncode == 0, done.stderr
    assert "made-up inputs" not in done.stdout
    (outcome,) = outcomes_of(tmp_path / "run", "target", "workload").values()
    assert (outcome["status"], outcome["cell"]["workload"]) == ("ok", "b4")
    latency_ms, rate = outcome["speed"]["latency_ms"]["value"], outcome["speed"]["throughput"]["samples"]["value"]
    assert rate == pytest.approx(4000 / latency_ms)
    assert outcome["build_notes"][-1] == "4 samples a call, along batch"


def test_a_nan_in_the_data_ends_in_a_sentence_and_an_exit_code(bench, matrix, tiny_model, tmp_path):
    broken = np.where(np.arange(SAMPLES.size).reshape(SAMPLES.shape) == 65, np.nan, SAMPLES)
    np.savez(tmp_path / "mine.npz", x=broken.astype(np.float32))
    path = matrix(model=model(tiny_model, 'inputs = "path:mine.npz"'))
    done = bench("run", "--matrix", path, "--out", tmp_path / "run")
    assert done.returncode == 4
    assert "'x' in mine.npz holds a NaN, at [1, 1]; replace it, or leave the sample out" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_noise_is_named_beside_the_number(bench, matrix, tiny_model, tmp_path):
    done = bench("run", "--matrix", matrix(model=model(tiny_model, "")), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "made-up inputs" in " ".join(done.stdout.split())
    assert "pretrained; inputs: seeded noise |" in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
