"""Loads Hugging Face sources as PyTorch modules, and computes reference outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoTokenizer

from bench.records import Source
from bench.worker import newer_configs
from bench.worker.families._random_weights import randomise
from bench.worker.feeds import Feed
from bench.worker.marked_files import readable
from bench.worker.refusal import Refusal

Fill = Callable[[torch.nn.Module, int], torch.nn.Module]
Part = Callable[[torch.nn.Module], torch.nn.Module]
"""`(model, seed)`: completes the random weights of a freshly initialised model, and returns the model."""
LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Sources are resolved before a worker gets them, and code of a model repository is never run."""


def config(source: Source) -> Any:
    """The architecture from `config.json` of the folder, or from the config file itself.

    ValueError where the file has no `model_type`, Refusal where this transformers does not know it or reads it wrong.
    """
    fields = config_fields(source)
    if "model_type" not in fields:
        raise ValueError(f"{_config_path(source).name} has no 'model_type', so its architecture is not known")
    _register_own(fields["model_type"])
    if fields["model_type"] not in CONFIG_MAPPING:
        message = f"transformers {transformers.__version__} knows no model of the type {fields['model_type']!r}"
        remedy = "it may be newer than this transformers, or misspelt"
        if fields.get("auto_map"):
            message += ", and the code that its config.json names (auto_map) is never run"
            remedy = "export it where you trust its code, and name the file: onnx:FILE"
        raise Refusal("unsupported", message, remedy, "architecture")
    read = AutoConfig.for_model(**newer_configs.for_this_version(fields))
    newer_configs.refuse_ignored(fields, read)
    return read


def _register_own(model_type: str) -> None:
    """Make a model of this project known to transformers, which has none of its kind."""
    from bench.worker.pytorch import efficientnet_lite

    if model_type == efficientnet_lite.MODEL_TYPE:
        efficientnet_lite.register()


def config_fields(source: Source) -> dict[str, Any]:
    """The content of the configuration, as it is written. ValueError for an ONNX file."""
    path = _config_path(source)
    if source.kind == "onnx":
        raise ValueError(f"{path.name} is an ONNX file; its family is onnx-file")
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_special_float)
    return fields


def _special_float(table: dict[str, Any]) -> Any:
    """The number of `{"__float__": "Infinity"}`, as transformers 5 writes it; other tables as they are."""
    return float(table["__float__"]) if set(table) == {"__float__"} else table


def is_of_other_version(source: Source) -> bool:
    """Whether this transformers reads the configuration only after it is translated."""
    fields = config_fields(source)
    return newer_configs.for_this_version(fields) != fields


def _config_path(source: Source) -> Path:
    path = Path(source.path)
    return path / "config.json" if source.kind == "folder" else path


def load(
    source: Source,
    auto: Any,
    fill: Fill = randomise,
    *,
    strict: bool = False,
    fields: Mapping[str, Any] = MappingProxyType({}),
    part: Part = lambda model: model,
) -> torch.nn.Module:
    """The model in FP32 and in evaluation mode: pretrained weights, or seeded random ones of the same architecture.

    `auto` is the AutoModel class of the family's task, or a model's class; `fill` completes random weights in place;
    `fields` replace those of the configuration; `part` gives the part of the model that is run.
    ValueError where the folder's weights lack a tensor of that part: transformers would initialise it at random and
    only warn.
    With `strict` Refusal where the layers of the folder have tensors that those of the model do not have.
    """
    # Read in any case: it refuses what this transformers would read wrong.
    read = config_for(auto, config(source))
    for name, value in fields.items():
        setattr(read, name, value)
    if source.weights == "random":
        # Measured: one seed gives the same bytes under transformers 4.57 and 5.23, so all runtimes get the same model.
        torch.manual_seed(source.seed)
        make = getattr(auto, "from_config", None)
        model = make(read, trust_remote_code=False) if make else auto._from_config(read)
        return fill(without_pooler(model.float().eval()), source.seed)
    # The configuration as read above: the class would read the file again, and ignore parts of a newer version's.
    options = {"config": read} if fields or is_of_other_version(source) else {}
    # Only safetensors: pickled weights can run code.
    model, loading_info = auto.from_pretrained(
        readable(source.path), use_safetensors=True, output_loading_info=True, **options, **LOCAL
    )
    _require_weights(model, part, loading_info["missing_keys"])
    if strict:
        _refuse_other_layers(model, loading_info["unexpected_keys"])
    # FP32, also for a folder in half precision: the reference and all recipes start from it. Without `eval` the
    # reference would have dropout.
    return without_pooler(model.float().eval())


def _require_weights(model: torch.nn.Module, part: Part, missing: Iterable[str]) -> None:
    """Raise ValueError where the file lacks tensors of the part of a model that is run."""
    # Before the part is taken, which may remove the others.
    tensors = model.state_dict(keep_vars=True)
    run = {id(tensor) for tensor in part(model).state_dict(keep_vars=True).values()}
    # The pooler is removed from what is run. A name without a tensor of its own is not known to be left out.
    lacking = [
        key
        for key in sorted(missing)
        if not key.startswith("pooler.") and (key not in tensors or id(tensors[key]) in run)
    ]
    if lacking:
        raise ValueError(f"the weights lack {len(lacking)} tensors of {type(model).__name__}, e.g. {lacking[0]}")


def config_for(auto: Any, read: Any) -> Any:
    """The part of a configuration that a class takes: that of the text tower for a class of text towers."""
    wanted = getattr(auto, "config_class", None)
    inner = getattr(read, "text_config", None)
    fits = wanted is not None and not isinstance(read, wanted) and inner is not None and isinstance(inner, wanted)
    return inner if fits else read


def class_in(mapping: Any, read: Any) -> Any:
    """The class of a configuration in a mapping of an AutoModel; None where it has none.

    Of several it is the one that the checkpoint was saved from, else the first.
    """
    if type(read) not in mapping:
        return None
    classes = mapping[type(read)]
    if not isinstance(classes, list | tuple):
        return classes
    return next((each for each in classes if each.__name__ in (read.architectures or ())), classes[0])


def _refuse_other_layers(model: torch.nn.Module, unexpected: Iterable[str]) -> None:
    """Refuse weights of the model's own layers that the model does not have: it would compute something else.

    Heads, poolers and whole layers that a configuration leaves out are not meant.
    """
    layers = {name for name, _ in model.named_modules() if re.search(r"(^|\.)\d+$", name)}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    others = [
        key
        for key in sorted(unexpected)
        if key.endswith((".weight", ".bias")) and "pooler" not in key and _layer_of(key.removeprefix(prefix)) in layers
    ]
    if others:
        message = (
            f"the layers of the weights hold {len(others)} tensors that {type(model).__name__} of transformers "
            f"{transformers.__version__} does not have, e.g. {others[0]}"
        )
        remedy = "it needs another transformers, or code of its own: export it there, and name the file: onnx:FILE"
        raise Refusal("unsupported", message, remedy, "architecture")


def _layer_of(key: str) -> str:
    """The outermost numbered module that a tensor belongs to: `encoder.layer.0` of `encoder.layer.0.mlp.weight`."""
    match = re.match(r"(?:.*?\.)?\d+(?=\.)", key)
    return match[0] if match else ""


def without_pooler(model: torch.nn.Module) -> torch.nn.Module:
    """Remove the pooler: the ONNX export has none, so PyTorch must not spend time on it."""
    if getattr(model, "pooler", None) is not None:
        # Not None: LayoutLM and SqueezeBERT call their pooler in any case.
        model.pooler = torch.nn.Identity()
    return model


def tokenizer(source: Source) -> Any | None:
    """The model's own tokenizer, or None where its folder has none."""
    folder = Path(source.path)
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
    if not any((folder / name).is_file() for name in names):
        return None
    return AutoTokenizer.from_pretrained(readable(folder), **LOCAL)


def reference(model: torch.nn.Module, feeds: Sequence[Feed]) -> tuple[list[Feed], str]:
    """The named outputs of every batch, and what computed them."""
    batches = []
    with torch.inference_mode():
        for feed in feeds:
            outputs = model(**{name: torch.from_numpy(array) for name, array in feed.items()})
            batches.append({name: value.numpy() for name, value in outputs.items()})
    return batches, computed_by()


def computed_by() -> str:
    """What computes the references, such as `PyTorch 2.13.0, FP32`."""
    return f"PyTorch {torch.__version__.partition('+')[0]}, FP32"


def save(model: torch.nn.Module, tokenizer: Any, out: Path) -> None:
    """Write a folder in the layout of the Hugging Face Hub: config.json, safetensors and the tokenizer's files."""
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def parameters(model: torch.nn.Module) -> int:
    """The number of weights; a table that is shared by the embedding and the head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
