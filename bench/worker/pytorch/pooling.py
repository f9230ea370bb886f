"""Builds the layers with which a sentence-transformers folder turns the vectors of tokens into an embedding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
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
PACKAGE = "sentence_transformers"
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


def read(folder: Path, *, width: int | None = None, random: bool = False) -> Embedding | None:
    """The layers that `modules.json` of a folder names; None where there is no such file.

    `width` is that of the encoder's hidden states, where it is known. `random` gives layers with weights random ones,
    for a model with random weights. Raises Refusal for modules that are not known here: an embedding without them would
    be another one than users of the model get.
    """
    if not (folder / MODULES).is_file():
        return None
    entries = _entries(folder)
    names = [str(entry["type"]).rpartition(".")[2] for entry in entries]
    if names[0] != "Transformer" or not _is_own(entries[0]):
        raise _refusal(f"{MODULES} begins with {entries[0]['type']!r}")
    if entries[0]["path"]:
        raise _refusal(f"{MODULES} has its encoder in the folder {entries[0]['path']!r}")
    for entry in entries[1:]:
        if not _is_own(entry):
            raise _refusal(f"{MODULES} names {entry['type']!r}, which is no module of sentence-transformers")
    if len(names) == 1:
        return None
    if names[1] != "Pooling":
        raise _refusal(f"{MODULES} names {names[1]} after the encoder")
    config = _config(folder, entries[1])
    modes = _modes(config)
    _check_width(config, width)
    # None where neither the folder nor the encoder says it.
    current = width or _declared_width(config)
    current = current and current * len(modes)
    layers, steps = [], [*modes]
    for name, entry in zip(names[2:], entries[2:], strict=True):
        if name in NO_WORK:
            continue
        if name not in LAYERS:
            raise _refusal(f"{MODULES} names {entry['type']}")
        layer, current = LAYERS[name](folder, entry, random, current)
        layers.append(layer)
        steps.append(name.lower())
    return Embedding(modes, layers, tuple(steps))


def _entries(folder: Path) -> list[dict[str, Any]]:
    """The modules in their order, each with a type and a path that stays in the folder."""
    entries = _read(folder, MODULES)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise _refusal(f"{MODULES} holds no list of modules")
    for entry in entries:
        if not isinstance(entry.get("type"), str) or not isinstance(entry.get("path"), str):
            raise _refusal(f"{MODULES} has a module without a type or a path")
        path = PurePosixPath(entry["path"].replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry["path"]:
            raise _refusal(f"{MODULES} names {entry['path']!r}, which is outside the folder")
    return entries


def _is_own(entry: dict[str, Any]) -> bool:
    """Whether a module is one of sentence-transformers: another package may have any code under the same name."""
    return str(entry["type"]).startswith(f"{PACKAGE}.")


def lowers_case(folder: Path) -> bool:
    """Whether sentence-transformers gives the tokenizer of the folder text in lower case."""
    name = "sentence_bert_config.json"
    if not (folder / name).is_file():
        return False
    config = _read(folder, name)
    if not isinstance(config, dict):
        raise _refusal(f"{name} holds no object")
    return bool(config.get("do_lower_case"))


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
KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""In the order in which sentence-transformers joins them."""


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    """The names of the modes in the order in which they are joined, as sentence-transformers 6 reads them.

    Without any key it takes the mean, in every version. Where all keys are false, version 6 takes the mean and the
    older ones fail; where only the key of the mean is missing, older versions join the mean. Both are refused.
    """
    chosen = config.get("pooling_mode")
    if chosen is not None:
        # The older keys are ignored then.
        listed = [chosen] if isinstance(chosen, str) else chosen
        if not isinstance(listed, list) or not listed or not all(isinstance(mode, str) for mode in listed):
            raise _refusal(f"its pooling_mode is {json.dumps(chosen)}")
        named = [mode.removesuffix("_tokens") if mode == "mean_sqrt_len_tokens" else mode for mode in listed]
    else:
        keys = {key: value for key, value in config.items() if key.startswith("pooling_mode_")}
        for key, value in keys.items():
            if not isinstance(value, bool):
                raise _refusal(f"its {key} is {json.dumps(value)}, and not true or false")
        if keys and not any(keys.values()):
            raise _refusal("its pooling has no mode that is true")
        # Older versions add the mean then, and version 6 does not.
        if keys and "pooling_mode_mean_tokens" not in keys:
            raise _refusal("its pooling does not say pooling_mode_mean_tokens")
        named = [mode for key, mode in KEYS.items() if keys.get(key)] + sorted(
            key for key, value in keys.items() if value and key not in KEYS
        )
    if unknown := sorted(set(named) - POOLS.keys()):
        raise _refusal(f"its pooling is {', '.join(unknown)}")
    return tuple(named) or ("mean",)


def _declared_width(config: dict[str, Any]) -> int | None:
    width = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or width < 1):
        raise _refusal(f"its pooling has a width of {json.dumps(width)}")
    return width


def _check_width(config: dict[str, Any], width: int | None) -> None:
    declared = _declared_width(config)
    if declared is not None and width is not None and declared != width:
        raise _refusal(f"its pooling takes vectors of {declared} numbers, and the encoder gives {width}")


# --- layers -----------------------------------------------------------------------------------------------------------


Layer = tuple[nn.Module, int | None]
"""A layer, and the width of its output where it is known."""


def _dense(folder: Path, entry: dict[str, Any], random: bool, width: int | None) -> Layer:
    config = _config(folder, entry)
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise _refusal(f"its Dense layer has {key} = {config[key]!r}")
    if config.get("use_residual"):
        raise _refusal("its Dense layer has a residual connection")
    named = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = named.rpartition(".")[2]
    if activation not in ACTIVATIONS or not named.startswith("torch."):
        raise _refusal(f"its Dense layer has the activation {named}")
    before, after = (_size(config, entry, key) for key in ("in_features", "out_features"))
    _check_input(entry, before, width)
    linear = nn.Linear(before, after, bias=bool(config.get("bias", True)))
    return nn.Sequential(_filled(linear, "linear.", folder, entry, random), ACTIVATIONS[activation]()), after


def _layer_norm(folder: Path, entry: dict[str, Any], random: bool, width: int | None) -> Layer:
    size = _size(_config(folder, entry), entry, "dimension")
    _check_input(entry, size, width)
    return _filled(nn.LayerNorm(size), "norm.", folder, entry, random), size


def _normalize(folder: Path, entry: dict[str, Any], random: bool, width: int | None) -> Layer:
    return Normalize(), width


def _size(config: dict[str, Any], entry: dict[str, Any], key: str) -> int:
    size = config.get(key)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        what = "has no" if size is None else f"says {json.dumps(size)} as its"
        raise _refusal(f"{entry['path']}/config.json {what} {key}")
    return size


def _check_input(entry: dict[str, Any], size: int, width: int | None) -> None:
    if width is not None and size != width:
        raise _refusal(f"{entry['path']} takes vectors of {size} numbers, and gets {width}")


LAYERS: dict[str, Callable[[Path, dict[str, Any], bool, int | None], Layer]] = {
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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = {name.removeprefix(prefix): tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise _refusal(f"{entry['path']}/model.safetensors is damaged") from error
    wanted = {name: list(tensor.shape) for name, tensor in layer.state_dict().items()}
    held = {name: list(tensor.shape) for name, tensor in weights.items()}
    if odd := sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name)):
        name = odd[0]
        message = f"{entry['path']}/model.safetensors has {prefix}{name} of shape {held.get(name)}"
        raise _refusal(f"{message}, and its config.json asks for {wanted.get(name)}")
    layer.load_state_dict(weights)
    return layer


# --- helpers ----------------------------------------------------------------------------------------------------------


def _read(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8-sig"))
    # ValueError for what is no JSON and for what is no UTF-8.
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(f"{name} is no JSON that can be read") from error


def _config(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    name = f"{entry['path']}/config.json"
    if not (folder / name).is_file():
        raise _refusal(f"{name} is missing")
    config = _read(folder, name)
    if not isinstance(config, dict):
        raise _refusal(f"{name} holds no object")
    return config


def _refusal(what: str) -> Refusal:
    remedy = f"remove {MODULES} in a copy of the folder, to measure the encoder alone"
    return Refusal("unsupported", f"{what}: this embedding cannot be made here", remedy, "modules")
