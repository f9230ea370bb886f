"""Files that ONNX Runtime breaks by optimizing them, through the real command: the row names the optimizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import CPU, build_runtime, call_bench, outcomes_of, write_matrix
from tests.shared import make_once

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(sys.platform != "linux", reason="the crash is that of one layout of the CPU's kernels"),
]

MAKE_MODELS = """
import sys
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
def save(name, nodes, source, **weights):
    graph = h.make_graph(nodes, name, [source], [h.make_tensor_value_info("y", T.FLOAT, None)],
                         [n.from_array(np.asarray(value), key) for key, value in weights.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")
rng = np.random.default_rng(0)
save("half", [h.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 0]), h.make_node("Cast", ["t"], ["c"], to=T.FLOAT),
     h.make_node("MatMul", ["c", "w"], ["y"])], h.make_tensor_value_info("x", T.FLOAT16, [1, "batch", "width"]),
     w=rng.standard_normal((1, 4)).astype(np.float32))
mean = h.make_node("ReduceMean", ["sq"], ["vr"], axes=[-1], keepdims=1)
save("norm", [h.make_node("Pow", ["x", "two"], ["sq"]), mean,
     h.make_node("Add", ["vr", "eps"], ["ve"]), h.make_node("Sqrt", ["ve"], ["sd"]),
     h.make_node("Div", ["x", "sd"], ["nm"]), h.make_node("Mul", ["nm", "scale"], ["y"])],
     h.make_tensor_value_info("x", T.FLOAT, ["batch", 1]), two=np.float32(2), eps=np.float32(1e-5),
     scale=np.array([1, 2], np.float32))
"""
FIXED = '[providers.fixed]\nep = "CPUExecutionProvider"\noptimization = "all"\n'


@pytest.fixture(scope="session")
def broken(shared: Path, environment: dict[str, str], cache: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of a run of both files, by model and target."""

    def make(folder: Path) -> None:
        subprocess.run([str(build_runtime(cache)), "-c", MAKE_MODELS, str(folder)], check=True, timeout=120)
        models = "\n".join(
            f'[models.{name}]\nfamily = "onnx-file"\nsource = "onnx:{name}.onnx"\nworkloads = [{{ batch = 4 }}]\n'
            for name in ("half", "norm")
        )
        path = write_matrix(folder, folder / "half.onnx", CPU + FIXED, more=models)
        arguments = ("--minutes", "0.5", "--skip", "tiny/*", "--format", "json,csv,html,markdown")
        done = call_bench(folder, environment, "run", "--matrix", path, "--out", folder / "run", *arguments)
        assert done.returncode == 0, done.stderr
        (folder / "printed").write_text(done.stdout, encoding="utf-8")

    return outcomes_of(make_once(shared / "broken-by-optimization", make) / "run", "model", "target")


def test_a_crash_and_a_failure_become_the_speed_of_a_level_that_is_right(broken: dict[str, Any]) -> None:
    half, norm = broken["half/cpu"], broken["norm/cpu"]
    assert (half["status"], half["optimization"], half["faulty_optimizers"]) == ("ok", "extended", ["NchwcTransformer"])
    assert (norm["status"], norm["optimization"]) == ("ok", "basic")
    assert norm["faulty_optimizers"] == ["SimplifiedLayerNormFusion"]
    for outcome in (half, norm):
        assert "lower optimization" in outcome["flags"]
        assert outcome["speed"]["latency_ms"]["value"] > 0
        assert outcome["rounds"] >= 1


def test_a_level_that_the_matrix_sets_stays_and_the_remedy_names_the_right_one(broken: dict[str, Any]) -> None:
    half, norm = broken["half/fixed"], broken["norm/fixed"]
    assert (half["status"], norm["status"]) == ("crashed", "failed")
    assert half["remedy"] == (
        "set optimization = 'extended' for the provider, or switch off NchwcTransformer alone by a session entry"
    )
    assert norm["remedy"].startswith("set optimization = 'basic' for the provider, or switch off Simplified")


def test_every_report_names_the_optimizer(broken: dict[str, Any], shared: Path) -> None:
    folder = shared / "broken-by-optimization"
    named = "optimization 'all' crashes because of NchwcTransformer"
    # The terminal's table folds its sentences, but no word.
    assert "NchwcTransformer" in (folder / "printed").read_text(encoding="utf-8")
    for report in ("results.csv", "results.json", "report.html", "summary.md"):
        text = (folder / "run" / report).read_text(encoding="utf-8").replace("&#39;", "'")
        assert named in text, report
