"""Models that another transformers saved are read right, or refused by the name of what would be ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")
if not transformers.__version__.startswith("4."):
    pytest.skip("transformers 5 reads its own files", allow_module_level=True)

from tiny_models import BERT, saved  # noqa: E402

from bench.records import Source, note  # noqa: E402
from bench.worker import hugging_face  # noqa: E402
from bench.worker.families import text_encoder  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402


def a_config(folder: Path, model_type: str, **fields: Any) -> Source:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": model_type, **fields}), encoding="utf-8")
    return Source(kind="config", path=str(path), weights="random", digest="")


def rope(theta: float, **fields: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta, **fields}


def linear(theta: float) -> dict[str, Any]:
    return {"rope_type": "linear", "rope_theta": theta, "factor": 8.0}


@pytest.mark.parametrize(
    ("model_type", "fields", "ignored"),
    [
        (
            "gemma3_text",
            {"rope_parameters": {"full_attention": rope(1000000.0), "sliding_attention": linear(5000.0)}},
            "rope_type = linear in rope_parameters.sliding_attention",
        ),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": linear(160000.0), "sliding_attention": rope(10000.0)}},
            "rope_type = linear in rope_parameters.full_attention",
        ),
        ("bert", {"transformers_version": "5.23.0", "attention_sinks": 4}, "ignores attention_sinks of a bert model"),
    ],
)
def test_what_this_transformers_would_ignore_is_refused_by_name(
    tmp_path: Path, model_type: str, fields: dict[str, Any], ignored: str
) -> None:
    with pytest.raises(Refusal, match=ignored.replace(".", r"\.")) as refused:
        hugging_face.config(a_config(tmp_path, model_type, **fields))
    assert refused.value.status == "unsupported"
    assert "onnx:FILE" in refused.value.remedy


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("llama", {"rope_parameters": rope(10000.0)}),
        ("llama", {"rope_parameters": rope(500000.0), "rope_theta": 500000.0}),
        ("modernbert", {"rope_parameters": {"full_attention": rope(160000.0), "sliding_attention": rope(10000.0)}}),
        ("gemma3_text", {"rope_parameters": {"full_attention": rope(1000000.0), "sliding_attention": rope(10000.0)}}),
        ("bert", {"transformers_version": "5.23.0", "pad_token_id": 0, "dtype": "float32", "is_decoder": False}),
        ("bert", {"transformers_version": "4.12.0", "gradient_checkpointing": False, "something_old": 3}),
    ],
)
def test_what_is_read_as_it_was_meant_is_not_refused(tmp_path: Path, model_type: str, fields: dict[str, Any]) -> None:
    assert hugging_face.config(a_config(tmp_path, model_type, **fields)).model_type == model_type


@pytest.mark.parametrize(
    ("model_type", "parameters", "read"),
    [
        ("llama", rope(500000.0), {"rope_theta": 500000.0, "rope_scaling": None}),
        (
            "llama",
            linear(20000.0),
            {"rope_theta": 20000.0, "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 8.0}},
        ),
        ("phi", rope(10000.0, partial_rotary_factor=0.4), {"rope_theta": 10000.0, "partial_rotary_factor": 0.4}),
        (
            "modernbert",
            {"full_attention": rope(80000.0), "sliding_attention": rope(5000.0)},
            {"global_rope_theta": 80000.0, "local_rope_theta": 5000.0},
        ),
        (
            "gemma3_text",
            {"full_attention": linear(2000000.0), "sliding_attention": rope(5000.0)},
            {
                "rope_theta": 2000000.0,
                "rope_local_base_freq": 5000.0,
                "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 8.0},
            },
        ),
    ],
)
def test_rotary_parameters_of_transformers_5_are_read_under_the_keys_of_version_4(
    tmp_path: Path, model_type: str, parameters: dict[str, Any], read: dict[str, Any]
) -> None:
    config = hugging_face.config(a_config(tmp_path, model_type, rope_parameters=parameters))
    assert {key: getattr(config, key) for key in read} == read


def test_an_unknown_architecture_with_code_of_its_own_says_that_the_code_is_not_run(tmp_path: Path) -> None:
    source = a_config(tmp_path, "nomic_bert", auto_map={"AutoModel": "modeling.NomicBertModel"})
    with pytest.raises(Refusal, match=r"nomic_bert.*auto_map\) is never run"):
        hugging_face.config(source)


def test_tensors_inside_a_layer_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    """As of a variant of BERT that is saved under its name: without them it would be another model."""
    from safetensors.torch import load_file, save_file

    source = saved(tmp_path, transformers.BertModel(transformers.BertConfig(**BERT)))
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.0.attention.self.query_norm.weight"] = weights[
        "encoder.layer.0.output.LayerNorm.weight"
    ].clone()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Refusal, match=r"hold 1 tensors that BertModel .* does not have, e\.g\. encoder\.layer\.0"):
        text_encoder.load(source)


def test_a_head_is_left_out_and_the_row_says_so(tmp_path: Path) -> None:
    source = saved(tmp_path, transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)))
    text_encoder.load(source)
    said = text_encoder.describe_inputs(source, {}, None)
    assert said == (note("part-of-checkpoint", checkpoint="BertForSequenceClassification", part="BertModel"),)
