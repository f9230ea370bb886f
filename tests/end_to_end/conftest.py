"""The real command in a folder of its own, with a cache that the whole session shares."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.options import cache_path
from bench.declare import matrix as matrices
from bench.prepare import environments
from bench.progress import Quiet
from tests.shared import make_once

REPO = Path(__file__).parent.parent.parent
ENGINES = REPO / "tests" / "engines"
RUN_LIMIT_S = 600
MINUTES = "0.5"
"""For measuring, where a test names no budget: the first block of every model is made in any case."""

# A shell's background jobs, as a CI's may be, ignore Ctrl-C, and so would every child of theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

Bench = Callable[..., subprocess.CompletedProcess[str]]

MAKE_MODEL = """
import sys
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
rng = np.random.default_rng(0)
weight = rng.standard_normal((64, 64)).astype(np.float32) / 8
graph = h.make_graph(
    [h.make_node("MatMul", ["x", "w"], ["y"]), h.make_node("Relu", ["y"], ["z"])], "tiny",
    [h.make_tensor_value_info("x", T.FLOAT, ["batch", 64])], [h.make_tensor_value_info("z", T.FLOAT, ["batch", 64])],
    [n.from_array(weight, "w")])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9), sys.argv[1])
"""


@pytest.fixture(scope="session")
def cache() -> Path:
    """The cache folder; CI names a fresh one, and all tests of a session share it."""
    named = os.environ.get("BENCH_CACHE_DIR")
    return cache_path(Path(named) if named else None)


@pytest.fixture(scope="session")
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user, with the shared cache."""
    return {**os.environ, "BENCH_CACHE_DIR": str(cache), "COLUMNS": "200"}


def call_bench(
    folder: Path, environment: dict[str, str], *arguments: object, limit_s: float = RUN_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """The real command in a folder: what it printed and its exit code."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    if "run" in arguments[:1] and not {"--minutes", "--resume", "--budget", "--help"} & set(arguments):
        # Most tests look at verdicts and not at narrow intervals.
        command += ["--minutes", MINUTES]
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit_s
    )


@pytest.fixture
def bench(tmp_path: Path, environment: dict[str, str]) -> Bench:
    """`bench(*arguments)`: the real command in a fresh folder; what it printed and its exit code."""
    return lambda *arguments, **more: call_bench(tmp_path, environment | more, *arguments)


def build_runtime(cache: Path) -> Path:
    """The interpreter of the runtime that has the onnx package."""
    default = matrices.read(REPO / "matrix.toml")
    return environments.ensure(default.runtimes["build"], cache, Quiet()).executable


@pytest.fixture(scope="session")
def tiny_model(cache: Path, shared: Path) -> Path:
    """A small ONNX file: one product and a ReLU, with a batch of any size."""

    def make(folder: Path) -> None:
        command = [str(build_runtime(cache)), "-c", MAKE_MODEL, str(folder / "tiny.onnx")]
        subprocess.run(command, check=True, timeout=120)

    return make_once(shared / "tiny-model", make) / "tiny.onnx"


def write_matrix(
    folder: Path, tiny_model: Path, targets: str, model: str = "", measure: str = "", more: str = "", fp32: str = ""
) -> Path:
    """Write `matrix.toml` into a folder: a user's matrix with the tiny model, and what a test adds."""
    default = (REPO / "matrix.toml").read_text(encoding="utf-8")
    runtimes = default[default.index("[runtimes.ort]") :]
    model = model or f'family = "onnx-file"\nsource = "onnx:{tiny_model.as_posix()}"\n'
    text = f"""schema = 1
[measure]
threads = 1
{measure}
[models.tiny]
{model}
[precisions.fp32]
onnx-file = "fp32"
text-encoder = "fp32"
torch = "fp32"
{fp32}
{targets}
{runtimes}
{more}
"""
    path = folder / "matrix.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def matrix(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    """`matrix(targets=…, model=…, measure=…)`: a user's matrix with the tiny model, and what a test adds."""
    return lambda targets=CPU, **parts: write_matrix(tmp_path, tiny_model, targets, **parts)


@pytest.fixture(scope="session")
def recorded_run(shared: Path, environment: dict[str, str], tiny_model: Path) -> Path:
    """A folder with a `matrix.toml` of the tiny model on the CPU provider, and its finished run in `run`; copy it."""

    def make(folder: Path) -> None:
        path = write_matrix(folder, tiny_model, CPU)
        named = environment | {"BENCH_ENGINES": str(ENGINES)}  # a gate compares the engines' code too
        done = call_bench(folder, named, "run", "--matrix", path, "--out", folder / "run", "--format", "csv")
        assert done.returncode == 0, done.stderr

    return make_once(shared / "recorded-run", make)


def outcomes_of(folder: Path, *parts: str) -> dict[str, dict]:
    """The outcomes in a run's JSON report, by these parts of their cell's id."""
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {"/".join(o["cell"][part] for part in parts): o for o in report["runs"][0]["outcomes"]}


CPU = '[providers.cpu]\nep = "CPUExecutionProvider"\n'
