"""Files with odd answers through the real command: what no reference can check, texts, and scores that vanish."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import CPU, build_runtime, call_bench, outcomes_of, write_matrix
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

MAKE_MODELS = """
import sys
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
rng = np.random.default_rng(0)
def save(name, nodes, outputs, **weights):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info("x", T.FLOAT, ["batch", 64])], outputs,
                         [n.from_array(np.asarray(value), key) for key, value in weights.items()])
    opsets = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(h.make_model(graph, opset_imports=opsets, ir_version=9), f"{sys.argv[1]}/{name}.onnx")
w = rng.standard_normal((64, 64)).astype(np.float32) / 8
y = h.make_tensor_value_info("y", T.FLOAT, ["batch", None])
save("random", [h.make_node("MatMul", ["x", "w"], ["m"]), h.make_node("RandomNormalLike", ["m"], ["e"]),
                h.make_node("Add", ["m", "e"], ["y"])], [y], w=w)
save("texts", [h.make_node("LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", multi_class=1,
      coefficients=w[:3].ravel().tolist(), intercepts=[0.0, 0.1, 0.2], classlabels_strings=["a", "bb", "c"],
      post_transform="SOFTMAX")], [h.make_tensor_value_info("label", T.STRING, ["batch"]), y])
nodes = [h.make_node("MatMul", ["x", "w"], ["m"]), h.make_node("Reshape", ["m", "s"], ["p"])]
nodes += [h.make_node("Mul", ["p", "scale"], ["y"])]
save("uneven", nodes, [h.make_tensor_value_info("y", T.FLOAT, ["batch", 8, 8])], w=w, s=np.array([-1, 8, 8]),
     scale=np.where(np.arange(8) < 4, 1000, 0.1).astype(np.float32)[:, None])
"""


@pytest.fixture(scope="session")
def answers(shared: Path, environment: dict[str, str], cache: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of a run of all three files, by model and precision."""

    def make(folder: Path) -> None:
        subprocess.run([str(build_runtime(cache)), "-c", MAKE_MODELS, str(folder)], check=True, timeout=120)
        models = "\n".join(
            f'[models.{name}]\nfamily = "onnx-file"\nsource = "onnx:{name}.onnx"\nworkloads = [{{ batch = 16 }}]\n'
            for name in ("random", "texts", "uneven")
        )
        whole = '[precisions.whole]\nonnx-file = { recipe = "static-qdq-int8", coverage = "all" }\n'
        path = write_matrix(folder, folder / "random.onnx", CPU, more=models + whole)
        done = call_bench(
            folder,
            environment,
            "run",
            "--matrix",
            path,
            "--out",
            folder / "run",
            "--format",
            "json,csv",
            "--minutes",
            "0.5",
            "--budget",
            "quick",
            "--skip",
            "tiny/*",
        )
        assert done.returncode == 0, done.stderr

    return outcomes_of(make_once(shared / "odd-answers", make) / "run", "model", "precision")


def test_a_random_file_is_unchecked_in_every_precision_and_its_speed_has_no_rank(answers: dict[str, Any]) -> None:
    for precision in ("fp32", "whole"):
        outcome = answers[f"random/{precision}"]
        assert outcome["status"] == "unchecked"
        assert outcome["reason"].startswith(
            "the model is random: its own reference gives another answer each time ('y')"
        )
        assert outcome["speed"]["latency_ms"]["value"] > 0
        assert outcome["speed"]["ratio_to_control"] is None


def test_labels_that_are_texts_are_right_and_the_file_that_cannot_be_quantized_says_so(answers: dict[str, Any]) -> None:
    outcome = answers["texts/fp32"]
    assert outcome["status"] == "ok"
    assert outcome["parity"]["agreement"] == 1.0
    assert {output["name"]: output["kind"] for output in outcome["parity"]["outputs"]} == {
        "label": "text",
        "y": "float",
    }


def test_int8_that_loses_the_small_half_of_one_output_is_inaccurate_and_names_it(answers: dict[str, Any]) -> None:
    assert answers["uneven/fp32"]["status"] == "ok"
    assert len(answers["uneven/fp32"]["parity"]["outputs"][0]["blocks"]) == 2
    outcome = answers["uneven/whole"]
    assert outcome["status"] == "inaccurate"
    assert outcome["reason"].startswith("output 'y' (4..7 of axis 1): cosine")
