"""Models that transformers 5 saved are read right by version 4, or refused by the name of what it would ignore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.records import Source
from bench.worker import hugging_face
from bench.worker.refusal import Refusal


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


def test_the_long_positions_of_phi_3_are_read_by_a_class_that_takes_three_keys_only(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 16, "long_factor": [2.0] * 16}
    parameters = rope(10000.0, original_max_position_embeddings=64, **factors) | {"rope_type": "longrope"}
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256}
    config = hugging_face.config(a_config(tmp_path, "phi3", rope_parameters=parameters, pad_token_id=0, **sizes))
    assert config.rope_scaling == {"type": "longrope"} | factors
    assert config.original_max_position_embeddings == 64


def test_a_window_that_a_class_replaces_by_its_own_is_refused(tmp_path: Path) -> None:
    """Version 4.57 writes the window of a ModernBERT decoder, and does not read it."""
    with pytest.raises(Refusal, match=r"sliding_window = 8, and a modernbert-decoder of transformers 4\S* takes 64"):
        hugging_face.config(a_config(tmp_path, "modernbert-decoder", sliding_window=8))
    assert hugging_face.config(a_config(tmp_path, "modernbert-decoder", sliding_window=64)).sliding_window == 64
