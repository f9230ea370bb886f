"""The engines themselves, on real libraries: what they place where, what they refuse, and what a call gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.declare.budgets import BUDGETS
from bench.records import Probe, Recipe, Source, Visit
from bench.worker.engines import ort
from bench.worker.refusal import Refusal

CPU = "CPUExecutionProvider"
FP32 = Recipe(name="fp32")
CONFIGS = Path(__file__).parent.parent.parent / "bench" / "worker" / "configs"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with a small model: y = relu(x @ w), of any batch."""
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def a_visit(artifact: Path | None = None, **changes: object) -> Visit:
    """A visit of the small model on the CPU provider."""
    said = {
        "engine": "ort",
        "family": "onnx-file",
        "source": Source(kind="onnx", path="", weights="pretrained", digest=""),
        "recipe": FP32,
        "jobs": (),
        "threads": 1,
        "effort": BUDGETS["quick"],
        "artifact": str(artifact) if artifact else None,
        "provider": CPU,
    }
    return Visit(**(said | changes))


def test_a_call_gives_what_onnxruntime_gives(artifact):
    session = ort.Session(a_visit(artifact))
    feed = {"x": np.ones((3, 8), np.float32)}
    expected = onnxruntime.InferenceSession(artifact / "model.onnx").run(None, feed)[0]
    np.testing.assert_array_equal(session.outputs(session.bind(feed)())["y"], expected)


def test_the_placement_counts_every_node_by_its_provider(artifact):
    placement = ort.Session(a_visit(artifact)).placement
    assert placement is not None
    assert placement.nodes == {CPU: {"MatMul": 1, "Relu": 1}}
    assert placement.source == "assignment-info"


def test_an_input_that_the_model_does_not_take_is_left_out(artifact):
    session = ort.Session(a_visit(artifact))
    feed = {"x": np.ones((1, 8), np.float32), "token_type_ids": np.zeros((1, 8), np.int64)}
    assert session.outputs(session.bind(feed)())["y"].shape == (1, 4)


def test_a_provider_that_the_wheel_lacks_is_refused_and_not_replaced_by_the_cpu(artifact):
    with pytest.raises(Refusal) as refused:
        ort.Session(a_visit(artifact, provider="CUDAExecutionProvider"))
    assert refused.value.status == "unavailable"
    assert CPU in refused.value.message


def test_a_session_entry_reaches_onnxruntime(artifact):
    with pytest.raises(Exception, match="disabled fallback to the CPU"):
        ort.Session(a_visit(artifact, session={"session.disable_cpu_ep_fallback": "1"}))


def test_a_probe_says_what_is_there():
    assert ort.probe(Probe(engine="ort", provider=CPU)).available
    missing = ort.probe(Probe(engine="ort", provider="NoSuchExecutionProvider"))
    assert not missing.available
    assert missing.remedy


def a_torch_visit(recipe: str, mode: str = "eager", scratch: str = "") -> Visit:
    """A visit of the smallest image classifier in PyTorch."""
    source = Source(kind="config", path=str(CONFIGS / "vit-tiny.json"), weights="random", digest="")
    return a_visit(
        engine="torch",
        family="image-classifier",
        source=source,
        recipe=Recipe(name=recipe),
        mode=mode,
        provider=None,
        scratch=scratch,
    )


def images() -> dict[str, np.ndarray]:
    """Two pictures of noise."""
    return {"pixel_values": np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)}


def test_bf16_is_computed_in_bf16_or_refused_by_name():
    torch = pytest.importorskip("torch")
    from bench.worker.engines import torch as engine

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(Refusal, match="bf16"):
            engine.Session(a_torch_visit("bf16"))
        return
    exact, rounded = engine.Session(a_torch_visit("fp32")), engine.Session(a_torch_visit("bf16"))
    result = rounded.bind(images())()
    assert result["logits"].dtype == torch.bfloat16
    want = exact.outputs(exact.bind(images())())["logits"]
    error = np.abs(rounded.outputs(result)["logits"] - want).max() / np.abs(want).max()
    assert 1e-4 < error < 0.1


def test_torch_has_the_threads_that_it_is_told():
    torch = pytest.importorskip("torch")
    from bench.worker.engines import torch as engine

    assert engine.Session(a_torch_visit("fp32")).threads == 1
    assert torch.get_num_threads() == 1


def test_fp16_on_a_cpu_that_lacks_it_is_refused_and_never_emulated():
    torch = pytest.importorskip("torch")
    from bench.worker.engines import torch as engine

    if torch.ops.mkldnn._is_mkldnn_fp16_supported():
        assert engine.Session(a_torch_visit("fp16")).dtype == torch.float16
        return
    with pytest.raises(Refusal, match="emulate"):
        engine.Session(a_torch_visit("fp16"))


def test_dynamic_int8_is_not_compiled():
    pytest.importorskip("torch")
    from bench.worker.engines import torch as engine

    with pytest.raises(Refusal, match="dynamically quantized"):
        engine.Session(a_torch_visit("dynamic-int8", mode="compile"))


def test_without_a_compiler_torch_compile_is_unavailable(monkeypatch):
    pytest.importorskip("torch")
    from bench.worker.engines import torch as engine

    monkeypatch.setattr(engine.shutil, "which", lambda _name: None)
    with pytest.raises(Refusal) as refused:
        engine.Session(a_torch_visit("fp32", mode="compile"))
    assert refused.value.status == "unavailable"
