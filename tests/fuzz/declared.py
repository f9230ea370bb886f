"""What users write and pass on: matrices, and the record of a gate."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from random import Random

import msgspec
from a_gate import a_whole_gate
from matrices import matrix_text

from bench.declare import hidden_values, plan
from bench.declare import matrix as matrices
from bench.default_paths import matrix_path
from bench.gating.acts import acts, beyond
from bench.gating.reports import json as gate_json
from bench.gating.reports import junit, markdown

from .changes import changed_bytes, changed_json, changed_words, text_of
from .kind import Kind, bench, chosen

ROOT = Path(__file__).parents[2]
EVERYTHING = """
[[exclude]]
cells = "vit/*"
reason = "too large"
optional = true
[measure]
threads = 2
budget = "quick"
minutes = 3.5
timeout_s = 60
memory_limit_mb = 4096
seed = 3
[models.file]
family = "onnx-file"
source = "onnx:m.onnx"
inputs = { source = "path:x.npz", scale = 0.5, mean = [0.1, 0.2, 0.3] }
task = { metric = "accuracy", inputs = "path:x.npz", labels = "path:l.csv" }
workloads = [{ n = 3 }]
precisions = ["fp32"]
[models.text]
family = "text-generator"
source = "wheel:tiny==1.0/tiny/model"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
weights = "random"
seed = 7
workloads = [{ prompt = 8, new = 8 }]
[runtimes.own]
python = "/usr/bin/python3"
[runtimes.more]
extends = "ort"
requires = ["name[extra]>=1,<2; python_version > '3'", "other @ https://127.0.0.1/x.whl"]
[providers.mine]
ep = "MyExecutionProvider"
plugin = "my_ep"
options = { device_id = 0, path = "x" }
environment = { A_TOKEN = "value of it", OMP_NUM_THREADS = "2" }
runtime = "own"
[baselines.server]
engine = "openai-http"
options = { url = "http://127.0.0.1:1234/v1", key = "SERVER_KEY", model = "m", extra = '{"ignore_eos": true}' }
"""


@cache
def sound_matrices() -> list[bytes]:
    """Small ones mostly: the default matrix takes the longest."""
    small = [matrix_text(), matrix_text(more=EVERYTHING)]
    files = [ROOT / "examples" / "llm-on-a-cpu.toml", ROOT / "examples" / "gpu" / "matrix.toml"]
    real = [path.read_bytes() for path in (*files, matrix_path(ROOT / "matrix.toml"))]
    return [*(text.encode() for text in small * 4), *real]


def changed_matrix(content: bytes, random: Random) -> bytes:
    """A matrix whose tables are changed as values, or its text as words or bytes."""
    kind = random.random()
    if kind < 0.5:
        try:
            tables = changed_json(tomllib.loads(content.decode()), random)
            return "".join(hidden_values._tables(tables)).encode()
        except (ValueError, AttributeError, TypeError, RecursionError):
            pass
    return changed_words(content, random) if kind < 0.85 else changed_bytes(content, random)


def read_matrix(folder: Path, content: bytes) -> None:
    """Read and plan a matrix, list what it makes a program do, hide its secrets; for some by the command."""
    path, random = folder / "matrix.toml", chosen(content)
    path.write_bytes(content)
    if random.random() < 0.1:
        bench(folder, "plan", "--matrix", str(path), *(["--json"] if random.random() < 0.5 else []))
        return
    matrix = matrices.read(path)
    plan.whole_plan(matrix)
    beyond(acts(matrix), _own())
    hidden = hidden_values.hidden(matrix.text)
    # What is stored must be readable again.
    again = matrices.parse(hidden, str(path))
    for value in hidden_values.variables(matrix).values():
        assert len(value) < 6 or value == "<set>" or value not in hidden_values.variables(again).values()


@cache
def _own() -> matrices.Matrix:
    return matrices.parse(matrix_text())


def changed_gate(content: bytes, random: Random) -> bytes:
    """A gate that is changed as JSON, else as bytes."""
    if random.random() < 0.15:
        return changed_bytes(content, random)
    try:
        return text_of(changed_json(json.loads(content), random))
    except (ValueError, RecursionError):
        return changed_bytes(content, random)


@cache
def sound_gates() -> list[bytes]:
    return [text_of(msgspec.to_builtins(a_whole_gate()))]


def read_gate(folder: Path, content: bytes) -> None:
    """A changed `gate.json`, and the reports of it."""
    (folder / "gate.json").write_bytes(content)
    gate = gate_json.read(folder / "gate.json")
    for renderer in (markdown, junit, gate_json):
        renderer.render(gate)


KINDS = (
    Kind("matrix", sound_matrices, changed_matrix, read_matrix),
    Kind("gate", sound_gates, changed_gate, read_gate),
)
