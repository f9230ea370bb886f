"""GGUF files as sources: the folder that is made of one computes what the file says; what is not read is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import gguf_files
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Types
from gguf_files import a_gguf
from language_models import (
    GROUPS,
    HEADS,
    INNER,
    LAYERS,
    LLAMA3,
    LONG,
    VOCABULARY,
    WIDTH,
    a_config,
    a_context,
    a_folder,
    logits,
    some_weights,
)

from bench.records import Source, note
from bench.worker import gguf_folder
from bench.worker.families import text_generator
from bench.worker.formats import gguf as form
from bench.worker.recipes import Context
from bench.worker.refusal import Refusal

IDS = [3, 17, 255, 258, 40, 41, 9, 80, 81, 82, 200, 7]


def unpacked(file: Path) -> tuple[Source, Any]:
    """The folder as a source, and the notes."""
    out = file.parent / "folder"
    out.mkdir()
    notes = text_generator.unpack(Source(kind="file", path=str(file), weights="pretrained", digest=""), out)
    return Source(kind="folder", path=str(out), weights="pretrained", digest="", file=str(file)), notes


def answers(source: Source) -> np.ndarray:
    with torch.inference_mode():
        return text_generator.load(source)(input_ids=torch.tensor([IDS])).logits[0].double().numpy()


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi3"])
def test_every_architecture_computes_what_the_file_holds(tmp_path, kind):
    config = a_config(kind, original_max_position_embeddings=512) if kind == "phi3" else a_config(kind)
    keys = {"attention__sliding_window": 0} if kind == "phi3" else {}
    held = a_gguf(tmp_path / "m.gguf", config, some_weights(config), **keys)
    source, notes = unpacked(tmp_path / "m.gguf")
    assert notes == (note("widened", formats=("F32",), file="m.gguf"),)
    np.testing.assert_allclose(answers(source), logits(config, held, IDS), atol=2e-4)


@pytest.mark.parametrize("stored", ["F16", "BF16", "Q8_0", "Q5_1", "Q4_1", "Q4_0"])
def test_every_type_is_dequantized_to_what_it_holds(tmp_path, stored):
    config = a_config(tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 100000.0})
    held = a_gguf(tmp_path / "m.gguf", config, some_weights(config), Types[stored])
    source, notes = unpacked(tmp_path / "m.gguf")
    kind = "widened" if stored in ("F16", "BF16") else "dequantized"
    assert notes == (note(kind, formats=(stored,), file="m.gguf"),)
    np.testing.assert_allclose(answers(source), logits(config, held, IDS), atol=2e-4)


@pytest.mark.parametrize("rope", [LLAMA3, LLAMA3 | {"factor": 32.0, "original_max_position_embeddings": 128}])
def test_positions_that_are_scaled_as_in_llama_3_are_found_from_their_factors(tmp_path, rope):
    config = a_config(rope_parameters=rope)
    out = tmp_path / "out"
    out.mkdir()
    # This project's own writer, which is tested against llama.cpp.
    form.gguf_f32(a_context(a_folder(tmp_path / "hf", config)), out)
    again, _ = unpacked(out / "model.gguf")
    np.testing.assert_allclose(answers(again), logits(config, some_weights(config), IDS), atol=2e-4)


def test_long_positions_of_phi_3_are_read(tmp_path):
    config = a_config("phi3", original_max_position_embeddings=64, rope_parameters=LONG)
    out = tmp_path / "out"
    out.mkdir()
    form.gguf_f32(a_context(a_folder(tmp_path / "hf", config)), out)
    again, _ = unpacked(out / "model.gguf")
    np.testing.assert_allclose(answers(again), logits(config, some_weights(config), IDS), atol=2e-4)


def test_large_weights_are_written_in_shards(tmp_path, monkeypatch):
    config = a_config()
    held = a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    monkeypatch.setattr(gguf_folder, "SHARD_BYTES", 1_000_000)
    source, _ = unpacked(tmp_path / "m.gguf")
    files = sorted(path.name for path in Path(source.path).glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    np.testing.assert_allclose(answers(source), logits(config, held, IDS), atol=2e-4)


def test_both_versions_of_transformers_read_the_rotary_base(tmp_path):
    config = a_config(rope_parameters={"rope_type": "default", "rope_theta": 100000.0})
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    source, _ = unpacked(tmp_path / "m.gguf")
    written = json.loads((Path(source.path) / "config.json").read_text(encoding="utf-8"))
    # Version 5 has its own key, `rope_parameters`, which version 4 ignores.
    assert (written["rope_theta"], "rope_parameters" in written) == (100000.0, False)
    assert written["architectures"] == ["LlamaForCausalLM"]
    assert (written["bos_token_id"], written["eos_token_id"]) == (256, 257)


# --- tokenizer --------------------------------------------------------------------------------------------------------


def test_text_is_split_as_llama_cpp_splits_it(tmp_path):
    config = a_config()
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    source, _ = unpacked(tmp_path / "m.gguf")
    tokenizer = text_generator._tokenizer(source)
    # Each digit alone, "th" merged, and a space before a word is a part of it.
    assert tokenizer.convert_ids_to_tokens(tokenizer("<|bos|>the 42")["input_ids"]) == [
        *("<|bos|>", "th", "e", "Ġ", "4", "2"),
    ]


def test_a_split_that_is_not_known_is_said(tmp_path, monkeypatch):
    config = a_config()
    monkeypatch.setattr(
        gguf.GGUFWriter, "add_tokenizer_pre", lambda self, _: self.add_string("tokenizer.ggml.pre", "x")
    )
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    assert unpacked(tmp_path / "m.gguf")[1][1:] == (note("split-unknown", split="x"),)


# --- the file as it is ------------------------------------------------------------------------------------------------


def test_the_file_as_it_is_is_the_same_file_and_its_row_says_its_format(tmp_path):
    config = a_config()
    a_gguf(tmp_path / "m.gguf", config, some_weights(config), Types.Q4_1)
    source, _ = unpacked(tmp_path / "m.gguf")
    out = tmp_path / "out"
    out.mkdir()
    notes = form.gguf_as_given(Context(text_generator, source), out)
    assert notes == (note("file-format", number_format="int4", op_types=("Q4_1",)),)
    assert (out / "model.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


def test_a_folder_of_safetensors_has_no_file_to_run_as_it_is(tmp_path):
    source = Source(kind="folder", path=str(a_folder(tmp_path / "hf", a_config())), weights="pretrained", digest="")
    with pytest.raises(Refusal, match="is no GGUF file"):
        form.gguf_as_given(Context(text_generator, source), tmp_path)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"expert_count": 8}, "expert_count = 8, which is not read here"),
        ({"attention__sliding_window": 64}, "attention windows of 64 tokens"),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0}, "scales positions by 'yarn'"),
        ({"attention__value_length": 32}, "heads of two widths"),
        ({"rope__scaling__attn_factor": 1.5}, r"attn_factor 1\.5"),
    ],
)
def test_a_key_that_changes_answers_and_is_not_understood_is_refused(tmp_path, keys, says):
    config = a_config()
    a_gguf(tmp_path / "m.gguf", config, some_weights(config), **keys)
    with pytest.raises(Refusal, match=says) as refused:
        unpacked(tmp_path / "m.gguf")
    assert (refused.value.status, bool(refused.value.remedy)) == ("unsupported", True)


@pytest.mark.parametrize(
    ("key", "old", "new", "says"),
    [
        ("llama.context_length", 512, 0, r"llama\.context_length = 0"),
        ("llama.block_count", LAYERS, 0, r"llama\.block_count = 0"),
        ("llama.attention.head_count", HEADS, 0, r"llama\.attention\.head_count = 0"),
        ("llama.attention.head_count", HEADS, 3, r"3 heads and llama\.attention\.head_count_kv = 2"),
        ("llama.attention.head_count_kv", GROUPS, 0, r"head_count_kv = 0"),
        ("llama.attention.head_count", HEADS, 8, r"attn_q\.weight of shape \[256, 256\].*8 heads.*\[512, 256\]"),
        ("llama.embedding_length", WIDTH, 512, r"weight of shape .*512 wide"),
        ("llama.feed_forward_length", INNER, 1024, r"ffn_.*of shape"),
        ("tokenizer.ggml.eos_token_id", 257, 999999, r"eos_token_id = 999999, and it has 384 tokens"),
    ],
)
def test_metadata_that_the_tensors_contradict_are_refused_by_their_key(tmp_path, key, old, new, says):
    config = a_config()
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    # A key, the type of a whole number without a sign, and the number.
    before, after = (key.encode() + struct.pack("<II", 4, number) for number in (old, new))
    content = (tmp_path / "m.gguf").read_bytes()
    assert content.count(before) == 1
    (tmp_path / "m.gguf").write_bytes(content.replace(before, after))
    with pytest.raises(Refusal, match=says) as refused:
        unpacked(tmp_path / "m.gguf")
    assert (refused.value.status, bool(refused.value.remedy)) == ("unsupported", True)


def test_more_tokens_than_rows_of_the_embedding_are_refused(tmp_path, monkeypatch):
    config = a_config()
    monkeypatch.setattr(gguf_files, "VOCABULARY", VOCABULARY + 8)
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    with pytest.raises(Refusal, match=r"392 values in tokenizer\.ggml\.tokens, and its embedding has 384 rows"):
        unpacked(tmp_path / "m.gguf")


@pytest.mark.parametrize("epsilon", [0.0, 1.5, float("nan")])
def test_an_epsilon_that_is_none_is_refused(tmp_path, epsilon):
    config = a_config(rms_norm_eps=epsilon)
    a_gguf(tmp_path / "m.gguf", config, some_weights(config))
    with pytest.raises(Refusal, match=r"llama\.attention\.layer_norm_rms_epsilon = "):
        unpacked(tmp_path / "m.gguf")


def test_an_architecture_that_is_not_known_is_named(tmp_path):
    config = a_config()
    a_gguf(tmp_path / "m.gguf", config | {"model_type": "mamba"}, some_weights(config))
    with pytest.raises(Refusal, match="'mamba', which is not read here") as refused:
        unpacked(tmp_path / "m.gguf")
    assert "llama, qwen2, qwen3, phi3 are read" in refused.value.remedy


def test_tensors_that_are_missing_or_left_over_are_named(tmp_path, monkeypatch):
    config = a_config()
    whole = some_weights(config)
    short = {name: values for name, values in whole.items() if "layers.1.mlp.up_proj" not in name}
    a_gguf(tmp_path / "short.gguf", config, short)
    with pytest.raises(Refusal, match=r"lacks blk\.1\.ffn_up\.weight"):
        unpacked(tmp_path / "short.gguf")
    monkeypatch.setitem(gguf_files.NAMES, "self_attn.gate", "attn_gate")
    more = whole | {"model.layers.0.self_attn.gate.weight": whole["model.layers.0.self_attn.o_proj.weight"]}
    (tmp_path / "b").mkdir()
    a_gguf(tmp_path / "b/long.gguf", config, more)
    with pytest.raises(Refusal, match=r"has blk\.0\.attn_gate\.weight, which LlamaForCausalLM does not have"):
        unpacked(tmp_path / "b/long.gguf")


def test_rotary_factors_of_another_formula_are_refused(tmp_path, monkeypatch):
    config = a_config()
    monkeypatch.setitem(gguf_files.NAMES, "rope_freqs", "rope_freqs")
    odd = {"rope_freqs.weight": np.linspace(1, 3, 32, dtype=np.float32)}
    a_gguf(tmp_path / "m.gguf", config, some_weights(config) | odd)
    with pytest.raises(Refusal, match="not those of Llama 3"):
        unpacked(tmp_path / "m.gguf")
