"""GGUF files in the real command: the same weights in every engine; a file that cannot be used is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import REPO, call_bench, outcomes_of
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

MODELS = {"sound": ("Q4_1", "llama"), "strange": ("F32", "mamba")}
PARTS = ("model", "precision", "target", "workload")
MATRIX = """schema = 1
[precisions.fp32]
text-generator = "genai-fp32"
torch = "fp32"
[precisions.given]
llama-cpp = "gguf-as-given"
[providers.cpu]
[baselines.torch-eager]
engine = "torch"
mode = "eager"
control = true
"""


@pytest.fixture(scope="module")
def run(shared: Path, environment: dict[str, str]) -> Path:
    """One run of a sound file, one of an architecture that is not read, and one that is cut short."""

    def make(folder: Path) -> None:
        asked = [sys.executable, REPO / "tests" / "runtime_python.py", "build"]
        done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=600, check=True)
        python = done.stdout.split()[-1]
        paths = (REPO, REPO / "tests" / "worker", REPO / "tests" / "generation")
        own = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        for name, kind in MODELS.items():
            command = [python, REPO / "tests" / "generation" / "gguf_files.py", folder / f"{name}.gguf", *kind]
            subprocess.run(command, env=own, check=True, timeout=120)
        (folder / "cut.gguf").write_bytes((folder / "sound.gguf").read_bytes()[:-1000])
        tables = [
            f'[models.{name}]\nfamily = "text-generator"\nsource = "path:{name}.gguf"\n'
            "workloads = [{ prompt = 12, new = 6 }]\n"
            for name in (*MODELS, "cut")
        ]
        (folder / "m.toml").write_text(MATRIX + "".join(tables), encoding="utf-8")
        done = call_bench(folder, environment, "run", "--matrix", "m.toml", "--out", "run", "--format", "json,csv,html")
        (folder / "stderr").write_text(done.stderr, encoding="utf-8")

    return make_once(shared / "gguf-source", make) / "run"


def test_every_engine_has_the_weights_of_the_file_and_the_row_says_so(run: Path) -> None:
    outcomes = outcomes_of(run, *PARTS)
    for target in ("cpu", "torch-eager"):
        outcome = outcomes[f"sound/fp32/{target}/b1-p12-n6"]
        assert outcome["status"] == "ok", outcome["reason"]
        notes = " ".join(outcome["build_notes"])
        assert "every engine has the weights of sound.gguf, dequantized once from Q4_1 to FP32" in notes


def test_an_architecture_that_is_not_read_is_unsupported_by_its_name(run: Path) -> None:
    outcome = outcomes_of(run, *PARTS)["strange/fp32/torch-eager/b1-p12-n6"]
    assert outcome["status"] == "unsupported"
    assert "the architecture 'mamba', which is not read here" in outcome["reason"]
    assert "give the model as a Hugging Face folder" in outcome["remedy"]


def test_a_file_that_is_cut_short_is_refused_before_a_worker_starts(run: Path) -> None:
    outcome = outcomes_of(run, *PARTS)["cut/fp32/torch-eager/b1-p12-n6"]
    assert outcome["status"] == "unavailable"
    assert "cut.gguf is truncated" in outcome["reason"]


@pytest.mark.nightly
def test_smollm2_is_right_in_fp32_and_costs_what_4_bits_cost(tmp_path: Path, environment: dict[str, str]) -> None:
    """The trained model of the default matrix: 93 MB are fetched, and minutes pass."""
    only = [word for cell in ("fp32/cpu", "fp32/torch-eager", "int4/cpu") for word in ("--only", f"smollm2/{cell}/*")]
    done = call_bench(
        tmp_path, environment, "run", "--matrix", REPO / "matrix.toml", *only, "--out", "run", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    outcomes = outcomes_of(tmp_path / "run", *PARTS)
    for target in ("cpu", "torch-eager"):
        outcome = outcomes[f"smollm2/fp32/{target}/b1-p128-n64"]
        assert outcome["status"] == "ok", outcome["reason"]
        assert outcome["metrics"]["kl_divergence"] < 1e-9
    four_bits = outcomes["smollm2/int4/cpu/b1-p128-n64"]
    assert four_bits["status"] == "approximate"
    assert 0.1 < four_bits["metrics"]["perplexity_increase"] < 0.57
