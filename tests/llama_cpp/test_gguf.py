"""The format of GGUF: what is written of a Hugging Face folder, what is refused, and what llama.cpp quantizes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from language_models import VOCABULARY, a_config, a_context, a_folder, a_tokenizer, save, some_weights

from bench.records import note
from bench.worker.formats import _gguf_architectures as architectures
from bench.worker.formats import _gguf_tokenizers as tokenizers
from bench.worker.formats import gguf as form
from bench.worker.recipes import recipes_of
from bench.worker.refusal import Refusal


def written(folder: Path, source: Path) -> Any:
    """A reader of the FP32 file of a Hugging Face folder."""
    folder.mkdir(exist_ok=True)
    form.gguf_f32(a_context(source), folder)
    return gguf.GGUFReader(folder / "model.gguf")


def tensor(reader: Any, name: str) -> np.ndarray:
    (found,) = (each for each in reader.tensors if each.name == name)
    return np.asarray(found.data)


def value(reader: Any, key: str) -> Any:
    return reader.fields[key].contents() if key in reader.fields else None


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "error"), [("F32", 0.0), ("F16", 1e-3), ("BF16", 8e-3)])
def test_weights_of_every_kind_are_widened_to_fp32(tmp_path, stored, error):
    config = a_config()
    weights = some_weights(config)
    reader = written(tmp_path / "out", a_folder(tmp_path / "hf", config, weights, stored))
    have, want = tensor(reader, "token_embd.weight"), weights["model.embed_tokens.weight"]
    assert have.dtype == np.float32
    assert np.abs(have - want).max() <= error * np.abs(want).max()


def test_shards_are_read_by_their_index_and_other_files_beside_them_are_not(tmp_path):
    config = a_config()
    weights = some_weights(config)
    folder = a_folder(tmp_path / "hf", config, weights)
    whole = written(tmp_path / "whole", folder)
    (folder / "model.safetensors").unlink()
    names = list(weights)
    shards = {"model-1-of-2.safetensors": names[:5], "model-2-of-2.safetensors": names[5:]}
    for file, part in shards.items():
        save(folder / file, {name: weights[name] for name in part})
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "consolidated.safetensors").write_bytes(b"no model of ours")
    sharded = written(tmp_path / "sharded", folder)
    assert {each.name for each in sharded.tensors} == {each.name for each in whole.tensors}
    for each in whole.tensors:
        np.testing.assert_array_equal(tensor(sharded, each.name), np.asarray(each.data))


def test_a_missing_shard_is_named(tmp_path):
    folder = a_folder(tmp_path / "hf", a_config())
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.norm.weight": "model-7-of-9.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(Refusal, match="model-7-of-9"):
        written(tmp_path / "out", folder)


@pytest.mark.parametrize("kept", [4, 200, 10_000])
def test_a_file_that_is_cut_short_is_refused_and_not_read_as_zeros(tmp_path, kept):
    folder = a_folder(tmp_path / "hf", a_config())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Refusal, match="cut short"):
        written(tmp_path / "out", folder)


def test_weights_that_are_quantized_already_are_refused(tmp_path):
    folder = a_folder(tmp_path / "hf", a_config())
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I8" ', 1))
    with pytest.raises(Refusal, match="I8"):
        written(tmp_path / "out", folder)


def test_tied_embeddings_are_written_once(tmp_path):
    config = a_config(tie_word_embeddings=True)
    weights = some_weights(config)
    twice = weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}
    reader = written(tmp_path / "out", a_folder(tmp_path / "hf", config, twice))
    assert "output.weight" not in {each.name for each in reader.tensors}


# --- architectures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["whisper", "gemma3_text", "mixtral", ""])
def test_an_architecture_that_is_not_written_is_unsupported_by_its_name(tmp_path, kind):
    folder = a_folder(tmp_path / "hf", a_config() | {"model_type": kind}, some_weights(a_config()))
    with pytest.raises(Refusal, match=f"GGUF of the architecture '{kind}' is not written") as refused:
        written(tmp_path / "out", folder)
    assert refused.value.status == "unsupported"
    assert "qwen2" in refused.value.remedy


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "yarn"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path, changes, word):
    folder = a_folder(tmp_path / "hf", a_config(**changes), some_weights(a_config()))
    with pytest.raises(Refusal, match=word):
        written(tmp_path / "out", folder)


def test_a_tensor_without_a_place_is_named(tmp_path):
    weights = some_weights(a_config()) | {"model.layers.0.self_attn.gate.weight": np.zeros((2, 2), np.float32)}
    with pytest.raises(Refusal, match=r"layers\.0\.self_attn\.gate"):
        written(tmp_path / "out", a_folder(tmp_path / "hf", a_config(), weights))


def test_a_window_that_llama_cpp_leaves_out_is_noted(tmp_path):
    folder = a_folder(tmp_path / "hf", a_config("mistral", sliding_window=128))
    assert form.gguf_f32(a_context(folder), tmp_path) == (note("window-left-out", window=128),)


def test_a_config_of_transformers_4_says_the_same(tmp_path):
    old = a_config()
    del old["rope_parameters"], old["head_dim"]
    reader = written(tmp_path, a_folder(tmp_path / "hf", old | {"rope_theta": 5000.0, "rope_scaling": None}))
    assert value(reader, "llama.rope.freq_base") == 5000.0
    assert value(reader, "llama.attention.key_length") == 64


def test_pairing_puts_the_halves_of_each_head_side_by_side():
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert architectures.interleaved(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


# --- tokenizers -------------------------------------------------------------------------------------------------------


def test_the_models_own_tokenizer_is_in_the_file(tmp_path):
    reader = written(tmp_path / "out", a_folder(tmp_path / "hf", a_config()))
    tokens = value(reader, "tokenizer.ggml.tokens")
    assert (tokens[65], tokens[257], tokens[258], tokens[-1]) == ("A", "<|eos|>", "th", "[PAD383]")
    assert len(tokens) == VOCABULARY
    assert value(reader, "tokenizer.ggml.merges") == ["t h"]
    assert (value(reader, "tokenizer.ggml.pre"), value(reader, "tokenizer.ggml.eos_token_id")) == ("gpt-2", 257)
    assert value(reader, "tokenizer.ggml.add_bos_token") is False


def test_a_tokenizer_without_merges_is_one_that_llama_cpp_loads(tmp_path):
    folder = a_folder(tmp_path / "hf", a_config())
    said = a_tokenizer()
    said["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(said), encoding="utf-8")
    assert value(written(tmp_path / "out", folder), "tokenizer.ggml.merges") == [tokenizers.UNREACHABLE_MERGE]


BYTES_ONLY = {"type": "ByteLevel", "use_regex": False}


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([{"type": "ByteLevel", "use_regex": True}], "gpt-2"),
        ([{"type": "ByteLevel"}], "gpt-2"),
        ([BYTES_ONLY], None),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "smollm"),
        ([{"type": "Digits", "individual_digits": False}, {"type": "ByteLevel"}], None),
        *(
            ([{"type": "Split", "pattern": {"Regex": said}}, BYTES_ONLY], name)
            for said, name in tokenizers.SPLITS.items()
        ),
        ([{"type": "Split", "pattern": {"Regex": r"\s+"}}, BYTES_ONLY], None),
        ([{"type": "Split", "pattern": {"String": " "}}, BYTES_ONLY], None),
        ([{"type": "Metaspace"}], None),
    ],
)
def test_a_split_has_llama_cpps_name_or_none(steps, name):
    assert tokenizers.split_name(a_tokenizer(pre_tokenizer={"type": "Sequence", "pretokenizers": steps})) == name


def test_the_splits_are_those_of_the_published_tokenizers():
    # As Meta-Llama-3-8B and Qwen2-0.5B have them in tokenizer.json.
    head, tail = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    )
    end = r"|\s+(?!\S)|\s+"
    assert {f"{head}{{1,3}}{tail}{end}": "llama-bpe", f"{head}{tail}{end}": "qwen2"} == tokenizers.SPLITS


@pytest.mark.parametrize("said", [None, {"model": {"type": "Unigram"}}, a_tokenizer(pre_tokenizer=None)])
def test_a_tokenizer_of_another_kind_is_left_out_and_that_is_noted(tmp_path, said):
    folder = a_folder(tmp_path / "hf", a_config())
    (folder / "tokenizer.json").unlink()
    if said is not None:
        (folder / "tokenizer.json").write_text(json.dumps(said), encoding="utf-8")
    assert form.gguf_f32(a_context(folder), tmp_path) == (note("no-gguf-tokenizer"),)
    assert value(gguf.GGUFReader(tmp_path / "model.gguf"), "tokenizer.ggml.model") == "none"


# --- by llama.cpp -----------------------------------------------------------------------------------------------------

TYPES = {
    "gguf-f16": "F16",
    "gguf-q8_0": "Q8_0",
    "gguf-q6_k": "Q6_K",
    "gguf-q5_k_m": "Q5_K",
    "gguf-q4_k_m": "Q4_K",
    "gguf-q4_0": "Q4_0",
}


@pytest.mark.parametrize(("recipe", "kind"), TYPES.items())
def test_llama_cpp_quantizes_the_base_to_the_format_that_the_recipe_names(tmp_path, recipe, kind):
    base, out = tmp_path / "base", tmp_path / "out"
    written(base, a_folder(tmp_path / "hf", a_config()))
    out.mkdir()
    assert recipes_of(form)[recipe](a_context(tmp_path / "hf", base), out) == ()
    reader = gguf.GGUFReader(out / "model.gguf")
    types = {each.name: each.tensor_type.name for each in reader.tensors}
    assert types["blk.0.attn_q.weight"] == types["blk.1.ffn_up.weight"] == kind
    assert types["output_norm.weight"] == "F32"
    assert value(reader, "tokenizer.ggml.merges") == ["t h"]


def test_tensors_that_do_not_take_the_format_are_counted(tmp_path):
    config = a_config(tie_word_embeddings=True)
    weights = some_weights(config)
    for name in [name for name in weights if name.endswith("down_proj.weight")]:
        weights[name] = weights[name][:, :320].copy()
    for name in [name for name in weights if "gate_proj" in name or "up_proj" in name]:
        weights[name] = weights[name][:320]
    written(tmp_path / "base", a_folder(tmp_path / "hf", config | {"intermediate_size": 320}, weights))
    (wider,) = form.gguf_q4_k_m(a_context(tmp_path / "hf", tmp_path / "base"), tmp_path)
    assert (wider.kind, wider.values["tensors"]) == ("wider-tensors", 2)
    total = wider.values["total"]
    assert isinstance(total, int)
    assert total > 2


def test_a_base_that_is_no_gguf_is_an_error_with_llama_cpps_reason(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF and nothing else")
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match=r"failed to load model from model\.gguf"):
        form.gguf_q8_0(a_context(tmp_path, tmp_path), tmp_path / "out")


def test_without_a_base_there_is_nothing_to_quantize(tmp_path):
    with pytest.raises(ValueError, match="starts from the artifact of the format's base recipe"):
        form.gguf_q8_0(a_context(tmp_path), tmp_path)
