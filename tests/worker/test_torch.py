"""The engine of PyTorch: precisions that are real or refused, its devices, and what a probe finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from visits import a_visit

from bench.records import Probe, Recipe, Source
from bench.worker.engines import torch as engine
from bench.worker.pytorch import loading
from bench.worker.refusal import Refusal

CONFIGS = Path(__file__).parent.parent.parent / "bench" / "worker" / "configs"


def a_torch_visit(recipe: str, mode: str = "eager", scratch: str = "", **options: str):
    """A visit of the smallest image classifier in PyTorch."""
    source = Source(kind="config", path=str(CONFIGS / "vit-tiny.json"), weights="random", digest="")
    return a_visit(
        engine="torch",
        family="image-classifier",
        source=source,
        recipe=Recipe(recipe, number_format=recipe.rpartition("-")[2]),
        mode=mode,
        provider=None,
        scratch=scratch,
        options=options,
    )


def images() -> dict[str, np.ndarray]:
    """Two pictures of noise."""
    return {"pixel_values": np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)}


def test_bf16_is_computed_in_bf16_or_refused_by_name():
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(Refusal, match="bf16"):
            engine.Session(a_torch_visit("bf16"))
        return
    exact, rounded = engine.Session(a_torch_visit("fp32")), engine.Session(a_torch_visit("bf16"))
    result = rounded.bind(images())()
    assert result["logits"].dtype == torch.bfloat16  # type: ignore[index]
    want = exact.outputs(exact.bind(images())())["logits"]
    error = np.abs(rounded.outputs(result)["logits"] - want).max() / np.abs(want).max()
    assert 1e-4 < error < 0.1


def test_torch_has_the_threads_that_it_is_told():
    assert engine.Session(a_torch_visit("fp32")).threads == 1
    assert torch.get_num_threads() == 1


def test_fp16_on_a_cpu_that_lacks_it_is_refused_and_never_emulated():
    if torch.ops.mkldnn._is_mkldnn_fp16_supported():
        assert engine.Session(a_torch_visit("fp16")).dtype == torch.float16
        return
    with pytest.raises(Refusal, match="emulate"):
        engine.Session(a_torch_visit("fp16"))


def test_dynamic_int8_is_not_compiled():
    with pytest.raises(Refusal, match="dynamically quantized"):
        engine.Session(a_torch_visit("dynamic-int8", mode="compile"))


def test_without_a_compiler_torch_compile_is_unavailable_to_a_visit_and_to_a_probe(monkeypatch):
    monkeypatch.setattr(loading.shutil, "which", lambda _name: None)
    with pytest.raises(Refusal) as refused:
        engine.Session(a_torch_visit("fp32", mode="compile"))
    assert refused.value.status == "unavailable"
    facts = engine.probe(Probe("torch", mode="compile"))
    assert not facts.available
    assert "compiler" in facts.message


# --- devices ----------------------------------------------------------------------------------------------------------


def test_cuda_without_cuda_is_unavailable_and_not_the_cpu():
    if torch.cuda.is_available():
        pytest.skip("a machine without CUDA is not on this system")
    with pytest.raises(Refusal) as refused:
        engine.Session(a_torch_visit("fp32", device="cuda"))
    assert (refused.value.status, refused.value.kind) == ("unavailable", "no-device")
    assert engine.probe(Probe("torch", options={"device": "cuda"})).kind == "no-device"


@pytest.mark.parametrize(
    ("cuda", "said", "remedy"),
    [
        (None, "sees no CUDA device: it is built without CUDA", "install a CUDA build of torch"),
        ("13.0", "sees no CUDA device: The NVIDIA driver is too old (found version 11040)", "nvidia-smi"),
    ],
)
def test_a_torch_without_cuda_is_told_from_a_driver_that_is_missing_or_too_old(monkeypatch, cuda, said, remedy):
    def init():
        raise RuntimeError(
            "The NVIDIA driver is too old (found version 11040). Please update it: http://www.nvidia.com"
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    with pytest.raises(Refusal) as refused:
        loading.select_device({"device": "cuda"})
    assert str(refused.value).endswith(said)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("name", ["gpu", "cuda:first", "cpu 0"])
def test_a_device_that_torch_does_not_know_is_refused_by_its_name(name):
    with pytest.raises(Refusal, match=name):
        engine.select_device({"device": name})


def test_a_call_on_a_device_takes_and_gives_tensors_on_the_host():
    session = engine.Session(a_torch_visit("fp32"))
    there = session.run_on_device({name: session.tensor(array) for name, array in images().items()})
    np.testing.assert_array_equal(session.outputs(there)["logits"], session.outputs(session.bind(images())())["logits"])


def test_fp32_keeps_all_its_bits_on_tensor_cores_too():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    engine.Session(a_torch_visit("fp32"))
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_a_probe_measures_what_each_precision_is_computed_in():
    facts = engine.probe(Probe("torch"))
    assert (facts.available, facts.device.label) == (True, "cpu.0")
    formats = {each.asked: each.format for each in facts.executes}
    assert formats["fp32"] == "fp32"
    bf16 = "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "refused"
    assert formats["bf16"] == bf16
