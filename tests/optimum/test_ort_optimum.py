"""Plain ONNX Runtime over optimum's decoders: PyTorch's logits for architectures that genai's builder does not take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generators import a_source
from visits import CPU, HASTE, a_provider, a_visit

from bench.records import Build, Recipe, Source, Visit
from bench.worker import engines, families, optimum_export, parity_tokens
from bench.worker.artifacts import build
from bench.worker.engines import optimum, ort_optimum
from bench.worker.refusal import Refusal

SIZES = [
    {"batch": 1, "prompt": 24, "new": 8, "context": 0},
    {"batch": 2, "prompt": 6, "new": 6, "context": 5},
]
NAMES = ["gpt2", "gpt-neox", "opt", "falcon", "bloom", "stablelm", "qwen3-moe", "phi3-groups"]


def an_export(out: Path, source: Source) -> Path:
    out.mkdir()
    build(Build("optimum", "text-generator", source, Recipe("fp32"), str(out)))
    return out


def a_generation(artifact: Path, engine: str = "ort-optimum", **changes) -> Visit:
    said = {
        "engine": engine,
        "family": "text-generator",
        "recipe": Recipe("fp32", number_format="fp32"),
        "effort": HASTE,
    }
    return a_visit(artifact, **(said | {"provider": a_provider(CPU)} | changes))


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_as_pytorch_does(tmp_path, name):
    source, module = a_source(tmp_path, name), families.named("text-generator")
    session = ort_optimum.Session(a_generation(an_export(tmp_path / "model", source)))
    for sizes in SIZES:
        batches = module.make_inputs(source, sizes, None)
        for feed, outputs in zip(batches, module.reference(source, batches, sizes["new"])[0], strict=True):
            forced = outputs["tokens"][:, : outputs["logits"].shape[1]]
            pair = outputs["logits"].astype(np.float64), session.score(feed, forced).astype(np.float64)
            assert parity_tokens.kl(*pair).max() < 1e-9
            written = np.stack(list(session.begin(feed, sizes["new"])), axis=1)
            np.testing.assert_array_equal(written, outputs["tokens"])


def test_a_multi_query_model_keeps_one_head_and_every_logit_of_a_prompt(tmp_path):
    session = ort_optimum.Session(a_generation(an_export(tmp_path / "model", a_source(tmp_path, "falcon"))))
    traits = session.traits({"batch": 3, "prompt": 10, "new": 6})
    # Two layers, keys and values, one head of 32 numbers in four bytes each.
    assert traits.kv_bytes == 2 * 2 * 3 * 16 * 32 * 4
    assert (traits.kv_type, traits.logits, traits.weights) == ("fp32", "every token", "fp32")
    assert sum(session.placement.nodes[CPU].values()) > 50


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("phi3-groups", "4 heads of 32 numbers to a phi3 model, and its own export has 2 of 32"),
        ("llama-narrow", "2 heads of 32 numbers to a llama model, and its own export has 2 of 16"),
    ],
)
def test_optimums_own_class_is_refused_where_it_takes_the_cache_for_another(tmp_path, name, shapes):
    folder = an_export(tmp_path / "model", a_source(tmp_path, name))
    with pytest.raises(Refusal, match=f"optimum gives a cache of {shapes}") as refused:
        optimum.Session(a_generation(folder, "optimum", provider=None))
    assert "ort-optimum" in refused.value.remedy
    assert ort_optimum.Session(a_generation(folder)).traits({"batch": 1, "prompt": 2, "new": 2}).kv_bytes


def test_an_architecture_that_optimum_does_not_know_is_a_refusal_with_its_name(tmp_path):
    with pytest.raises(Refusal, match=r"optimum-onnx \S+ does not know MixtralForCausalLM") as refused:
        an_export(tmp_path / "model", a_source(tmp_path, "mixtral"))
    assert refused.value.status == "unsupported"
    assert refused.value.remedy


def test_a_folder_that_is_no_decoder_with_past_is_refused(tmp_path):
    with pytest.raises(Refusal, match="cannot be read: FileNotFoundError"):
        optimum_export.read(tmp_path)


def test_a_provider_of_fixed_shapes_is_refused(tmp_path):
    with pytest.raises(Refusal, match="fixed shapes only"):
        engines.named("ort-optimum").Session(a_generation(tmp_path, provider=a_provider(CPU, static_shapes=True)))
