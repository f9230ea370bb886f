"""Language models of two layers with seeded weights: their folders, and their answers computed by NumPy alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.records import Source
from bench.worker.recipes import Context

VOCABULARY, WIDTH, HEADS, GROUPS, HEAD, INNER, LAYERS = 384, 256, 4, 2, 64, 512, 2
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + index / 64 for index in range(HEAD // 2)],
    "long_factor": [1.0 + index / 4 for index in range(HEAD // 2)],
}
BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]

Arrays = dict[str, np.ndarray]


def a_config(kind: str = "llama", **changes: Any) -> dict[str, Any]:
    """A config.json of the architecture."""
    said = {
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512,
        "vocab_size": VOCABULARY,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    return said | changes


def some_weights(config: dict[str, Any], seed: int = 0) -> Arrays:
    """Seeded tensors by Hugging Face's names; the logits that they lead to have a deviation of about 3."""
    random = np.random.default_rng(seed)
    kind, kv = config["model_type"], GROUPS * HEAD

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * gain / math.sqrt(columns)).astype(np.float32)

    def vector(length: int, mean: float = 0.0) -> np.ndarray:
        return (mean + 0.2 * random.standard_normal(length)).astype(np.float32)

    found = {"model.embed_tokens.weight": matrix(VOCABULARY, WIDTH, 3.0 if config["tie_word_embeddings"] else 16.0)}
    for layer in (f"model.layers.{index}." for index in range(LAYERS)):
        found |= {f"{layer}{name}_layernorm.weight": vector(WIDTH, 1.0) for name in ("input", "post_attention")}
        parts = {"q_proj": HEADS * HEAD, "k_proj": kv, "v_proj": kv}
        for part, rows in {"qkv_proj": sum(parts.values())}.items() if kind == "phi3" else parts.items():
            found[f"{layer}self_attn.{part}.weight"] = matrix(rows, WIDTH)
            if kind == "qwen2" or config.get("attention_bias"):
                found[f"{layer}self_attn.{part}.bias"] = vector(rows)
        if kind == "qwen3":
            found |= {f"{layer}self_attn.{part}_norm.weight": vector(HEAD, 1.0) for part in "qk"}
        found[f"{layer}self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * HEAD)
        gates = {"gate_up_proj": 2 * INNER} if kind == "phi3" else {"gate_proj": INNER, "up_proj": INNER}
        found |= {f"{layer}mlp.{part}.weight": matrix(rows, WIDTH) for part, rows in gates.items()}
        found[f"{layer}mlp.down_proj.weight"] = matrix(WIDTH, INNER)
    found["model.norm.weight"] = vector(WIDTH, 1.0)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = matrix(VOCABULARY, WIDTH, 3.0)
    return found


# --- folders ----------------------------------------------------------------------------------------------------------


def a_folder(path: Path, config: dict[str, Any], weights: Arrays | None = None, stored: str = "F32") -> Path:
    """A Hugging Face folder: config, weights in one file, and a tokenizer of bytes."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save(path / "model.safetensors", some_weights(config) if weights is None else weights, stored)
    (path / "tokenizer.json").write_text(json.dumps(a_tokenizer()), encoding="utf-8")
    ends = {"bos_token": "<|bos|>", "eos_token": "<|eos|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(ends), encoding="utf-8")
    return path


def save(path: Path, tensors: Arrays, stored: str = "F32") -> None:
    """A safetensors file, its tensors as FP32, FP16 or BF16."""
    as_stored = {
        "F32": lambda x: x.astype("<f4"),
        "F16": lambda x: x.astype("<f2"),
        "BF16": lambda x: (x.view(np.uint32) >> 16).astype("<u2"),
    }
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        blob = as_stored[stored](tensor).tobytes()
        header[name] = {"dtype": stored, "shape": tensor.shape, "data_offsets": (at, at + len(blob))}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def a_tokenizer(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of 256 bytes, a merge, two ends of text, and a name for each id but the last."""
    letters = {chr(byte): byte for byte in BYTES}
    others = [byte for byte in range(256) if byte not in BYTES]
    letters |= {chr(256 + index): byte for index, byte in enumerate(others)}
    names = {f"<|{number}|>": number for number in range(259, VOCABULARY - 1)}
    model = {"type": "BPE", "vocab": letters | {"th": 258} | names, "merges": [["t", "h"]]}
    added = [{"id": 256, "content": "<|bos|>", "special": True}, {"id": 257, "content": "<|eos|>", "special": True}]
    said = {"model": model, "added_tokens": added, "pre_tokenizer": {"type": "ByteLevel", "use_regex": True}}
    return said | changes


def a_context(folder: Path, parent: Path | None = None) -> Any:
    """What a recipe gets, of a family that hands out the folder."""
    source = Source(kind="folder", path=str(folder), weights="pretrained", digest="")
    task = SimpleNamespace(task="text-generation")
    family = SimpleNamespace(MANIFEST=task, folder=lambda _source, _scratch: folder)
    return Context(family, source, parent)


# --- answers ----------------------------------------------------------------------------------------------------------


def logits(config: dict[str, Any], weights: Arrays, ids: list[int]) -> np.ndarray:
    """After each token the logits of the next, float64 of (tokens, vocabulary), as the papers define them."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}
    x = w["model.embed_tokens.weight"][ids]
    eps = config["rms_norm_eps"]
    for layer in (f"model.layers.{index}." for index in range(LAYERS)):
        x = x + _attention(config, w, layer, _norm(x, w[f"{layer}input_layernorm.weight"], eps))
        x = x + _feed_forward(w, layer, _norm(x, w[f"{layer}post_attention_layernorm.weight"], eps))
    head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return _norm(x, w["model.norm.weight"], eps) @ w[head].T


def greedy(config: dict[str, Any], weights: Arrays, ids: list[int], new: int) -> tuple[list[int], np.ndarray]:
    """The likeliest `new` tokens one after another, and the logits that told each."""
    ids, rows = list(ids), []
    for _ in range(new):
        rows.append(logits(config, weights, ids)[-1])
        ids.append(int(rows[-1].argmax()))
    return ids[-new:], np.stack(rows)


def _attention(config: dict[str, Any], w: Arrays, layer: str, x: np.ndarray) -> np.ndarray:
    q, k, v = _heads(w, f"{layer}self_attn.", x)
    if config["model_type"] == "qwen3":
        eps = config["rms_norm_eps"]
        q, k = (_norm(a, w[f"{layer}self_attn.{n}_norm.weight"], eps) for a, n in ((q, "q"), (k, "k")))
    q, k = _rotate(config, q), _rotate(config, k)
    k, v = (np.repeat(a, HEADS // GROUPS, axis=1) for a in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(HEAD)
    scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    share = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("hqk,khd->qhd", share / share.sum(-1, keepdims=True), v)
    return mixed.reshape(len(x), -1) @ w[f"{layer}self_attn.o_proj.weight"].T


def _heads(w: Arrays, at: str, x: np.ndarray) -> list[np.ndarray]:
    sizes = [HEADS * HEAD, GROUPS * HEAD, GROUPS * HEAD]
    if f"{at}qkv_proj.weight" in w:
        parts = np.split(x @ w[f"{at}qkv_proj.weight"].T, np.cumsum(sizes)[:-1], axis=-1)
    else:
        parts = [x @ w[f"{at}{n}_proj.weight"].T + w.get(f"{at}{n}_proj.bias", 0.0) for n in "qkv"]
    return [part.reshape(len(x), -1, HEAD) for part in parts]


def _feed_forward(w: Arrays, layer: str, x: np.ndarray) -> np.ndarray:
    if f"{layer}mlp.gate_up_proj.weight" in w:
        gate, up = np.split(x @ w[f"{layer}mlp.gate_up_proj.weight"].T, 2, axis=-1)
    else:
        gate, up = (x @ w[f"{layer}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
    return (gate / (1 + np.exp(-gate)) * up) @ w[f"{layer}mlp.down_proj.weight"].T


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def _rotate(config: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Positions, with the halves of each head as the two sides of a rotation."""
    rope = config["rope_parameters"]
    frequencies = rope["rope_theta"] ** (-np.arange(0, HEAD, 2) / HEAD)
    louder = 1.0
    if rope["rope_type"] == "llama3":
        frequencies = np.array([_llama3(frequency, rope) for frequency in frequencies])
    if rope["rope_type"] == "longrope":
        original = config["original_max_position_embeddings"]
        frequencies = frequencies / np.array(rope["short_factor"])
        louder = math.sqrt(1 + math.log(config["max_position_embeddings"] / original) / math.log(original))
    angles = np.arange(len(x))[:, None, None] * frequencies
    first, second = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles) * louder, np.sin(angles) * louder
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _llama3(frequency: float, rope: dict[str, Any]) -> float:
    wave = 2 * math.pi / frequency
    original, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
    if wave < original / high:
        return frequency
    if wave > original / low:
        return frequency / rope["factor"]
    smooth = (original / wave - low) / (high - low)
    return (1 - smooth) * frequency / rope["factor"] + smooth * frequency
