"""The family of models that compute one logit for each class of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, TaskOptions, Tolerance, note
from bench.worker.families import _input_files
from bench.worker.feeds import Array, Feed
from bench.worker.marked_files import readable
from bench.worker.refusal import Refusal

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    from bench.worker.labelled.sets import LabelledSet
    from bench.worker.pytorch.encoders import ImageClassifier

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1},
    labels={"batch": "b"},
    rates={"images": ["batch"]},
    files=(".pth",),
    inputs="wheel:scikit-image==0.26.0/skimage/data",
    opset=18,
    class_scores=("logits",),
    labelled=("classes",),
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
SIDE = 224
"""The height and width of pictures for models that take any size and have no preprocessing of their own."""
CALIBRATION_SAMPLES = 32


def load(source: Source) -> ImageClassifier:
    """The classifier in FP32; random weights get the statistics of a trained network."""
    from bench.worker import hugging_face
    from bench.worker.families import _random_weights
    from bench.worker.pytorch.encoders import ImageClassifier

    model = hugging_face.load(source, _class(source), strict=True)
    if source.weights == "random":
        # A convolutional network takes any size, and small pictures give the same statistics in a fifth of the time.
        sides, channels = _shape(model.config, 96)
        _random_weights.set_statistics(model, _random_weights.pictures(8, channels, sides, source.seed))
    classifier = ImageClassifier(model)
    classifier.eval()
    return classifier


def unpack(source: Source, out: Path) -> tuple[Note, ...]:
    """Write the folder of a state dict; its tensors must show the architecture."""
    from bench.worker import state_dicts

    return state_dicts.convert(Path(source.path), out)


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx`: from pixel_values (batch, channels, height, width) to logits (batch, classes)."""
    from bench.worker.pytorch import onnx_export

    axes = {"pixel_values": {0: "batch_size"}, "logits": {0: "batch_size"}}
    # The first is traced; the others have another batch.
    feeds = [{"pixel_values": _pictures(source, count, None, checked=True)} for count in (2, 3, 1)]
    return onnx_export.export(load(source), axes, feeds, out, opset)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of at least eight different photographs in all; noise of several scales if none are given."""
    batch = sizes["batch"]
    count = max(2, -(-CHECKED_SAMPLES // batch)) * batch
    pixels = _pictures(source, count, inputs, checked=True)
    return [{"pixel_values": pixels[start : start + batch]} for start in range(0, count, batch)]


def calibration(source: Source, inputs: str | None, workloads: Sequence[dict[str, int]] = ()) -> list[Feed]:
    """Batches of one picture each, of other photographs than those of `make_inputs`."""
    pixels = _pictures(source, CALIBRATION_SAMPLES, inputs, checked=False)
    return [{"pixel_values": pixels[index : index + 1]} for index in range(len(pixels))]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """Notes if the inputs are not photographs, and if the model has code of its own."""
    from bench.worker import hugging_face

    noise = () if inputs else (note("noise-pictures"),)
    custom = hugging_face.config_fields(source).get("auto_map")
    return (*noise, *((note("custom-code", model=hugging_face.config(source).model_type),) if custom else ()))


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The logits that PyTorch computes, and a description of how."""
    from bench.worker import hugging_face

    return hugging_face.reference(load(source), feeds)


def comparable(outputs: Feed, feed: Feed) -> Feed:
    """The logits (batch, classes) without each row's mean: a constant added to all classes changes no prediction."""
    logits: Array = np.asarray(outputs["logits"], np.float64)
    # With a single class all values would be zero.
    centred = logits if logits.shape[1] == 1 else np.subtract(logits, logits.mean(axis=1, keepdims=True))
    return {"logits": centred}


def _pictures(source: Source, count: int, inputs: str | None, *, checked: bool) -> Array:
    from bench.worker import hugging_face
    from bench.worker.families import _photographs, _random_weights

    sides, channels = _shape(hugging_face.config(source), 0)
    if 0 in sides:
        sides = _prepared_sides(source, channels)
    if not inputs:
        # Other seeds for calibration, or the recipe would be fitted to the pictures that check it.
        noise: Array = _random_weights.pictures(count, channels, sides, seed=1 if checked else 2).float().numpy()
        return noise
    if Path(inputs).suffix.lower() in (".npz", ".npy"):
        return _input_files.rows(Path(inputs), "pixel_values", count, checked=checked, channels=channels)
    photographs = (_photographs.checked if checked else _photographs.calibration)(Path(inputs))
    return _photographs.crops(photographs, count, _prepare(source, sides, channels))


def _prepared_sides(source: Source, channels: int) -> tuple[int, int]:
    """The height and width that the model's preprocessing gives a picture, where its configuration names none.

    The export takes pictures of this size only, so noise must have it too.
    """
    from PIL import Image

    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE))
    height, width = np.asarray(_prepare(source, (SIDE, SIDE), channels)(picture)).shape[-2:]
    return height, width


def _prepare(source: Source, sides: tuple[int, int], channels: int) -> Any:
    """The model's own preprocessing if its folder has one, else ImageNet's."""
    from bench.worker.families import _photographs

    if not (Path(source.path) / "preprocessor_config.json").is_file():
        return partial(_photographs.imagenet, sides=sides, channels=channels)
    from transformers import AutoImageProcessor

    from bench.worker.hugging_face import LOCAL

    processor = AutoImageProcessor.from_pretrained(readable(source.path), use_fast=False, **LOCAL)
    return lambda image: processor(images=image, return_tensors="np")["pixel_values"][0]


def _shape(config: Any, default: int) -> tuple[tuple[int, int], int]:
    """The height and width of a model's pictures, and their channels; `default` where it takes any size.

    A configuration gives one side or both, by itself or in that of its tower for pictures.
    """
    configs = [config, getattr(config, "vision_config", None)]
    size = next((each.image_size for each in configs if getattr(each, "image_size", None)), default)
    channels = next((each.num_channels for each in configs if getattr(each, "num_channels", None)), 3)
    if isinstance(size, dict):
        size = [size["height"], size["width"]]
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return (int(height), int(width)), channels


def _class(source: Source) -> Any:
    """The class of the classifier. Raises Refusal where there is none, or one that takes more than pixels."""
    import inspect

    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    from bench.worker import hugging_face

    config = hugging_face.config(source)
    saved = (config.architectures or [config.model_type])[0]
    chosen = hugging_face.class_in(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, config)
    if chosen is None:
        message = f"the checkpoint holds a {saved}, of which transformers has no classifier of pictures"
        raise Refusal("unsupported", message, "give the model the family of its kind", "no-classifier")
    taken = inspect.signature(chosen.forward).parameters
    others = [name for name in ("input_ids", "pixel_attention_mask", "spatial_shapes") if name in taken]
    if others or "pixel_values" not in taken:
        message = (
            f"the checkpoint holds a {saved}, which takes {', '.join(others)}, and this family gives only pictures"
        )
        raise Refusal("unsupported", message, "export it, and name the file: onnx:FILE", "other-inputs")
    return chosen


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Every picture with its class, prepared as the model's own folder says. Raises Refusal for other data."""
    from bench.worker import hugging_face
    from bench.worker.labelled import pictures

    config = hugging_face.config(source)
    sides, channels = _shape(config, 224)
    names = task.classes or tuple(config.id2label[place] for place in sorted(config.id2label))
    return pictures.labelled(task, sizes["batch"], names, _prepare(source, sides, channels), channels)
