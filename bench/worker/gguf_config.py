"""Reads the configuration of a language model from the metadata of a GGUF file, as Hugging Face writes it.

Every key and value must be understood: a reader that skips one gives another model without an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.worker.formats import _gguf_architectures as architectures
from bench.worker.formats._safetensors import Tensor
from bench.worker.refusal import Refusal

SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
"""The keys that every file has, and their names in config.json."""
KINDS = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}
"""`model_type` by llama.cpp's name of the architecture."""
READ = {
    *SIZES,
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "vocab_size",
}
WHOLE = (
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.scaling.original_context_length",
)
"""Keys that need not be there, and hold a whole number."""
FRACTIONS = ("rope.freq_base", "rope.scaling.factor", "rope.scaling.attn_factor")
REMEDY = "give the model as a Hugging Face folder with safetensors"
DAMAGED = "convert the model again, or download the file again"
FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that belong to the configuration: the factors of rotary wavelengths."""
DEFAULT_BASE = 10000.0
"""llama.cpp's base of rotary positions for a file that does not name one."""


def config(metadata: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], factors: Mapping[str, Tensor]) -> Any:
    """The content of config.json, in a form that transformers 4 and 5 both read right.

    `tensors` are the shapes by llama.cpp's names, `factors` the tensors of `FACTORS` that the file has. Raises Refusal
    for an architecture, a key or a value that is not known here.
    """
    architecture = str(metadata.get("general.architecture", "?"))
    if architecture not in KINDS:
        message = f"the GGUF file holds a model of the architecture {architecture!r}, which is not read here"
        raise _refusal(message, f"of GGUF files {', '.join(KINDS)} are read; {REMEDY}")
    own = {
        key.removeprefix(f"{architecture}."): value for key, value in metadata.items() if key.startswith(architecture)
    }
    _refuse_unknown(own)
    _refuse_wrong(own)
    missing = [key for key in (*SIZES, "attention.layer_norm_rms_epsilon") if key not in own]
    if missing:
        raise _refusal(f"the GGUF file does not say its {architecture}.{missing[0]}")
    result: dict[str, Any] = {"model_type": KINDS[architecture]}
    result |= {name: _whole(own[key], key) for key, name in SIZES.items()}
    for key, name in SIZES.items():
        if result[name] < 1:
            raise _refusal(f"the GGUF file says {architecture}.{key} = {result[name]}", DAMAGED)
    heads = result["num_attention_heads"]
    result["num_key_value_heads"] = _whole(own.get("attention.head_count_kv", heads), "attention.head_count_kv")
    groups = result["num_key_value_heads"]
    if groups < 1 or heads % groups:
        raise _refusal(
            f"the GGUF file has {heads} heads and {architecture}.attention.head_count_kv = {groups}", DAMAGED
        )
    result["rms_norm_eps"] = _epsilon(own["attention.layer_norm_rms_epsilon"], architecture)
    if "token_embd.weight" not in tensors:
        raise _refusal("the GGUF file has no tensor token_embd.weight", DAMAGED)
    result["vocab_size"] = tensors["token_embd.weight"][0]
    result["tie_word_embeddings"] = "output.weight" not in tensors
    result |= {"hidden_act": "silu", "dtype": "float32", "torch_dtype": "float32"}
    if architecture == "llama":
        result["attention_bias"] = "blk.0.attn_q.bias" in tensors
        result["mlp_bias"] = "blk.0.ffn_up.bias" in tensors
    result |= _heads(own, result)
    result |= _rotary(own, result, factors)
    return result


def ends(metadata: Mapping[str, Any], keys: Mapping[str, str], size: int) -> dict[str, int | None]:
    """The ids of the tokens at the ends of a text, by their names in config.json.

    `keys` are their names in the file. Raises Refusal for an id beyond the vocabulary of `size` tokens.
    """
    ids = {name: metadata.get(key) for name, key in keys.items()}
    for name, number in ids.items():
        if number is not None and not (isinstance(number, int) and 0 <= number < size):
            raise _refusal(f"the GGUF file says {keys[name]} = {number!r}, and it has {size} tokens", DAMAGED)
    return ids


def check_shapes(config: Mapping[str, Any], held: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Any]) -> None:
    """Raise Refusal where a tensor has another shape than the metadata give it; both are by llama.cpp's names."""
    for name, shape in wanted.items():
        if tuple(held[name]) != tuple(shape):
            sizes = f"{config['hidden_size']} wide with {config['num_attention_heads']} heads"
            message = f"the GGUF file holds {name} of shape {list(held[name])}"
            raise _refusal(f"{message}, and its metadata ({sizes}) ask for {list(shape)}", DAMAGED)


def _heads(own: Mapping[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The width of a head, and the share of it that is rotated."""
    plain = known["hidden_size"] // known["num_attention_heads"]
    if own.get("attention.key_length") is None and known["hidden_size"] % known["num_attention_heads"]:
        message = f"the GGUF file is {known['hidden_size']} wide and has {known['num_attention_heads']} heads"
        raise _refusal(f"{message}, which do not divide it", DAMAGED)
    rotated = own.get("rope.dimension_count")
    depth = own.get("attention.key_length") or (rotated if known["model_type"] == "llama" else None) or plain
    if depth < 1:
        raise _refusal("the GGUF file has heads of no elements", DAMAGED)
    if own.get("attention.value_length", depth) != depth:
        raise _refusal("keys and values of the GGUF file have heads of two widths")
    result: dict[str, Any] = {"head_dim": int(depth)}
    if rotated and rotated != depth:
        if known["model_type"] != "phi3":
            raise _refusal(f"the GGUF file rotates {rotated} of {depth} elements of a head")
        result["partial_rotary_factor"] = rotated / depth
    if known["model_type"] == "phi3":
        # Without the key `head_dim`, which Phi-3 does not have.
        result.pop("head_dim")
        if depth != plain:
            raise _refusal(f"the GGUF file has heads of {depth} elements, and Phi-3 heads of {plain}")
        result["sliding_window"] = own.get("attention.sliding_window") or None
    elif own.get("attention.sliding_window"):
        raise _refusal(f"the GGUF file has attention windows of {own['attention.sliding_window']} tokens")
    return result


# --- rotary positions -------------------------------------------------------------------------------------------------


def _rotary(own: Mapping[str, Any], known: dict[str, Any], factors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Base and scaling of rotary positions."""
    base = {"rope_theta": _positive(own.get("rope.freq_base", DEFAULT_BASE), "rope.freq_base")}
    kind, factor = own.get("rope.scaling.type", "none"), own.get("rope.scaling.factor", 0.0)
    if known["model_type"] == "phi3":
        return base | _long(own, known, factors)
    if own.get("rope.scaling.attn_factor", 1.0) not in (0.0, 1.0):
        raise _refusal(f"the GGUF file has rope.scaling.attn_factor {own['rope.scaling.attn_factor']:g}")
    if "rope_freqs.weight" in factors:
        return base | {"rope_scaling": _llama3(known | base, factors["rope_freqs.weight"])}
    if kind in ("none", ""):
        return base
    if kind == "linear":
        return base | {"rope_scaling": {"rope_type": "linear", "factor": _positive(factor, "rope.scaling.factor")}}
    raise _refusal(f"the GGUF file scales positions by {kind!r}")


def _llama3(known: dict[str, Any], written: Tensor) -> dict[str, Any]:
    """The parameters of Llama 3 that give these factors: the file has only their result."""
    _check_factors(written)
    for original in (2**power for power in range(5, 21)):
        scaling = {
            "rope_type": "llama3",
            "factor": _shortest(float(written.max())),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": original,
        }
        computed = architectures.rope_factors(known | {"rope_scaling": scaling})["rope_freqs.weight"]
        if computed.shape == written.shape and np.allclose(computed, written, rtol=1e-5):
            return scaling
    raise _refusal("the GGUF file has rotary factors (rope_freqs) that are not those of Llama 3")


def _long(own: Mapping[str, Any], known: dict[str, Any], factors: Mapping[str, Tensor]) -> dict[str, Any]:
    """LongRoPE of Phi-3: two lists of factors, and the context that it was trained with."""
    longest = known["max_position_embeddings"]
    original = own.get("rope.scaling.original_context_length") or longest
    result: dict[str, Any] = {"original_max_position_embeddings": int(original)}
    if "rope_factors_long.weight" not in factors:
        return result
    _check_factors(factors["rope_factors_long.weight"], factors.get("rope_factors_short.weight"))
    if original < 2:
        raise _refusal(f"the GGUF file says rope.scaling.original_context_length = {original}", DAMAGED)
    stretch = longest / original
    loudness = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    if not math.isclose(own.get("rope.scaling.attn_factor", loudness), loudness, rel_tol=1e-4):
        raise _refusal(f"the GGUF file has rope.scaling.attn_factor {own['rope.scaling.attn_factor']:g}")
    lists = {
        f"{name}_factor": [_shortest(value) for value in factors[f"rope_factors_{name}.weight"].tolist()]
        for name in ("long", "short")
    }
    # Both keys: transformers read `type` before it read `rope_type`.
    return result | {"rope_scaling": {"type": "longrope", "rope_type": "longrope", **lists}}


# --- values -----------------------------------------------------------------------------------------------------------


def _refuse_unknown(own: Mapping[str, Any]) -> None:
    # A key without effect is written as zero, false or "none".
    for key, value in own.items():
        if key not in READ and value not in (0, False, "", "none"):
            raise _refusal(f"the GGUF file says {key} = {value!r}, which is not read here")


def _refuse_wrong(own: Mapping[str, Any]) -> None:
    for key in (*WHOLE, *FRACTIONS):
        value = own.get(key, 0)
        fits = type(value) is int or (key in FRACTIONS and type(value) is float and math.isfinite(value))
        if not fits or value < 0:
            raise _refusal(f"the GGUF file says {key} = {value!r}", DAMAGED)
    if not isinstance(own.get("rope.scaling.type", ""), str):
        raise _refusal(f"the GGUF file says rope.scaling.type = {own['rope.scaling.type']!r}", DAMAGED)


def _check_factors(*lists: Tensor | None) -> None:
    """Raise Refusal for factors of rotary wavelengths that are none."""
    if any(values is None or not values.size or not (np.isfinite(values) & (values > 0)).all() for values in lists):
        raise _refusal("the GGUF file has rotary factors that are missing or no positive numbers", DAMAGED)


def _whole(value: Any, key: str) -> int:
    """A size that holds for all layers."""
    if isinstance(value, list) and value:
        if any(size != value[0] for size in value):
            raise _refusal(f"the GGUF file has layers of several {key}")
        value = value[0]
    if not isinstance(value, int):
        raise _refusal(f"the GGUF file says {key} = {value!r}, which is no whole number", DAMAGED)
    return value


def _epsilon(value: Any, architecture: str) -> float:
    # Without it the norm of a vector of zeros is NaN; from 1 on it is no small number beside the squares any more.
    if not isinstance(value, float) or not 0 < value < 1:
        raise _refusal(f"the GGUF file says {architecture}.attention.layer_norm_rms_epsilon = {value!r}", DAMAGED)
    return _shortest(value)


def _positive(value: Any, key: str) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise _refusal(f"the GGUF file says {key} = {value!r}", DAMAGED)
    return float(value)


def _shortest(value: float) -> float:
    """The shortest decimal number that is this FP32 number: 1e-05, and not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _refusal(message: str, remedy: str = REMEDY) -> Refusal:
    return Refusal("unsupported", message, remedy, "architecture")
