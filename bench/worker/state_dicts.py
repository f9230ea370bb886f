"""Turns a state dict in a pickle into a Hugging Face folder once; only tensors are read, and no code is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.records import Note, note
from bench.worker.pytorch import efficientnet_lite
from bench.worker.refusal import Refusal

REMEDY = "give the model as a Hugging Face folder with safetensors, or export it and name the file: onnx:FILE"
# Pixels from -127/128 to 1, as the network was trained with.
PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def convert(file: Path, out: Path) -> tuple[Note, ...]:
    """Write the folder of an EfficientNet-Lite into `out`. Raises Refusal for other state dicts and other pickles."""
    tensors = _read(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        blocks = efficientnet_lite.blocks_of(shapes)
        classes, head = shapes["_fc.weight"]
        stem = shapes["_conv_stem.weight"][0]
    except (KeyError, ValueError, IndexError) as error:
        message = f"{file.name} holds {len(tensors)} tensors of a network whose architecture they do not show"
        raise Refusal("unsupported", message, REMEDY, "architecture") from error
    config = efficientnet_lite.EfficientNetLiteConfig(
        blocks=blocks, head=head, stem=stem, image_size=_side(blocks), num_labels=classes
    )
    model = efficientnet_lite.EfficientNetLiteForImageClassification(config)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if missing or unexpected:
        message = f"{file.name} is no EfficientNet-Lite: {(missing + unexpected)[0]} differs"
        raise Refusal("unsupported", message, REMEDY, "architecture")
    config.architectures = [type(model).__name__]
    config.save_pretrained(out)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / "model.safetensors")
    sides = {"height": config.image_size, "width": config.image_size}
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING | {"size": sides}), encoding="utf-8")
    return (note("from-state-dict", file=file.name, model="EfficientNet-Lite"),)


def _read(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        message = f"{file.name} is no file of tensors alone: PyTorch does not read it without running its code"
        raise Refusal("unsupported", message, REMEDY, "pickle") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise Refusal("unsupported", f"{file.name} holds no state dict", REMEDY, "pickle")
    return content


def _side(blocks: list[list[int]]) -> int:
    """The side of the pictures that a network of this depth was trained with."""
    depths = {16: 224, 21: 240, 23: 260, 26: 280, 31: 300}
    return depths.get(len(blocks), 224)
