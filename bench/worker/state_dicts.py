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
STARTS = (b"PK\x03\x04", b"\x80")
"""The first bytes of what torch.save writes: an archive, or a pickle in older versions."""
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
        held = "one tensor" if len(tensors) == 1 else f"{len(tensors)} tensors"
        message = f"{file.name} holds {held} of a network whose architecture is not shown by that"
        raise Refusal("unsupported", message, REMEDY, "architecture") from error
    config = efficientnet_lite.EfficientNetLiteConfig(
        blocks=blocks, head=head, stem=stem, image_size=_side(blocks), num_labels=classes
    )
    # Without memory at first: a file may claim any size.
    with torch.device("meta"):
        wanted = efficientnet_lite.EfficientNetLiteForImageClassification(config).state_dict()
    # Counters of training, which older files do not have.
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    others = sorted((wanted.keys() ^ tensors.keys()) - counters)
    if others:
        raise _no_lite(file, f"{others[0]} {'is missing' if others[0] in wanted else 'is none of its tensors'}")
    for name, shape in shapes.items():
        if shape != tuple(wanted[name].shape):
            raise _no_lite(file, f"{name} has the shape {list(shape)}, and not {list(wanted[name].shape)}")
    model = efficientnet_lite.EfficientNetLiteForImageClassification(config)
    model.load_state_dict(tensors, strict=False)
    config.architectures = [type(model).__name__]
    config.save_pretrained(out)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / "model.safetensors")
    sides = {"height": config.image_size, "width": config.image_size}
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING | {"size": sides}), encoding="utf-8")
    return (note("from-state-dict", file=file.name, model="EfficientNet-Lite"),)


def _no_lite(file: Path, why: str) -> Refusal:
    return Refusal("unsupported", f"{file.name} is no EfficientNet-Lite: {why}", REMEDY, "architecture")


def _read(file: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of a file by name. Raises Refusal for all that is not plain numbers in memory."""
    with file.open("rb") as opened:
        start = opened.read(4)
    if not start:
        raise Refusal("unsupported", f"{file.name} is empty", "download it again", "pickle")
    if not start.startswith(STARTS):
        raise Refusal("unsupported", f"{file.name} is no file that torch.save writes", REMEDY, "pickle")
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = f"{file.name} is no file of tensors alone: PyTorch does not read it without running its code"
        raise Refusal("unsupported", message, REMEDY, "pickle") from error
    # The reader of pickles has no error of its own for a damaged one.
    except Exception as error:
        message = f"{file.name} is damaged, or holds other things than tensors"
        raise Refusal("unsupported", message, f"download it again, or {REMEDY}", "pickle") from error
    # As PyTorch Lightning and many training scripts save it, beside the state of the training.
    while isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise Refusal("unsupported", f"{file.name} holds no state dict", REMEDY, "pickle")
    if not content:
        raise Refusal("unsupported", f"{file.name} holds an empty state dict", REMEDY, "pickle")
    for name, tensor in content.items():
        if not isinstance(name, str):
            raise Refusal("unsupported", f"{file.name} names a tensor {name!r}, which is no text", REMEDY, "pickle")
        if what := _odd(name, tensor):
            raise Refusal("unsupported", f"{file.name} holds {name} as {what}", REMEDY, "number-format")
    return content


def _odd(name: str, tensor: torch.Tensor) -> str:
    """What a tensor is, where it is not numbers that stand in memory; empty where it is."""
    if tensor.is_meta:
        return "a tensor without data (meta)"
    if tensor.layout != torch.strided:
        return "a sparse tensor"
    if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
        return str(tensor.dtype).removeprefix("torch.")
    # A file may claim any size by numbers that repeat.
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return "a view that repeats its numbers"
    return ""


def _side(blocks: list[list[int]]) -> int:
    """The side of the pictures that a network of this depth was trained with."""
    depths = {16: 224, 21: 240, 23: 260, 26: 280, 31: 300}
    return depths.get(len(blocks), 224)
