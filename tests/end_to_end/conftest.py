"""The real command in a folder of its own, with a cache that the whole session shares."""

from __future__ import annotations

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

REPO = Path(__file__).parent.parent.parent
ENGINES = REPO / "tests" / "engines"
RUN_LIMIT_S = 600

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


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user, with the shared cache."""
    return {**os.environ, "BENCH_CACHE_DIR": str(cache), "COLUMNS": "200"}


@pytest.fixture
def bench(tmp_path: Path, environment: dict[str, str]) -> Bench:
    """`bench(*arguments)`: the real command in a fresh folder; what it printed and its exit code."""

    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", *map(str, arguments)]
        said = {"capture_output": True, "text": True, "timeout": RUN_LIMIT_S}
        return subprocess.run(command, check=False, cwd=tmp_path, env=environment | more, **said)

    return call


@pytest.fixture(scope="session")
def tiny_model(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ONNX file: one product and a ReLU, with a batch of any size."""
    default = matrices.read(REPO / "matrix.toml")
    ready = environments.ensure(default.runtimes["build"], cache, Quiet())
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    subprocess.run([str(ready.executable), "-c", MAKE_MODEL, str(path)], check=True, timeout=120)
    return path


@pytest.fixture
def matrix(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    """`matrix(targets=…, model=…, measure=…)`: a user's matrix with the tiny model, and what a test adds."""

    def write(targets: str = CPU, model: str = "", measure: str = "", more: str = "", fp32: str = "") -> Path:
        default = (REPO / "matrix.toml").read_text(encoding="utf-8")
        found = default[default.index("[runtimes.ort]") :]
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
{found}
{more}
"""
        path = tmp_path / "matrix.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


CPU = '[providers.cpu]\nep = "CPUExecutionProvider"\n'
