"""Real providers as they are: they fall back, answer wrong, refuse and crash, and each of it is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.machine.fingerprint import fingerprint
from tests.end_to_end.conftest import REPO, build_runtime, call_bench, outcomes_of
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

DEFAULT = (REPO / "matrix.toml").read_text(encoding="utf-8")
RUNTIMES = DEFAULT[DEFAULT.index("[runtimes.ort]") :]

MAKE_MODELS = """
import sys
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
rng = np.random.default_rng(0)

def save(name, nodes, inputs, outputs, weights, opset=17):
    infos = [h.make_tensor_value_info(*one) for one in inputs], [h.make_tensor_value_info(*one) for one in outputs]
    graph = h.make_graph(nodes, name, *infos, [n.from_array(array, key) for key, array in weights.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")

def noise(*shape):
    return rng.standard_normal(shape).astype(np.float32) / 8

save("product", [h.make_node("MatMul", ["x", "w"], ["y"]), h.make_node("Relu", ["y"], ["z"])],
     [("x", T.FLOAT, ["batch", 64])], [("z", T.FLOAT, ["batch", 64])], {"w": noise(64, 64)})

# A Fourier transform whose frame length is no constant: the QNN plugin 2.7.0 dies on it.
save("fourier", [h.make_node("STFT", ["signal", "step_mask", "", "length_mask"], ["out"])],
     [("signal", T.FLOAT, [1, 128, 1]), ("step_mask", T.INT64, []), ("length_mask", T.INT64, [])],
     [("out", T.FLOAT, [1, 15, 9, 2])], {})

# An inverted residual; quantized dynamically, onnxruntime-openvino 1.24.1 makes a cycle of it.
shapes = {"w0": (8, 3, 3, 3), "w1": (16, 8, 1, 1), "w2": (16, 1, 3, 3), "w3": (8, 16, 1, 1), "w4": (16, 8, 1, 1)}
weights = {key: noise(*shape) for key, shape in shapes.items()}
weights |= {f"{key}_bias": noise(shape[0]) for key, shape in shapes.items()}
weights |= {"low": np.float32(0), "high": np.float32(6)}

def conv(x, w, y, group=1):
    size = shapes[w][2]
    return h.make_node("Conv", [x, w, f"{w}_bias"], [y], kernel_shape=[size] * 2, pads=[size // 2] * 4, group=group)

def clip(x, y):
    return h.make_node("Clip", [x, "low", "high"], [y])

save("residual",
     [conv("x", "w0", "c0"), clip("c0", "r0"), conv("r0", "w1", "c1"), clip("c1", "r1"), conv("r1", "w2", "c2", 16),
      clip("c2", "r2"), conv("r2", "w3", "c3"), h.make_node("Add", ["r0", "c3"], ["a"]), conv("a", "w4", "c4"),
      h.make_node("GlobalAveragePool", ["c4"], ["p"]), h.make_node("Flatten", ["p"], ["z"])],
     [("x", T.FLOAT, ["batch", 3, 16, 16])], [("z", T.FLOAT, ["batch", 16])], weights)
"""
BERT = {
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "pad_token_id": 0,
}


TARGETS = """
[providers.cpu]
[providers.cpu-older]
like = "cpu"
runtime = "ort-older"
[providers.silent]
ep = "WebGpuExecutionProvider"
runtime = "ort"

[providers.webgpu-software]
[providers.webgpu]
runtime = "webgpu-software"
[providers.webgpu-not-installed]
like = "webgpu-software"
runtime = "ort"

[providers.qnn-emulator]
[providers.qnn-dynamic]
like = "qnn-emulator"
static_shapes = false
[providers.qnn-without-backend]
like = "qnn-emulator"
options = { backend_type = "", backend_path = "no-such-backend.so" }
[providers.qnn-unknown-option]
like = "qnn-emulator"
options = { no_such_option = 1 }

[providers.openvino-cpu]
[providers.openvino-gpu]
runtime = "openvino-cpu"
[providers.openvino-bf16]
like = "openvino-cpu"
options = { load_config = '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}' }
[providers.openvino-unknown-option]
like = "openvino-cpu"
options = { no_such_option = 1 }

[runtimes.ort-older]
requires = ["onnxruntime==1.30.0", "numpy==2.4.6"]
"""
PRECISIONS = """
[precisions.fp32]
onnx-file = "fp32"
text-encoder = "fp32"
[precisions.fp16]
onnx-file = "fp16"
[precisions.int8]
onnx-file = "dynamic-int8"
"""
MODELS = ("product", "fourier", "residual", "bert-of-four-layers")
ONLY = (
    "product/fp32/*",
    "product/int8/webgpu-software/*",
    "product/fp16/cpu/*",
    "product/fp16/webgpu-software/*",
    "product/fp16/qnn-emulator/*",
    "fourier/fp32/cpu/*",
    "fourier/fp32/qnn-emulator/*",
    "residual/fp32/openvino-cpu/*",
    "residual/int8/cpu/*",
    "residual/int8/openvino-cpu/*",
    "bert-of-four-layers/fp32/qnn-emulator/*",
)
"""The cells that the tests below look at."""


def model_table(folder: Path, name: str) -> str:
    if name.startswith("bert"):
        source, family, work = f"config:{folder / name}.json", "text-encoder", "{ batch = 2, sequence = 32 }"
    else:
        source, family, work = f"onnx:{folder / name}.onnx", "onnx-file", "{ batch = 1 }"
    return f'[models.{name}]\nfamily = "{family}"\nsource = "{source}"\nworkloads = [{work}]\n'


@pytest.fixture(scope="session")
def run(cache: Path, shared: Path, environment: dict[str, str]) -> Path:
    """One run of small models that some provider cannot run, on providers that need no hardware: its folder."""

    def make(folder: Path) -> None:
        command = [str(build_runtime(cache)), "-c", MAKE_MODELS, str(folder)]
        subprocess.run(command, check=True, timeout=120)
        (folder / "bert-of-four-layers.json").write_text(json.dumps(BERT), encoding="utf-8")
        tables = "".join(model_table(folder, name) for name in MODELS)
        path = folder / "matrix.toml"
        path.write_text(
            f"schema = 1\n[measure]\nthreads = 1\n{tables}{PRECISIONS}{TARGETS}{RUNTIMES}", encoding="utf-8"
        )
        only = [word for cells in ONLY for word in ("--only", cells)]
        formats = ("--format", "json,html,csv,markdown")
        done = call_bench(folder, environment, "run", "--matrix", path, "--out", folder / "run", *formats, *only)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0, done.stderr

    return make_once(shared / "providers", make) / "run"


@pytest.fixture(scope="session")
def found(run: Path) -> dict[str, dict]:
    """Every outcome of that run by `model/precision/target`."""
    return outcomes_of(run, "model", "precision", "target")


def no_speed(outcome: dict) -> bool:
    return outcome["speed"] is None


# --- another device than the row names is never measured -------------------------------------------------------------


def test_a_plugin_named_as_if_it_were_built_in_is_unavailable_and_not_a_silent_cpu_session(found):
    outcome = found["product/fp32/silent"]
    assert outcome["status"] == "unavailable"
    assert "WebGpuExecutionProvider is not in this onnxruntime" in outcome["reason"]
    assert no_speed(outcome)


def test_a_device_that_is_not_there_is_unavailable_in_the_providers_own_words(found):
    outcome = found["product/fp32/openvino-gpu"]
    assert outcome["status"] == "unavailable"
    assert "GPU" in outcome["reason"]
    assert no_speed(outcome)


def test_qnn_with_a_dynamic_batch_is_unsupported_because_no_node_is_on_it(found):
    outcome = found["product/fp32/qnn-dynamic"]
    assert (outcome["status"], outcome["nodes_on_target"]) == ("unsupported", 0)
    assert "no node" in outcome["reason"]
    assert no_speed(outcome)


def test_a_backend_that_does_not_load_is_told_with_what_the_provider_said(found):
    outcome = found["product/fp32/qnn-without-backend"]
    assert outcome["status"] in ("unsupported", "unavailable")
    assert "no-such-backend.so" in outcome["reason"]
    assert no_speed(outcome)


def test_a_plugin_that_is_not_installed_says_what_to_install(found):
    outcome = found["product/fp32/webgpu-not-installed"]
    assert outcome["status"] == "unavailable"
    assert outcome["failure"]["kind"] == "not-installed"
    assert "onnxruntime-ep-webgpu" in outcome["remedy"]


def test_a_plugin_that_finds_no_device_says_so(found):
    if any(each.kind == "gpu" for each in fingerprint().accelerators):
        pytest.skip("a machine without a GPU is not on this system")
    assert found["product/fp32/webgpu"]["failure"]["kind"] in ("no-device", "registers-nothing")
    assert found["product/fp32/webgpu-software"]["status"] == "ok"


# --- wrong, refused, crashed -----------------------------------------------------------------------------------------


def test_a_bert_that_qnn_computes_wrong_is_inaccurate_with_the_numbers_and_shows_no_speed(found):
    outcome = found["bert-of-four-layers/fp32/qnn-emulator"]
    assert outcome["status"] == "inaccurate"
    assert outcome["parity"]["cosine"] < 0.97
    assert "cosine" in outcome["reason"]
    assert no_speed(outcome)
    assert outcome["cell"]["emulated"]


def test_a_segfault_in_a_provider_costs_its_own_cell_and_no_other(found):
    crashed = found["fourier/fp32/qnn-emulator"]
    assert crashed["status"] == "crashed"
    assert (crashed["failure"]["signal"], crashed["failure"]["stage"]) == ("SIGSEGV", "session")
    assert found["fourier/fp32/cpu"]["status"] == found["product/fp32/cpu"]["status"] == "ok"
    assert found["product/fp32/qnn-emulator"]["nodes_on_target"] > 0


def test_a_model_that_a_provider_refuses_is_unsupported_with_its_own_words(found):
    refused = found["residual/int8/openvino-cpu"]
    assert refused["status"] == "unsupported"
    assert "not acyclic" in refused["reason"]
    assert found["residual/fp32/openvino-cpu"]["status"] == "ok"
    assert found["residual/int8/cpu"]["status"] == "ok"


# --- what ran where, and in which precision --------------------------------------------------------------------------


def test_int8_on_webgpu_is_partial_with_its_copies_and_the_share_of_time(found):
    outcome = found["product/int8/webgpu-software"]
    assert outcome["status"] == "partial"
    assert any(op.startswith("MatMulInteger") for op in outcome["fallback_ops"])
    assert outcome["placement"]["copies"] > 0
    assert 0 < outcome["placement"]["time_elsewhere"] <= 1


def test_fp32_that_is_computed_in_bf16_is_flagged(found):
    if "avx512_bf16" not in fingerprint().cpu.isa:
        pytest.skip("BF16 arithmetic is not on this system")
    outcome = found["product/fp32/openvino-bf16"]
    assert outcome["executed"] == "bf16"
    assert outcome["status"] == "inaccurate" or "reduced precision" in outcome["flags"]


def test_fp16_on_the_cpu_provider_is_flagged_as_casts_around_fp32(found):
    assert found["product/fp16/cpu"]["executed"] == "fp32 between casts"
    assert "casts around FP32" in found["product/fp16/cpu"]["flags"]
    assert found["product/fp16/webgpu-software"]["executed"] == "fp16"
    assert "casts around FP32" not in found["product/fp16/webgpu-software"]["flags"]


def test_an_emulators_time_is_marked_and_in_no_ranking(found):
    outcome = found["product/fp16/qnn-emulator"]
    assert outcome["status"] in ("ok", "inaccurate")
    assert "emulated" in outcome["flags"]
    assert outcome["speed"] is None or outcome["speed"]["ratio_to_control"] is None


def test_an_option_that_does_not_exist_is_told_where_the_provider_does_not_check(found):
    assert "unchecked option" in found["product/fp32/qnn-unknown-option"]["flags"]
    assert found["product/fp32/openvino-unknown-option"]["status"] == "unsupported"
    assert "no_such_option" in found["product/fp32/openvino-unknown-option"]["reason"]


# --- time to answer, and runtimes as an axis -------------------------------------------------------------------------


def test_a_provider_with_a_compile_cache_says_how_it_starts_cold_and_cached(found):
    for target in ("webgpu-software", "openvino-cpu"):
        outcome = found[f"product/fp32/{target}"]
        assert outcome["cold"]["load_ns"] > 0
        assert outcome["cached"]["first_call_ns"] > 0
    assert found["product/fp32/cpu"]["cold"] is None


def test_two_versions_of_onnxruntime_are_two_targets_side_by_side(found, run):
    versions = {target: found[f"product/fp32/{target}"]["versions"]["onnxruntime"] for target in ("cpu", "cpu-older")}
    assert versions == {"cpu": "1.31.1", "cpu-older": "1.30.0"}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "1.30.0" in page
    assert "1.31.1" in page
