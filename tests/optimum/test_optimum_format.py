"""The format of optimum: what its recipes leave in a folder, and what they refuse to leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSpeechSeq2Seq

from bench.records import Build, Note, Recipe, Source, note
from bench.worker import families
from bench.worker.artifacts import build
from bench.worker.engines import optimum as engine
from bench.worker.formats import _decoder_trial
from bench.worker.formats import optimum as formats
from bench.worker.parity_tokens import kl
from bench.worker.recipes import recipes_of
from bench.worker.refusal import Refusal

CONFIGS = Path(engine.__file__).parents[1] / "configs"
SOURCES = {"text-generator": "llama-tiny", "speech-recognizer": "whisper-nano"}
FILES = {
    "text-generator": {"model.onnx"},
    "speech-recognizer": {"encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"},
}
CLASSES = {"text-generator": ORTModelForCausalLM, "speech-recognizer": ORTModelForSpeechSeq2Seq}


def a_source(path: Path) -> Source:
    return Source(kind="config", path=str(path), weights="random", digest="")


def made(out: Path, family: str, recipe: str, parent: Path | None = None) -> tuple[Note, ...]:
    source = a_source(CONFIGS / f"{SOURCES[family]}.json")
    order = Build("optimum", family, source, Recipe(recipe), str(out), str(parent) if parent else None)
    return build(order).notes


@pytest.fixture(scope="module", params=SOURCES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fp32(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(family)
    made(folder, family, "fp32")
    return folder


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_folder_holds_the_models_and_the_configs_and_nothing_else(fp32, family):
    names = {path.name for path in fp32.iterdir()}
    assert {name for name in names if ".onnx" in name} == FILES[family]
    assert {"config.json", "generation_config.json"} <= names
    assert not [path for path in fp32.iterdir() if path.is_dir()]


def test_the_export_is_what_from_pretrained_exports_for_a_user(fp32, family, tmp_path):
    families.named(family).save(a_source(CONFIGS / f"{SOURCES[family]}.json"), tmp_path)
    model = CLASSES[family].from_pretrained(tmp_path, export=True, local_files_only=True)
    users = Path(model.model_save_dir)
    assert {path.name for path in users.glob("*.onnx*")} == FILES[family]
    for name in FILES[family]:
        assert operators(users / name) == operators(fp32 / name)


def test_dynamic_int8_takes_every_product_with_weights_of_every_file(fp32, family, tmp_path):
    notes = made(tmp_path, family, "dynamic-int8", fp32)
    count = sum(operators(tmp_path / name).count("MatMulInteger") for name in FILES[family])
    assert notes == (note("quantized-products", products=count, total=count, number_format="int8"),)
    for name in FILES[family]:
        assert "MatMulInteger" in operators(tmp_path / name)
        scales = [t for t in onnx.load(tmp_path / name).graph.initializer if t.name.endswith("_scale")]
        assert all(t.dims and t.dims[0] > 1 for t in scales), "a scale for each channel"
    assert (tmp_path / "config.json").read_bytes() == (fp32 / "config.json").read_bytes()
    assert (tmp_path / "generation_config.json").is_file()


def test_dynamic_int8_answers_nearly_as_fp32_does(fp32, family, tmp_path):
    made(tmp_path, family, "dynamic-int8", fp32)
    want, have = (logits(folder) for folder in (fp32, tmp_path))
    divergence = float(kl(want, have).mean())
    limit = formats.dynamic_int8.tolerance[family]
    assert 0 < divergence < (limit.max_kl_random or limit.max_kl)


def logits(folder: Path) -> np.ndarray:
    """Of a prompt of noise, in float64."""
    model = engine.open_model(folder, threads=1)
    noise = torch.randn((1, 80, 3000), generator=torch.Generator().manual_seed(0))
    heard = model.encoder(noise, attention_mask=None) if model.config.is_encoder_decoder else None
    ids = torch.randint(3, 1000, (1, 24), generator=torch.Generator().manual_seed(0))
    return engine.step(model, ids, encoded=heard).logits.double().numpy()


def test_an_export_that_ends_well_and_cannot_run_is_refused(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()

    def fail(_export: object) -> None:
        raise RuntimeError("a graph without sense")

    monkeypatch.setattr(_decoder_trial, "run", fail)
    with pytest.raises(Refusal, match="optimum's export cannot run: a graph without sense") as refused:
        made(tmp_path / "out", "text-generator", "fp32")
    assert refused.value.status == "unsupported"
    assert "genai" in refused.value.remedy


def test_rotary_positions_of_transformers_5_are_exported_as_they_are_meant(tmp_path):
    said = json.loads((CONFIGS / "llama-tiny.json").read_text(encoding="utf-8"))
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(said | {"rope_theta": 500000.0}), encoding="utf-8")
    parameters = {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}}
    new.write_text(json.dumps({key: said[key] for key in said if key != "rope_theta"} | parameters), encoding="utf-8")
    answers = []
    for config in (old, new, CONFIGS / "llama-tiny.json"):
        out = tmp_path / f"of-{config.stem}"
        out.mkdir()
        build(Build("optimum", "text-generator", a_source(config), Recipe("fp32"), str(out)))
        answers.append(logits(out))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 1e-3


def test_numbers_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    family = families.named("text-generator")
    model = family.load(a_source(CONFIGS / "llama-tiny.json"))
    model.lm_head.weight.data[5] = float("nan")
    monkeypatch.setattr(family, "load", lambda _source: model)
    with pytest.raises(Refusal, match="not finite"):
        made(tmp_path, "text-generator", "fp32")


def test_a_recipe_that_needs_a_parent_says_so(tmp_path):
    with pytest.raises(ValueError, match="starts from the artifact of the format's base recipe"):
        made(tmp_path, "text-generator", "dynamic-int8")


def test_its_recipes_are_those_that_a_matrix_may_name():
    assert set(recipes_of(formats)) == {"fp32", "dynamic-int8"}
