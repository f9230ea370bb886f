"""The orders `Build` and `Refer` as the orchestrator gives them; tiny models, the real exporter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from limits import limits

onnx = pytest.importorskip("onnx")
pytest.importorskip("transformers")

from bench.records import Build, Note, NoteValue, Recipe, Refer, Source, note  # noqa: E402
from bench.worker import artifacts, families, feeds, parity  # noqa: E402

CONFIGS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "bert": (
        "text-encoder",
        {
            "model_type": "bert",
            "vocab_size": 1200,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "max_position_embeddings": 64,
            "type_vocab_size": 2,
            "pad_token_id": 0,
        },
        {"batch": 2, "sequence": 32},
    ),
    "distilbert": (
        "text-encoder",
        {
            "model_type": "distilbert",
            "vocab_size": 1200,
            "dim": 64,
            "hidden_dim": 128,
            "n_layers": 2,
            "n_heads": 2,
            "max_position_embeddings": 64,
        },
        {"batch": 2, "sequence": 32},
    ),
    "roberta": (
        "text-encoder",
        {
            "model_type": "roberta",
            "vocab_size": 1200,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "max_position_embeddings": 66,
            "type_vocab_size": 1,
        },
        {"batch": 2, "sequence": 32},
    ),
    # Its exported attention has branches that read values from outside.
    "deberta": (
        "text-encoder",
        {
            "model_type": "deberta-v2",
            "vocab_size": 500,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 128,
            "relative_attention": True,
            "position_buckets": 32,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "type_vocab_size": 0,
            "pad_token_id": 1,
            "position_biased_input": False,
        },
        {"batch": 2, "sequence": 32},
    ),
    "resnet": (
        "image-classifier",
        {
            "model_type": "resnet",
            "embedding_size": 16,
            "hidden_sizes": [32, 64, 64],
            "depths": [2, 2, 2],
            "layer_type": "bottleneck",
            "image_size": 64,
            "num_labels": 50,
        },
        {"batch": 2},
    ),
    "vit": (
        "image-classifier",
        {
            "model_type": "vit",
            "image_size": 64,
            "patch_size": 16,
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "num_labels": 50,
        },
        {"batch": 2},
    ),
}


class Model:
    """A tiny model with its FP32 export and its reference, made once a module."""

    def __init__(self, name: str, folder: Path) -> None:
        self.family, config, self.sizes = CONFIGS[name]
        self.folder = folder
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        self.source = Source(kind="config", path=str(folder / "config.json"), weights="random", digest="")
        self.notes = artifacts.refer(Refer(self.family, self.source, self.sizes, None, self.out("reference"))).notes
        artifacts.build(Build("onnx", self.family, self.source, Recipe("fp32"), self.out("fp32"), opset=18))

    def out(self, name: str) -> str:
        (self.folder / name).mkdir()
        return str(self.folder / name)

    def convert(self, recipe: str, name: str = "", **options: Any) -> tuple[Note, ...]:
        out = self.out(name or recipe)
        order = Build("onnx", self.family, self.source, Recipe(recipe, options), out, str(self.folder / "fp32"))
        return artifacts.build(order).notes

    def parity(self, name: str, number_format: str) -> Any:
        """What a worker does with an artifact: run every batch, and compare."""
        family = families.named(self.family)
        session = ort.InferenceSession(self.folder / name / "model.onnx", providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        folder = self.folder / "reference"
        batches, expected = feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz")
        actual = [dict(zip(names, session.run(names, feed), strict=True)) for feed in batches]
        return parity.compare(
            [family.comparable(outputs, feed) for outputs, feed in zip(expected, batches, strict=True)],
            [family.comparable(outputs, feed) for outputs, feed in zip(actual, batches, strict=True)],
            limits(self.family)[number_format],
            "PyTorch",
        )


def quantized(operators: NoteValue, total: NoteValue, number_format: str, block: int | None = None) -> Note:
    return note("quantized-operators", operators=operators, total=total, number_format=number_format, block=block)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    made: dict[str, Model] = {}

    def make(name: str) -> Model:
        if name not in made:
            made[name] = Model(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


def assert_within(found: Any) -> None:
    assert found.finite
    assert found.cosine >= found.tolerance.min_cosine
    assert found.relative_error <= found.tolerance.max_relative_error


@pytest.mark.parametrize("name", CONFIGS)
def test_the_export_gives_what_pytorch_gives(model: Callable[[str], Model], name: str) -> None:
    assert_within(model(name).parity("fp32", "fp32"))


def test_the_export_holds_the_model_and_nothing_else(model: Callable[[str], Model]) -> None:
    assert [path.name for path in (model("bert").folder / "fp32").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", ["bert", "resnet"])
def test_two_exports_and_two_conversions_are_equal_byte_for_byte(model: Callable[[str], Model], name: str) -> None:
    one = model(name)
    artifacts.build(Build("onnx", one.family, one.source, Recipe("fp32"), one.out("again"), opset=18))
    one.convert("static-qdq-int8", "first")
    one.convert("static-qdq-int8", "second")
    content = {path.parent.name: path.read_bytes() for path in one.folder.glob("*/model.onnx")}
    assert content["again"] == content["fp32"]
    assert content["second"] == content["first"]


@pytest.mark.parametrize("name", ["bert", "resnet", "vit"])
def test_fp16_keeps_the_feeds_of_fp32_and_its_own_tolerance(model: Callable[[str], Model], name: str) -> None:
    one = model(name)
    one.convert("fp16")
    assert_within(one.parity("fp16", "fp16"))
    assert one.parity("fp16", "fp32").relative_error > 1e-5
    weights = onnx.load(one.folder / "fp16" / "model.onnx").graph.initializer
    large = [tensor for tensor in weights if np.prod(tensor.dims) > 1000]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("name", ["bert", "distilbert", "vit"])
def test_dynamic_int8_takes_every_matrix_product_with_weights(model: Callable[[str], Model], name: str) -> None:
    one = model(name)
    notes = one.convert("dynamic-int8")
    assert_within(one.parity("dynamic-int8", "int8"))
    products = {"bert": 12, "distilbert": 12, "vit": 19}[name]
    total = products + (name == "vit")  # its patches are cut by a convolution, which stays FP32
    assert notes == (quantized(products, total, "int8"),)


def test_dynamic_int8_of_a_convolutional_network_is_made_and_called_slow(model: Callable[[str], Model]) -> None:
    notes = model("resnet").convert("dynamic-int8")
    assert notes[1:] == (note("slow-convolutions"),)
    operators = {node.op_type for node in onnx.load(model("resnet").folder / "dynamic-int8" / "model.onnx").graph.node}
    assert "ConvInteger" in operators


@pytest.mark.parametrize("name", ["bert", "resnet", "vit"])
def test_static_int8_is_calibrated_and_takes_all_weights(model: Callable[[str], Model], name: str) -> None:
    one = model(name)
    share, calibrated = one.convert("static-qdq-int8", samples=4)
    assert share == quantized(share.values["total"], share.values["total"], "int8")
    assert calibrated == note("calibrated", inputs=4)
    assert_within(one.parity("static-qdq-int8", "int8"))


def test_static_int8_of_everything_quantizes_more_than_the_weights(model: Callable[[str], Model]) -> None:
    one = model("vit")
    one.convert("static-qdq-int8", "weights", samples=4)
    one.convert("static-qdq-int8", "all", samples=4, coverage="all")
    counts = {}
    for name in ("weights", "all"):
        nodes = onnx.load(one.folder / name / "model.onnx").graph.node
        counts[name] = sum(node.op_type == "QuantizeLinear" for node in nodes)
    assert counts["all"] > 2 * counts["weights"]


@pytest.mark.parametrize(
    ("recipe", "number_format"),
    [("fp16", "fp16"), ("dynamic-int8", "int8"), ("static-qdq-int8", "int8"), ("weight-only-int4", "int4")],
)
def test_recipes_sort_an_export_whose_branches_read_values_from_outside(
    model: Callable[[str], Model], recipe: str, number_format: str
) -> None:
    notes = model("deberta").convert(recipe)
    assert "checker-complaint" not in {each.kind for each in notes}
    assert_within(model("deberta").parity(recipe, number_format))


@pytest.mark.parametrize("number_format", ["int8", "int4"])
def test_weight_only_recipes_are_made_where_onnx_ir_is_there(model: Callable[[str], Model], number_format: str) -> None:
    pytest.importorskip("onnx_ir")
    one = model("bert")
    notes = one.convert(f"weight-only-{number_format}")
    assert notes == (quantized(12, 12, number_format, block=32),)
    assert_within(one.parity(f"weight-only-{number_format}", number_format))


def test_the_reference_says_who_made_it_and_what_its_inputs_are(model: Callable[[str], Model]) -> None:
    one = model("bert")
    told = json.loads((one.folder / "reference" / "reference.json").read_text(encoding="utf-8"))
    assert told["by"].startswith("PyTorch 2.")
    assert told["by"].endswith(", FP32")
    assert one.notes == (note("random-tokens"),)


def test_a_reference_is_the_same_each_time(model: Callable[[str], Model]) -> None:
    one = model("resnet")
    artifacts.refer(Refer(one.family, one.source, one.sizes, None, one.out("again-reference")))
    for name in ("inputs.npz", "outputs.npz"):
        assert (one.folder / "again-reference" / name).read_bytes() == (one.folder / "reference" / name).read_bytes()


def test_calibration_inputs_are_not_the_checked_ones(model: Callable[[str], Model]) -> None:
    one = model("resnet")
    family = families.named(one.family)
    checked = feeds.load(one.folder / "reference" / "inputs.npz")
    calibration = family.calibration(one.source, None)
    seen = {picture.tobytes() for feed in checked for picture in feed["pixel_values"]}
    assert not seen & {picture.tobytes() for feed in calibration for picture in feed["pixel_values"]}
    assert len(calibration) >= 16
