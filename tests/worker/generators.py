"""Tiny configurations of many architectures that generate, for tests in several runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.records import Source

# 400 is the width of no layer: the builder of onnxruntime-genai knows a head by the size of its output.
OLD = {
    "vocab_size": 400,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
COMMON = OLD | {
    "intermediate_size": 192,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rope_theta": 10000.0,
}
MIXED = {"sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
GEMMA = COMMON | {"head_dim": 32, "tie_word_embeddings": True, "query_pre_attn_scalar": 32}
GEMMA3 = GEMMA | MIXED | {"model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 1e4}
YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
LONG = {
    "type": "longrope",
    "short_factor": [1 + i / 32 for i in range(16)],
    "long_factor": [1 + i / 2 for i in range(16)],
}
PHI3 = COMMON | {"model_type": "phi3", "original_max_position_embeddings": 256}
WHISPER = {
    "model_type": "whisper",
    "vocab_size": 2000,
    "d_model": 128,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 256,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
    "max_target_positions": 64,
    "decoder_start_token_id": 300,
    "bos_token_id": 299,
    "eos_token_id": 299,
    "pad_token_id": 299,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "mistral-window": COMMON | {"model_type": "mistral", "sliding_window": 32},
    "phi3-window": PHI3 | {"sliding_window": 32},
    "phi3-longrope": PHI3
    | {"original_max_position_embeddings": 64, "max_position_embeddings": 512, "rope_scaling": LONG},
    "llama-narrow": COMMON | {"model_type": "llama", "head_dim": 16},
    "phi3-groups": PHI3 | {"sliding_window": None},
    "gemma2": GEMMA | MIXED | {"model_type": "gemma2"},
    "gemma3": GEMMA3,
    "gemma3-linear": GEMMA3 | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "gpt-oss": COMMON
    | MIXED
    | {"model_type": "gpt_oss", "head_dim": 64, "rope_theta": 150000.0, "rope_scaling": YARN, "intermediate_size": 128}
    | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "smollm3": COMMON | {"model_type": "smollm3", "no_rope_layers": [1, 0], "use_sliding_window": False},
    "olmo": COMMON | {"model_type": "olmo"},
    "lfm2": COMMON | {"model_type": "lfm2", "layer_types": ["conv", "full_attention"], "conv_L_cache": 3},
    "qwen3-moe": COMMON | EXPERTS | {"model_type": "qwen3_moe", "head_dim": 32, "decoder_sparse_step": 1},
    "mixtral": COMMON | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt2": OLD | {"model_type": "gpt2", "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "gpt-neox": OLD | {"model_type": "gpt_neox", "intermediate_size": 256, "max_position_embeddings": 256},
    "opt": OLD
    | {
        "model_type": "opt",
        "ffn_dim": 256,
        "max_position_embeddings": 256,
        "word_embed_proj_dim": 128,
        "pad_token_id": 1,
    },
    "falcon": OLD | {"model_type": "falcon", "multi_query": True, "new_decoder_architecture": False, "alibi": False},
    "bloom": OLD | {"model_type": "bloom", "n_layer": 2, "n_head": 4},
    "stablelm": COMMON | {"model_type": "stablelm", "partial_rotary_factor": 0.5},
    "mamba": {"model_type": "mamba", "vocab_size": 400, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    "distil-whisper": WHISPER | {"encoder_layers": 4},
    "large-v3-turbo": WHISPER | {"encoder_layers": 4, "num_mel_bins": 128},
}


def family_of(name: str) -> str:
    """The family of a configuration."""
    return "speech-recognizer" if CONFIGS[name]["model_type"] == "whisper" else "text-generator"


def a_source(folder: Path, name: str) -> Source:
    """The architecture with seeded random weights."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(CONFIGS[name]), encoding="utf-8")
    return Source(kind="config", path=str(path), weights="random", digest="")
