"""GGUF files of small language models, written by the gguf package; this file alone writes one, for other tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Types
from language_models import GROUPS, HEADS, LAYERS, VOCABULARY, Arrays, a_config, a_tokenizer, some_weights

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""llama.cpp's names, as its documentation of the format lists them."""


def in_gguf(name: str) -> str:
    """llama.cpp's name of a tensor."""
    stem, _, suffix = name.rpartition(".")
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{suffix}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{suffix}"


def a_gguf(path: Path, config: dict[str, Any], weights: Arrays, kind: Types = Types.F32, **keys: Any) -> Arrays:
    """Write a GGUF file by the package's own writer; returns the weights that it holds, in FP32.

    `keys` are further keys of the architecture, with `__` for a dot. Matrices are of the type `kind`.
    """
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    for key, value in keys.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}[type(value)](name, value)
    tokenizer = a_tokenizer()
    letters = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    names = {number: name for name, number in letters} | {256: "<|bos|>", 257: "<|eos|>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([names.get(number, f"[PAD{number}]") for number in range(VOCABULARY)])
    writer.add_token_types([3 if number in (256, 257) else 1 for number in range(VOCABULARY)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    held: Arrays = {}
    for name, values in weights.items():
        of_heads = {"q_proj": HEADS, "k_proj": GROUPS}.get(name.split(".")[-2], 0) if architecture == "llama" else 0
        stored = values
        if of_heads:
            # The two halves of a head alternate.
            stored = values.reshape(of_heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        type_ = kind if values.ndim == 2 else Types.F32
        data = gguf.quantize(np.ascontiguousarray(stored), type_)
        writer.add_tensor(in_gguf(name), data, raw_dtype=type_)
        back = gguf.dequantize(data, type_).reshape(values.shape)
        if of_heads:
            back = back.reshape(of_heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        held[name] = back.astype(np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


if __name__ == "__main__":
    file, number_format, architecture = sys.argv[1:]
    written = a_config() | {"model_type": architecture}
    a_gguf(Path(file), written, some_weights(a_config()), Types[number_format])
