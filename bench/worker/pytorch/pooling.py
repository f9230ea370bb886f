"""Builds the layers with which a sentence-transformers folder turns the vectors of tokens into an embedding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.worker.refusal import Refusal

MODULES = "modules.json"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
}
"""The activations of a Dense layer, by the last part of their name in its config."""
NO_WORK = ("Dropout", "Identity")
"""Modules that change nothing when a model is used."""


class Embedding(nn.Module):  # type: ignore[misc]
    """Turns hidden states (batch, sequence, hidden) and their mask (batch, sequence) into embeddings (batch, width)."""

    def __init__(self, modes: tuple[str, ...], layers: list[nn.Module], steps: tuple[str, ...]) -> None:
        super().__init__()
        self.modes, self.layers = modes, nn.ModuleList(layers)
        self.steps = steps
        """What is done, in words for readers, such as `mean` and `normalize`."""

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings; several modes are joined, as sentence-transformers joins them."""
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        pooled = torch.cat([POOLS[mode](hidden, weights) for mode in self.modes], dim=-1)
        for layer in self.layers:
            pooled = layer(pooled)
        return pooled


class Normalize(nn.Module):  # type: ignore[misc]
    """Divides each embedding by its length."""

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Embeddings of length 1, of the same shape."""
        return nn.functional.normalize(embedding, p=2.0, dim=-1)


def read(folder: Path, *, random: bool = False) -> Embedding | None:
    """The layers that `modules.json` of a folder names; None where there is no such file.

    `random` gives layers with weights random ones, for a model with random weights. Raises Refusal for modules that are
    not known here: an embedding without them would be another one than users of the model get.
    """
    if not (folder / MODULES).is_file():
        return None
    entries = _read(folder / MODULES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _refusal(f"{MODULES} holds no list of modules")
    names = [str(entry.get("type", "")).rpartition(".")[2] for entry in entries]
    if names[:1] != ["Transformer"] or str(entries[0].get("type")).partition(".")[0] != "sentence_transformers":
        raise _refusal(f"{MODULES} begins with {entries[0].get('type') if entries else 'nothing'!r}")
    if str(entries[0].get("path") or ""):
        raise _refusal(f"{MODULES} has its encoder in the folder {entries[0]['path']!r}")
    if len(names) == 1:
        return None
    modes = _modes(_config(folder, entries[1])) if names[1] == "Pooling" else ()
    if not modes:
        raise _refusal(f"{MODULES} names {names[1]} after the encoder")
    layers, steps = [], [*modes]
    for name, entry in zip(names[2:], entries[2:], strict=True):
        if name in NO_WORK:
            continue
        if name not in LAYERS:
            raise _refusal(f"{MODULES} names {entry.get('type')}")
        layers.append(LAYERS[name](folder, entry, random))
        steps.append(name.lower())
    return Embedding(modes, layers, tuple(steps))


def lowers_case(folder: Path) -> bool:
    """Whether sentence-transformers gives the tokenizer of the folder text in lower case."""
    path = folder / "sentence_bert_config.json"
    return path.is_file() and bool(_read(path).get("do_lower_case"))


# --- pooling ----------------------------------------------------------------------------------------------------------


def _cls(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def _max(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return torch.where(weights > 0, hidden, torch.finfo(hidden.dtype).min).amax(dim=1)


def _sum(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (hidden * weights).sum(dim=1)


def _mean(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=1)


def _mean_sqrt_len(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=1).sqrt()


def _weighted_mean(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    weights = weights * _positions(weights)
    return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=1)


def _last_token(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    # The last token that is no padding, on whichever side the padding is.
    last = (weights * _positions(weights)).argmax(dim=1, keepdim=True)
    return hidden.gather(1, last.expand(-1, 1, hidden.shape[-1])).squeeze(1)


def _positions(weights: torch.Tensor) -> torch.Tensor:
    """1, 2, 3 … along the sequence, of shape (sequence, 1)."""
    return torch.arange(1, weights.shape[1] + 1, device=weights.device).to(weights.dtype).unsqueeze(-1)


POOLS = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
"""In the order in which sentence-transformers joins them."""
KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    """The names of the modes in the order in which they are joined."""
    chosen = config.get("pooling_mode")
    named = {chosen} if isinstance(chosen, str) else set(chosen or ())
    for key, value in config.items():
        if key.startswith("pooling_mode_") and value:
            named.add(KEYS.get(key, key))
    if unknown := sorted(named - POOLS.keys()):
        raise _refusal(f"its pooling is {', '.join(unknown)}")
    return tuple(mode for mode in POOLS if mode in (named or {"mean"}))


# --- layers -----------------------------------------------------------------------------------------------------------


def _dense(folder: Path, entry: dict[str, Any], random: bool) -> nn.Module:
    config = _config(folder, entry)
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise _refusal(f"its Dense layer has {key} = {config[key]!r}")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise _refusal(f"its Dense layer has the activation {activation}")
    linear = nn.Linear(config["in_features"], config["out_features"], bias=bool(config.get("bias", True)))
    return nn.Sequential(_filled(linear, "linear.", folder, entry, random), ACTIVATIONS[activation]())


def _layer_norm(folder: Path, entry: dict[str, Any], random: bool) -> nn.Module:
    return _filled(nn.LayerNorm(_config(folder, entry)["dimension"]), "norm.", folder, entry, random)


def _normalize(folder: Path, entry: dict[str, Any], random: bool) -> nn.Module:
    return Normalize()


LAYERS: dict[str, Callable[[Path, dict[str, Any], bool], nn.Module]] = {
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": _normalize,
}


def _filled(layer: nn.Module, prefix: str, folder: Path, entry: dict[str, Any], random: bool) -> nn.Module:
    """The layer with the weights of its folder, in FP32."""
    if random:
        return layer
    path = folder / str(entry["path"]) / "model.safetensors"
    if not path.is_file():
        message = f"{entry['path']} has no model.safetensors, and loading a pickle can run any code"
        raise Refusal("unsupported", message, "save the model with sentence-transformers again", "modules")
    from safetensors.torch import load_file

    weights = {name.removeprefix(prefix): tensor.float() for name, tensor in load_file(path).items()}
    layer.load_state_dict(weights)
    return layer


# --- helpers ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _config(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    path = folder / str(entry.get("path") or "") / "config.json"
    config = _read(path) if path.is_file() else {}
    if not isinstance(config, dict):
        raise _refusal(f"{entry.get('path')}/config.json holds no object")
    return config


def _refusal(what: str) -> Refusal:
    remedy = f"remove {MODULES} in a copy of the folder, to measure the encoder alone"
    return Refusal("unsupported", f"{what}: this embedding cannot be made here", remedy, "modules")
