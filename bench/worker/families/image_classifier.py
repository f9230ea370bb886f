"""The family of models that compute one logit for each class of a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, Tolerance, note
from bench.worker.families import _input_files
from bench.worker.feeds import Array, Feed

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    import torch

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1},
    labels={"batch": "b"},
    rates={"images": ["batch"]},
    inputs="wheel:scikit-image==0.26.0/skimage/data",
    opset=18,
    # Measured with random weights on 16 photographs, worst of ResNet-50, ViT-tiny and ViT-small (lowest cosine /
    # relative error). The logits of two photographs have a cosine of 0.2 to 0.55 on average, so the logits of another
    # photograph do not pass.
    tolerances={
        # 1.000000 / 2e-6. Arithmetic in TF32, FP16 or BF16 has 8e-4, 9e-4 or 1e-2 at the least, and is not FP32.
        "fp32": Tolerance(min_cosine=0.99999, max_relative_error=1e-4),
        # 0.999986 / 3.9e-3 with casts around FP32; kernels that accumulate in FP16 have 0.9997 / 2.1e-2 (ResNet-50
        # on WebGPU), and are FP16 too. BF16 instead has 0.9997 / 1.2e-2: only the probe can distinguish it, and flags
        # it.
        "fp16": Tolerance(min_cosine=0.999, max_relative_error=0.04),
        # 0.9992 / 3.2e-2.
        "bf16": Tolerance(min_cosine=0.997, max_relative_error=0.08),
    },
)

CHECKED_SAMPLES = 8
CALIBRATION_SAMPLES = 32


def load(source: Source) -> torch.nn.Module:
    """The classifier in FP32; random weights get the statistics of a trained network."""
    from transformers import AutoModelForImageClassification

    from bench.worker import hugging_face
    from bench.worker.families import _random_weights

    model = hugging_face.load(source, AutoModelForImageClassification)
    if source.weights == "random":
        # A convolutional network takes any size, and small pictures give the same statistics in a fifth of the time.
        size = getattr(model.config, "image_size", 96)
        _random_weights.set_statistics(model, _random_weights.pictures(8, model.config.num_channels, size, source.seed))
    return model


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx`: from pixel_values (batch, channels, height, width) to logits (batch, classes)."""
    from bench.worker import hugging_face

    return hugging_face.export(load(source), "image-classification", out, opset)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of at least eight different photographs in all; noise of several scales if none are given."""
    batch = sizes["batch"]
    count = max(2, -(-CHECKED_SAMPLES // batch)) * batch
    pixels = _pictures(source, count, inputs, checked=True)
    return [{"pixel_values": pixels[start : start + batch]} for start in range(0, count, batch)]


def calibration(source: Source, inputs: str | None) -> list[Feed]:
    """Batches of one picture each, of other photographs than those of `make_inputs`."""
    pixels = _pictures(source, CALIBRATION_SAMPLES, inputs, checked=False)
    return [{"pixel_values": pixels[index : index + 1]} for index in range(len(pixels))]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """A note if the inputs are not photographs."""
    return () if inputs else (note("noise-pictures"),)


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The logits that PyTorch computes, and a description of how."""
    from bench.worker import hugging_face

    return hugging_face.reference(load(source), feeds, ["logits"])


def comparable(outputs: Feed, feed: Feed) -> Array:
    """The logits (batch, classes) without each row's mean: a constant added to all classes changes no prediction."""
    logits: Array = np.asarray(outputs["logits"], np.float64)
    # With a single class all values would be zero.
    return logits if logits.shape[1] == 1 else np.subtract(logits, logits.mean(axis=1, keepdims=True))


def _pictures(source: Source, count: int, inputs: str | None, *, checked: bool) -> Array:
    from bench.worker import hugging_face
    from bench.worker.families import _photographs, _random_weights

    config = hugging_face.config(source)
    size, channels = getattr(config, "image_size", 224), getattr(config, "num_channels", 3)
    if not inputs:
        # Other seeds for calibration, or the recipe would be fitted to the pictures that check it.
        noise: Array = _random_weights.pictures(count, channels, size, seed=1 if checked else 2).float().numpy()
        return noise
    if Path(inputs).suffix.lower() in (".npz", ".npy"):
        return _input_files.rows(Path(inputs), "pixel_values", count, checked=checked, channels=channels)
    photographs = (_photographs.checked if checked else _photographs.calibration)(Path(inputs))
    return _photographs.crops(photographs, count, _prepare(source, size, channels))


def _prepare(source: Source, size: int, channels: int) -> Any:
    """The model's own preprocessing if its folder has one, else ImageNet's."""
    from bench.worker.families import _photographs

    if not (Path(source.path) / "preprocessor_config.json").is_file():
        return partial(_photographs.imagenet, size=size, channels=channels)
    from transformers import AutoImageProcessor

    from bench.worker.hugging_face import LOCAL

    processor = AutoImageProcessor.from_pretrained(source.path, use_fast=False, **LOCAL)
    return lambda image: processor(images=image, return_tensors="np")["pixel_values"][0]
