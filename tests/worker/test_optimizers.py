"""ONNX Runtime's own graph optimizers: two that really break a model, and the names by which they are switched off."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.measure.graph_optimizers import DISABLED, OPTIMIZERS

# A process of its own: one of these sessions kills it.
RUN = """
import sys
import numpy as np
from bench.records import CPU_PROVIDER, Provider
from bench.worker.onnx_runtime.sessions import Request, open_session
path, level, key, names = sys.argv[1:]
session = {key: names} if names else {}
opened = open_session(Provider(CPU_PROVIDER, optimization=level, session=session), Request(path)).session
(wanted,) = opened.get_inputs()
sizes = [size if isinstance(size, int) else 3 for size in wanted.shape]
kind = np.float16 if "float16" in wanted.type else np.float32
print(opened.run(None, {wanted.name: np.ones(sizes, kind)})[0].ravel().tolist())
"""
ALWAYS_ON = {
    "FreeDimensionOverrideTransformer",
    "RemoveDuplicateCastTransformer",
    "CastFloat16Transformer",
    "MemcpyTransformer",
}
"""What ONNX Runtime applies at every level, because kernels need it."""


def saved(path: Path, nodes: list[Any], source: Any, **weights: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [source],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def transposed_half(tmp_path: Path) -> Path:
    """Transpose, Cast from FP16, MatMul: what an FP16 LSTM gets around it. NchwcTransformer reads a null pointer."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 0]),
        helper.make_node("Cast", ["t"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, "b", "s"])
    return saved(tmp_path / "half.onnx", nodes, source, w=np.ones((1, 4), np.float32))


@pytest.fixture
def wide_norm(tmp_path: Path) -> Path:
    """An RMS norm whose scale is wider than its input, which SimplifiedLayerNormFusion does not notice."""
    steps = [("Pow", "x two", "sq"), ("Add", "vr eps", "ve"), ("Sqrt", "ve", "sd"), ("Div", "x sd", "nm")]
    nodes = [helper.make_node(op, inputs.split(), [output]) for op, inputs, output in steps]
    nodes.insert(1, helper.make_node("ReduceMean", ["sq"], ["vr"], axes=[-1], keepdims=1))
    nodes.append(helper.make_node("Mul", ["nm", "scale"], ["y"]))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 1])
    two, eps, scale = np.float32(2), np.float32(1e-5), np.array([1, 2], np.float32)
    return saved(tmp_path / "norm.onnx", nodes, source, two=two, eps=eps, scale=scale)


def ran(model: Path, level: str, *without: str) -> str:
    """What the model gives at a level, or how it ends."""
    command = [sys.executable, "-c", RUN, str(model), level, DISABLED, ";".join(without)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else f"ends with {done.returncode}"


@pytest.mark.skipif(
    onnxruntime.__version__.split(".")[:2] != ["1", "31"] or sys.platform != "linux", reason="the fault of one version"
)
def test_nchwc_crashes_on_a_transposed_half_and_is_switched_off_by_its_name(transposed_half):
    assert ran(transposed_half, "all") == "ends with -11"
    right = ran(transposed_half, "none")
    assert right.startswith("[1.0, ")
    assert ran(transposed_half, "extended") == right
    assert ran(transposed_half, "all", "NchwcTransformer") == right


@pytest.mark.skipif(onnxruntime.__version__.split(".")[:2] != ["1", "31"], reason="the fault of one version")
def test_a_fused_norm_fails_and_is_switched_off_by_its_name(wide_norm):
    assert ran(wide_norm, "extended") == "ends with 1"
    right = ran(wide_norm, "basic")
    assert len(right.split(",")) == 6
    # Names that a version does not have are ignored, so that one list serves several.
    assert ran(wide_norm, "all", "SimplifiedLayerNormFusion", "NoSuchOptimizer") == right


def test_every_optimizer_that_the_log_names_has_a_name_here(wide_norm):
    code = (
        "import sys, onnxruntime as ort; o = ort.SessionOptions(); o.log_severity_level = 0\n"
        "ort.InferenceSession(sys.argv[1], o, providers=['CPUExecutionProvider'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(wide_norm)], check=True, capture_output=True, text=True)
    applied = set(re.findall(r"GraphTransformer (\w+) modified", done.stderr))
    assert len(applied) > 40
    assert applied - {name for names in OPTIMIZERS.values() for name in names} <= ALWAYS_ON


def test_the_rules_inside_an_optimizer_have_names_of_their_own(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("Relu", ["i"], ["y"])]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b"])
    model = saved(tmp_path / "identity.onnx", nodes, source)

    def kept(*without: str) -> set[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.add_session_config_entry(DISABLED, ";".join(without))
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}

    assert kept("NoSuchOptimizer") == {"Relu"}
    assert kept("EliminateIdentity") == {"Identity", "Relu"}
