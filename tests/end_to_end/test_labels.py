"""Labelled samples through the real command: the metric in the report, and a gate that finds a wrong quantization."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import CPU, Bench, build_runtime, call_bench, outcomes_of, write_matrix
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

MAKE = """
import sys
from pathlib import Path
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
centres = rng.standard_normal((8, 64)).astype(np.float32)
def save(name, weight):
    bias = (-0.5 * (centres**2).sum(1)).astype(np.float32)
    nodes = [h.make_node("MatMul", ["x", "w"], ["m"]), h.make_node("Add", ["m", "b"], ["logits"])]
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["batch", 64])],
                         [h.make_tensor_value_info("logits", T.FLOAT, ["batch", 8])],
                         [n.from_array(weight, "w"), n.from_array(bias, "b")])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9), folder / name)
save("right.onnx", centres.T.copy())
wrong = centres.T.copy()
wrong[:, 3] = 0
save("wrong.onnx", wrong)
labels = rng.integers(0, 8, 600)
np.savez(folder / "x.npz", x=(centres[labels] + 2 * rng.standard_normal((600, 64))).astype(np.float32))
(folder / "labels.csv").write_text("label\\n" + "\\n".join(map(str, labels)))
bias = (-0.5 * (centres**2).sum(1))
print(((np.load(folder / "x.npz")["x"] @ centres.T + bias).argmax(1) == labels).mean())
"""
MODEL = """family = "onnx-file"
source = "onnx:model.onnx"
inputs = "path:x.npz"
workloads = [{ batch = 8 }, { batch = 7 }]
[models.tiny.task]
labels = "path:labels.csv"
"""
INT8 = '[precisions.int8]\nonnx-file = "static-qdq-int8"\n'
BRIEFLY = ("--budget-minutes", "2")


@pytest.fixture(scope="session")
def a_labelled_run(shared: Path, environment: dict[str, str], cache: Path) -> Path:
    """A folder with a labelled classifier, its matrix, and its run in `run`; copy it."""

    def make(folder: Path) -> None:
        command = [str(build_runtime(cache)), "-c", MAKE, str(folder)]
        made = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
        (folder / "accuracy.txt").write_text(made.stdout, encoding="utf-8")
        shutil.copy(folder / "right.onnx", folder / "model.onnx")
        path = write_matrix(folder, folder / "model.onnx", CPU, model=MODEL, more=INT8)
        arguments = ("run", "--matrix", path, "--out", folder / "run", "--format", "json,csv", "--minutes", "0.5")
        done = call_bench(folder, environment, *arguments)
        assert done.returncode == 0, done.stderr
        (folder / "printed.txt").write_text(done.stdout, encoding="utf-8")

    return make_once(shared / "labelled-run", make)


@pytest.fixture
def a_copy(a_labelled_run: Path, tmp_path: Path) -> Path:
    """The labelled run at a place of its own, which the test may change."""
    return Path(shutil.copytree(a_labelled_run, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def gate(bench: Bench, a_copy: Path) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """`gate(…)`: the real command against the labelled run; what it printed, and its cells by id."""

    def run(*arguments: object) -> tuple[Any, dict[str, Any]]:
        folder = a_copy / "gate"
        command = ("gate", "--baseline", a_copy / "run", "--matrix", a_copy / "matrix.toml", "--out", folder)
        done = bench(*command, *BRIEFLY, *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        record = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
        return done, {cell["cell"]: cell for cell in record["cells"]}

    return run


def test_the_metric_of_every_cell_is_that_of_numpy_and_both_workloads_share_it(a_labelled_run: Path) -> None:
    accuracy = float((a_labelled_run / "accuracy.txt").read_text(encoding="utf-8"))
    outcomes = outcomes_of(a_labelled_run / "run", "precision", "workload")
    assert len(outcomes) == 4
    for name, outcome in outcomes.items():
        task = outcome["task"]
        assert (task["metric"], task["samples"], task["fault"]) == ("accuracy", 600, None)
        assert task["reference"] == pytest.approx(accuracy)
        assert task["loss"]["low"] < task["loss"]["value"] + 1e-9 < task["loss"]["high"]
        assert (task["value"] == task["reference"]) or name.startswith("int8")
    printed = (a_labelled_run / "printed.txt").read_text(encoding="utf-8")
    assert printed.count("tiny/int8/cpu ") == 1
    assert "accuracy" in printed


def test_a_gate_finds_a_class_whose_weights_are_zero(gate: Any, a_copy: Path) -> None:
    shutil.copy(a_copy / "wrong.onnx", a_copy / "model.onnx")
    done, cells = gate("--only", "*/b8")
    assert done.returncode == 1, done.stdout
    for precision in ("fp32", "int8"):
        cell = cells[f"tiny/{precision}/cpu/b8"]
        assert cell["verdict"] == "worse-answers", cell
        assert cell["reason"].startswith("worse answers: accuracy ")
        # The file is its own reference, so nothing but the labels shows the loss.
        assert cell["new_status"] == "ok"
        assert cell["task"]["loss"]["low"] > 5
    assert "worse answers" in done.stdout


def test_a_gate_without_a_change_finds_no_worse_answers(gate: Any) -> None:
    done, cells = gate("--only", "*/b8")
    assert done.returncode in (0, 3), done.stdout
    for cell in cells.values():
        assert cell["verdict"] in ("pass", "inconclusive")
        assert cell["stage"] != "labels"
        assert cell["task"]["loss"]["value"] == 0
        assert any(note.startswith("accuracy ") for note in cell["notes"])


def test_labels_that_do_not_fit_end_with_one_sentence_before_anything_is_built(bench: Bench, a_copy: Path) -> None:
    lines = (a_copy / "labels.csv").read_text(encoding="utf-8").splitlines()
    (a_copy / "labels.csv").write_text("\n".join(lines[:-1]), encoding="utf-8")
    done = bench("run", "--matrix", a_copy / "matrix.toml", "--out", a_copy / "again", "--format", "json")
    assert done.returncode != 0
    assert "labels.csv has 599 labels for 600 samples" in done.stderr
    assert "built fp32" not in done.stderr
