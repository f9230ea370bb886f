"""Image classifiers of several architectures: the size of their pictures, and exports that take any batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny_models import lively  # noqa: E402

from bench.records import Build, Recipe, Source, note  # noqa: E402
from bench.worker import artifacts, hugging_face  # noqa: E402
from bench.worker.families import _photographs, _random_weights, image_classifier  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
VIT = SIZES | {"image_size": 32, "patch_size": 8}
FOUR = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit", VIT),
    "a pair of sides": ("vit", VIT | {"image_size": [32, 48]}),
    "one channel": ("vit", VIT | {"num_channels": 1}),
    "deit": ("deit", VIT),
    "dinov2": ("dinov2", VIT),
    "swin": ("swin", {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}),
    "convnext": ("convnext", FOUR | {"image_size": 64}),
    "pvt_v2": ("pvt_v2", FOUR | {"image_size": 64, "num_attention_heads": [1, 2, 3, 4]}),
    "mobilenet_v2": ("mobilenet_v2", {"image_size": 64, "depth_multiplier": 0.35}),
    "a nested size": ("siglip", {"vision_config": VIT}),
    "scores as hidden states": ("pp_lcnet", {"scale": 0.25, "class_expand": 64}),
    "resnet": ("resnet", {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1], "layer_type": "basic"}),
}


def saved(folder: Path, model_type: str, fields: dict[str, Any]) -> Source:
    """A classifier with seeded weights, and statistics of its norms as after training."""
    config = transformers.AutoConfig.for_model(model_type, **fields, num_labels=20)
    classes = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    model = lively(hugging_face.class_in(classes, config)(config))
    sides, channels = image_classifier._shape(config, 64)
    _random_weights.set_statistics(model, _random_weights.pictures(4, channels, sides, 0)).save_pretrained(folder)
    return Source(kind="folder", path=str(folder), weights="pretrained", digest="")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_exported_right_at_other_batches_than_it_was_traced_with(tmp_path: Path, name: str) -> None:
    source = saved(tmp_path / "model", *ARCHITECTURES[name])
    (tmp_path / "out").mkdir()
    artifacts.build(Build("onnx", "image-classifier", source, Recipe("fp32"), str(tmp_path / "out"), opset=18))
    session = ort.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = image_classifier.make_inputs(source, {"batch": 5}, None)
    outputs, _ = image_classifier.reference(source, feeds)
    (logits,) = session.run(["logits"], feeds[0])
    expected = outputs[0]["logits"]
    assert expected.shape == (5, 20)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    # The classes depend on the picture, or the comparison would say nothing.
    assert expected.std(axis=0).max() > 0.05 * np.abs(expected).max()


def test_a_model_for_any_size_is_exported_at_the_size_of_its_own_preprocessing(tmp_path: Path) -> None:
    """BiT's configuration names no size, and its preprocessing makes pictures of 448 pixels."""
    source = saved(tmp_path / "model", *ARCHITECTURES["resnet"])
    crop = {"height": 40, "width": 48}
    fields = {"image_processor_type": "ViTImageProcessor", "size": crop, "do_resize": True}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(fields), encoding="utf-8")
    # With the byte-order mark that editors of Windows write.
    for path in (tmp_path / "model").glob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for index in range(3):
        values = np.random.default_rng(index).integers(0, 255, (90, 70, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / "pictures" / f"{index}.png")
    (tmp_path / "out").mkdir()
    artifacts.build(Build("onnx", "image-classifier", source, Recipe("fp32"), str(tmp_path / "out"), opset=18))
    session = ort.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    for inputs in (None, str(tmp_path / "pictures")):
        feeds = image_classifier.make_inputs(source, {"batch": 2}, inputs)
        assert feeds[0]["pixel_values"].shape == (2, 3, 40, 48)
        (expected, *_), _ = image_classifier.reference(source, feeds)
        (logits,) = session.run(["logits"], feeds[0])
        np.testing.assert_allclose(logits, expected["logits"], atol=1e-4 * np.abs(expected["logits"]).max())


@pytest.mark.parametrize(
    ("size", "sides"), [(32, (32, 32)), ([32, 48], (32, 48)), ((48, 32), (48, 32)), ({"height": 8, "width": 9}, (8, 9))]
)
def test_a_size_is_one_number_a_pair_or_named(size: Any, sides: tuple[int, int]) -> None:
    class Config:
        image_size = size
        num_channels = 4

    class Nested:
        vision_config = Config

    assert image_classifier._shape(Config, 224) == (sides, 4)
    assert image_classifier._shape(Nested, 224) == (sides, 4)
    assert image_classifier._shape(object(), 224) == ((224, 224), 3)


def test_photographs_are_cut_to_both_sides(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image").fromarray(
        np.arange(90 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 90, 3)
    )
    assert _photographs.imagenet(image, (32, 48), 3).shape == (3, 32, 48)
    assert _photographs.imagenet(image, (48, 20), 1).shape == (1, 48, 20)


def test_a_checkpoint_without_a_classifier_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=50)).save_pretrained(tmp_path)
    source = Source(kind="folder", path=str(tmp_path), weights="pretrained", digest="")
    with pytest.raises(Refusal, match="holds a BertModel, of which transformers has no classifier of pictures"):
        image_classifier.load(source)


def test_a_classifier_that_takes_more_than_pixels_is_refused_by_what_it_takes(tmp_path: Path) -> None:
    config = transformers.Siglip2Config(vision_config=SIZES | {"patch_size": 8, "num_patches": 16})
    config.save_pretrained(tmp_path)
    source = Source(kind="folder", path=str(tmp_path), weights="random", digest="")
    with pytest.raises(Refusal, match="takes pixel_attention_mask, spatial_shapes"):
        image_classifier.load(source)


def test_code_that_a_config_names_is_never_run_and_the_row_says_so(tmp_path: Path) -> None:
    source = saved(tmp_path, "vit", VIT)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    own = {"auto_map": {"AutoModelForImageClassification": "modeling.Mine"}}
    path.write_text(json.dumps(fields | own), encoding="utf-8")
    (tmp_path / "modeling.py").write_text("raise SystemExit('run')", encoding="utf-8")
    assert note("custom-code", model="vit") in image_classifier.describe_inputs(source, {}, "photographs")
    image_classifier.load(source)
