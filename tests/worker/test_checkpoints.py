"""Checkpoints of other versions of transformers are read right; what a checkpoint holds besides is said or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

from tiny_models import BERT, saved  # noqa: E402

from bench.records import Source, note  # noqa: E402
from bench.worker import hugging_face  # noqa: E402
from bench.worker.families import text_encoder  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402


def a_config(folder: Path, model_type: str, **fields: Any) -> Source:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": model_type, **fields}), encoding="utf-8")
    return Source(kind="config", path=str(path), weights="random", digest="")


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("model_type", "fields", "expected"),
    [
        ("llama", {"rope_theta": 500000.0}, {"rope_type": "default", "rope_theta": 500000.0}),
        ("llama", {"rope_theta": 500000.0, "rope_scaling": LLAMA3}, LLAMA3 | {"rope_theta": 500000.0}),
        (
            "qwen2",
            {"rope_theta": 1000000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000000.0},
        ),
        (
            "modernbert",
            {"global_rope_theta": 80000.0, "local_rope_theta": 5000.0},
            {"full_attention.rope_theta": 80000.0, "sliding_attention.rope_theta": 5000.0},
        ),
        (
            "gemma3_text",
            {"rope_theta": 500000.0, "rope_local_base_freq": 5000.0},
            {"full_attention.rope_theta": 500000.0, "sliding_attention.rope_theta": 5000.0},
        ),
        (
            "gpt_neox",
            {"rotary_emb_base": 20000, "rotary_pct": 0.5},
            {"rope_theta": 20000, "partial_rotary_factor": 0.5},
        ),
        ("stablelm", {"rope_theta": 20000, "partial_rotary_factor": 0.5}, {"rope_theta": 20000}),
    ],
)
def test_the_rotary_parameters_of_an_older_transformers_are_read(
    tmp_path: Path, model_type: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    read = hugging_face.config(a_config(tmp_path, model_type, **fields, transformers_version="4.57.6"))
    for name, value in expected.items():
        parameters = read.rope_parameters
        for part in name.split("."):
            parameters = parameters[part]
        assert parameters == value, name


@pytest.mark.parametrize("positions", ["relative_key", "relative_key_query", "alibi", "rotary"])
def test_positions_that_this_transformers_no_longer_computes_are_refused(tmp_path: Path, positions: str) -> None:
    """transformers 4 obeys the key in BERT and 20 of its relatives; 5 ignores it, and takes absolute ones."""
    source = a_config(tmp_path, "bert", position_embedding_type=positions, transformers_version="4.57.6")
    with pytest.raises(
        Refusal, match=rf"position_embedding_type = {positions}, which a bert of transformers .* ignores"
    ):
        hugging_face.config(source)


@pytest.mark.parametrize(
    ("model_type", "positions"),
    [("bert", "absolute"), ("modernbert", "absolute"), ("gte", "rope"), ("jina_embeddings_v3", "rotary")],
)
def test_a_name_for_the_positions_that_a_model_has_anyway_is_read(
    tmp_path: Path, model_type: str, positions: str
) -> None:
    fields = {} if positions == "absolute" else {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    source = a_config(tmp_path, model_type, position_embedding_type=positions, transformers_version="4.57.6", **fields)
    assert hugging_face.config(source).model_type == model_type


def test_of_a_newer_config_only_the_keys_are_refused_that_no_model_reads(tmp_path: Path) -> None:
    """Qwen2 reads `head_dim` where a file has it, though its configuration does not declare it."""
    source = a_config(tmp_path, "qwen2", head_dim=32, gated_attention=True, transformers_version="99.0")
    with pytest.raises(Refusal, match=r"ignores gated_attention of a qwen2 model"):
        hugging_face.config(source)
    assert hugging_face.config(a_config(tmp_path, "qwen2", head_dim=32, transformers_version="99.0")).head_dim == 32


def test_a_rotary_base_that_only_one_kind_of_layers_gets_is_refused(tmp_path: Path) -> None:
    source = a_config(tmp_path, "olmo3", rope_theta=20000.0, transformers_version="4.57.6")
    with pytest.raises(Refusal, match=r"rope_theta = 20000\.0, and transformers .* takes \S+ for sliding_attention"):
        hugging_face.config(source)
    source = a_config(tmp_path, "olmo3", rope_theta=500000.0, transformers_version="4.57.6")
    assert hugging_face.config(source).rope_parameters["sliding_attention"]["rope_theta"] == 500000.0


def test_an_unknown_architecture_with_code_of_its_own_says_that_the_code_is_not_run(tmp_path: Path) -> None:
    source = a_config(tmp_path, "house_bert", auto_map={"AutoModel": "modeling.HouseBertModel"})
    with pytest.raises(Refusal, match=r"house_bert.*auto_map\) is never run"):
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


FSMT = {
    "langs": ["en", "de"], "src_vocab_size": 500, "tgt_vocab_size": 500, "d_model": 64, "max_position_embeddings": 130,
    "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "pad_token_id": 1, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("lacking", "refused"),
    [
        ("decoder.embed_tokens.weight", False),
        ("decoder.layers.0.fc1.weight", False),
        ("encoder.layers.1.fc1.weight", True),
        ("encoder.embed_tokens.weight", True),
    ],
)
def test_of_a_pair_only_the_weights_of_the_encoder_must_be_there(tmp_path: Path, lacking: str, refused: bool) -> None:
    """FSMT of transformers 4.57 is saved without the table of its decoder, which is not run."""
    from safetensors.torch import load_file, save_file

    source = saved(tmp_path, transformers.FSMTModel(transformers.FSMTConfig(**FSMT)))
    feeds = text_encoder.make_inputs(source, {"batch": 1, "sequence": 12}, None)
    expected, _ = text_encoder.reference(source, feeds)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[lacking]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    if refused:
        with pytest.raises(ValueError, match=rf"lack 1 tensors of FSMTModel, e\.g\. {re.escape(lacking)}"):
            text_encoder.load(source)
        return
    outputs, _ = text_encoder.reference(source, feeds)
    np.testing.assert_array_equal(outputs[0]["last_hidden_state"], expected[0]["last_hidden_state"])


def test_of_clip_only_the_weights_of_the_text_side_must_be_there(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    text = tower | {"vocab_size": 500, "max_position_embeddings": 77, "eos_token_id": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=tower | {"image_size": 32, "patch_size": 8})
    source = saved(tmp_path, transformers.CLIPModel(config))
    weights = load_file(tmp_path / "model.safetensors")
    for lacking, refused in (("vision_model.", False), ("text_projection.", True)):
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(lacking)}
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        if refused:
            with pytest.raises(ValueError, match=r"lack 1 tensors of CLIPModel, e\.g\. text_projection\.weight"):
                text_encoder.load(source)
        else:
            text_encoder.load(source)


def test_a_head_is_left_out_and_the_row_says_so(tmp_path: Path) -> None:
    source = saved(tmp_path, transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)))
    text_encoder.load(source)
    said = text_encoder.describe_inputs(source, {}, None)
    assert said == (note("part-of-checkpoint", checkpoint="BertForSequenceClassification", part="BertModel"),)


def test_the_window_of_a_modernbert_decoder_is_that_of_its_file(tmp_path: Path) -> None:
    """Version 4.57 writes `sliding_window` and no `local_attention`; it does not read its own key."""
    source = a_config(tmp_path, "modernbert-decoder", sliding_window=8, transformers_version="4.57.6")
    assert hugging_face.config(source).sliding_window == 8
