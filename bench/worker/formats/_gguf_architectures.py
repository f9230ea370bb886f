"""Describes a Hugging Face model's architecture and tensors as llama.cpp names them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.records import Note, note
from bench.worker.formats._safetensors import Tensor, Weights
from bench.worker.refusal import Refusal

NAMES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}
"""llama.cpp's name of the architecture for each supported `model_type`."""
INTERLEAVED = ("llama",)
"""Architectures for which llama.cpp needs the rotary halves interleaved: the rows of Q and K are reordered."""
REMEDY = "choose a model of these types: " + ", ".join(NAMES)

Read = Callable[[], Tensor]


def name(config: dict[str, Any]) -> str:
    """llama.cpp's name of the architecture. Raises Refusal if this project cannot write it."""
    kind = config.get("model_type", "?")
    if kind not in NAMES:
        message = f"GGUF of the architecture {kind!r} is not written by this project"
        raise Refusal("unsupported", message, REMEDY, "architecture")
    for key, plain in {"hidden_act": "silu", "quantization_config": None, "use_sliding_window": False}.items():
        if config.get(key, plain) not in (plain, None):
            message = f"GGUF of a model with {key} {_short(config[key])} is not written by this project"
            raise Refusal("unsupported", message, "give a model without it", "architecture")
    return NAMES[kind]


def describe(writer: Any, config: dict[str, Any]) -> tuple[Note, ...]:
    """Add the model's sizes to the writer. Returns notes on what llama.cpp does not support."""
    heads, depth = _required(config, "num_attention_heads"), head_size(config)
    writer.add_context_length(_required(config, "max_position_embeddings"))
    writer.add_embedding_length(_required(config, "hidden_size"))
    writer.add_block_count(_required(config, "num_hidden_layers"))
    writer.add_feed_forward_length(_required(config, "intermediate_size"))
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(depth)
    writer.add_value_length(depth)
    writer.add_layer_norm_rms_eps(_required(config, "rms_norm_eps"))
    writer.add_rope_dimension_count(rotated(config))
    writer.add_rope_freq_base(float(_rope(config).get("rope_theta") or _required(config, "rope_theta")))
    writer.add_vocab_size(_required(config, "vocab_size"))
    if config["model_type"] == "phi3":
        _describe_phi3(writer, config)
    window = config.get("sliding_window")
    slides = window and window < config["max_position_embeddings"] and config["model_type"] in ("mistral", "phi3")
    return (note("window-left-out", window=window),) if slides else ()


def tensors(config: dict[str, Any], weights: Weights, names: Any) -> dict[str, tuple[tuple[int, ...], Read]]:
    """The shape and a reader of every tensor, by llama.cpp's name; `names` is gguf's tensor name map."""
    contents: dict[str, tuple[tuple[int, ...], Read]] = {}
    for source_name, shape in weights.shapes().items():
        # With tied embeddings llama.cpp uses the embedding as output matrix. The rotary frequencies are computed.
        tied = source_name == "lm_head.weight" and config.get("tie_word_embeddings")
        if tied or source_name.endswith("rotary_emb.inv_freq"):
            continue
        name_in_gguf = names.get_name(source_name, try_suffixes=(".weight", ".bias"))
        if name_in_gguf is None:
            message = f"the weights hold {source_name}, for which llama.cpp's {name(config)} has no place"
            raise Refusal("unsupported", message, REMEDY, "architecture")
        # A reader and not the content, so that only one tensor is in memory at a time.
        contents[name_in_gguf] = (shape, _reader(config, weights, source_name))
    for name_in_gguf, factors in rope_factors(config).items():
        # The default binds this turn's value: a plain closure would give every reader the last one.
        contents[name_in_gguf] = (factors.shape, lambda factors=factors: factors)  # type: ignore[misc]
    return contents


def head_size(config: dict[str, Any]) -> int:
    """The width of one attention head."""
    return int(config.get("head_dim") or _required(config, "hidden_size") // _required(config, "num_attention_heads"))


def rotated(config: dict[str, Any]) -> int:
    """The number of elements of a head that the rotary embedding changes."""
    share = config.get("partial_rotary_factor") or _rope(config).get("partial_rotary_factor") or 1.0
    return int(head_size(config) * share)


def _reader(config: dict[str, Any], weights: Weights, source_name: str) -> Read:
    """A function that reads the tensor in llama.cpp's layout."""
    heads = config["num_attention_heads"]
    groups = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    part = source_name.split(".")[-2] if "." in source_name else ""
    if name(config) not in INTERLEAVED or part not in groups:
        return lambda: weights.read(source_name)
    return lambda: interleaved(weights.read(source_name), groups[part])


def interleaved(rows: Tensor, heads: int) -> Tensor:
    """Interleave the first and second half of each head's rows of Q or K."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


# --- rotary positions -------------------------------------------------------------------------------------------------


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the rotary embedding: `rope_parameters` since transformers 5, `rope_scaling` before."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def rope_factors(config: dict[str, Any]) -> dict[str, Tensor]:
    """The factors of the wavelength of each pair, as tensors by name; empty if it is not scaled."""
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return {}
    if kind == "llama3":
        return {"rope_freqs.weight": _llama3(config, rope)}
    if kind == "longrope" and config["model_type"] == "phi3":
        factors_by_name = {
            "rope_factors_long.weight": rope["long_factor"],
            "rope_factors_short.weight": rope["short_factor"],
        }
        return {name_in_gguf: np.array(factors, np.float32) for name_in_gguf, factors in factors_by_name.items()}
    message = f"GGUF with positions scaled by {kind!r} is not written by this project"
    raise Refusal("unsupported", message, "choose a model without that", "architecture")


def _llama3(config: dict[str, Any], rope: dict[str, Any]) -> Tensor:
    """Llama 3's factors: 1 for short wavelengths, `factor` for long ones, with a smooth transition between them."""
    base = float(rope.get("rope_theta") or config["rope_theta"])
    half = rotated(config) // 2
    wavelengths = 2 * math.pi * base ** (np.arange(half) / half)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    # The formula of transformers, so that llama.cpp computes the same positions as the reference.
    smooth = ((rope["original_max_position_embeddings"] / wavelengths - low) / (high - low)).clip(0.0, 1.0)
    factors: Tensor = (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
    return factors


def _describe_phi3(writer: Any, config: dict[str, Any]) -> None:
    """Add the metadata that llama.cpp needs for Phi-3 only."""
    longest = config["max_position_embeddings"]
    original = config.get("original_max_position_embeddings") or longest
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_sliding_window(config.get("sliding_window") or 0)
    if rope_factors(config):
        stretch = longest / original
        # The factor by which transformers multiplies sines and cosines of LongRoPE.
        writer.add_rope_scaling_attn_factors(
            math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1
        )


def _required(config: dict[str, Any], key: str) -> Any:
    """The config's value. Raises Refusal if it has none: a guess could describe another model."""
    if config.get(key) is None:
        raise Refusal("unsupported", f"the model's config does not say its {key}", "complete config.json")
    return config[key]


def _short(value: Any) -> str:
    return repr(value) if isinstance(value, str | bool | int) else "set"
