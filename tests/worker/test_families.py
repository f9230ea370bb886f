"""The families: what they feed, what they compare, and that a random model can be told from a wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from limits import limits

from bench.declare import registry
from bench.records import Source, Tolerance, note
from bench.worker import families, formats, parity
from bench.worker.families import image_classifier, onnx_file, text_encoder
from bench.worker.refusal import Refusal

FILES = sorted(Path(families.__file__).parent.glob("[!_]*.py"))
WORDS = ["the", "a", "old", "cat", "dog", "river", "stone", "runs", "sleeps", "over", "under", "slowly", "and", "but"]
TINY_BERT = {
    "model_type": "bert",
    "vocab_size": 1200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
TINY_RESNET = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [32, 64, 64],
    "depths": [2, 2, 2],
    "layer_type": "bottleneck",
    "num_labels": 50,
}
TINY_VIT = {
    "model_type": "vit",
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "num_labels": 50,
}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def a_source(folder: Path, config: dict[str, Any], seed: int = 0) -> Source:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return Source(kind="config", path=str(path), weights="random", digest="", seed=seed)


def a_pretrained_bert(folder: Path) -> Source:
    """A folder as the hub has them: config, safetensors and a tokenizer."""
    transformers = pytest.importorskip("transformers")
    model = transformers.BertModel(transformers.BertConfig(**{k: v for k, v in TINY_BERT.items() if k != "model_type"}))
    model.save_pretrained(folder, safe_serialization=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    return Source(kind="folder", path=str(folder), weights="pretrained", digest="")


def some_photographs(folder: Path, count: int = 4) -> str:
    image = pytest.importorskip("PIL.Image")
    for index in range(count):
        across, down = np.meshgrid(np.linspace(0, 1 + index, 96), np.linspace(0, 2, 80))
        planes = [np.sin((index + 1) * across * 3 + tint) * np.cos(down * (index + 2)) for tint in (0, 0.4, 0.9)]
        pixels = ((np.stack(planes, axis=-1) + 1) * 127).astype(np.uint8)
        image.fromarray(pixels).save(folder / f"{index}.png")
    return str(folder)


# --- what the families declare ----------------------------------------------------------------------------------------

NAMES = [path.stem.replace("_", "-") for path in FILES]
GENERATING = [name for name in NAMES if families.generates(name)]
ANSWERING = [name for name in NAMES if name not in GENERATING]


@pytest.mark.parametrize("name", NAMES)
def test_a_family_declares_what_the_orchestrator_reads(name: str) -> None:
    manifest = families.named(name).MANIFEST
    read = registry.families()[name]
    assert {field: getattr(read, field) for field in manifest.__struct_fields__} == msgspec.structs.asdict(manifest)
    assert set(manifest.labels) == set(manifest.sizes)
    limit = "max_relative_error" if name in ANSWERING else "max_kl"
    assert {"fp32", "fp16", "bf16", "int8", "int4"} <= set(limits(name))
    assert all(getattr(tolerance, limit) for tolerance in limits(name).values())


@pytest.mark.parametrize("name", ["onnx", "genai"])
def test_a_recipe_declares_what_the_orchestrator_reads(name: str) -> None:
    for recipe in formats.recipes(name).values():
        read = registry.recipes(name)[recipe.name]
        assert (read.number_format, read.options) == (recipe.number_format, recipe.options)
        assert read.tolerance == recipe.tolerance


@pytest.mark.parametrize("name", ANSWERING)
def test_a_coarser_number_format_is_given_more_room(name: str) -> None:
    table = [limits(name)[number_format] for number_format in ("fp32", "fp16", "bf16", "int8", "int4")]
    cosines, errors = [limit.min_cosine for limit in table], [limit.max_relative_error for limit in table]
    assert cosines == sorted(cosines, reverse=True)
    assert errors == sorted(errors)


@pytest.mark.parametrize("name", GENERATING)
def test_a_coarser_number_format_of_a_family_that_generates_is_given_more_room(name: str) -> None:
    order = ("fp32", "fp16", "bf16", "int8", "int6", "int5", "int4")
    table = [limits(name)[number_format] for number_format in order if number_format in limits(name)]
    assert [limit.max_kl for limit in table] == sorted(limit.max_kl for limit in table)
    assert [limit.min_top1 for limit in table] == sorted((limit.min_top1 for limit in table), reverse=True)
    assert [limit.same_tokens for limit in table] == [True] + [False] * (len(table) - 1)


# --- text -------------------------------------------------------------------------------------------------------------


def test_the_timed_passages_are_full_and_the_others_ragged_in_the_same_shape(tmp_path: Path) -> None:
    source = a_pretrained_bert(tmp_path)
    batches = text_encoder.make_inputs(source, {"batch": 2, "sequence": 32}, None)
    assert {feed["input_ids"].shape for feed in batches} == {(2, 32)}
    assert batches[0]["attention_mask"].all()
    lengths = [int(length) for feed in batches[1:] for length in feed["attention_mask"].sum(axis=1)]
    assert len(set(lengths)) > 4
    assert min(lengths) < 32
    assert sum(len(feed["input_ids"]) for feed in batches) >= 8
    assert all(array.dtype == np.int64 for feed in batches for array in feed.values())


def test_no_two_passages_are_the_same(tmp_path: Path) -> None:
    passages = text_encoder._passages(text_encoder._sentences(None)[0], 64, 128)
    assert len(set(passages)) == 64
    assert all(len(passage.split()) >= 128 for passage in passages)


def test_a_text_file_of_the_users_is_read_and_split(tmp_path: Path) -> None:
    lines = [f"{word} stone sleeps" for word in WORDS]
    (tmp_path / "mine.txt").write_text("\n\n".join(lines), encoding="utf-8")
    checked, calibration = text_encoder._sentences(str(tmp_path / "mine.txt"))
    assert checked + calibration == lines
    assert calibration


def test_a_text_file_with_too_few_lines_says_how_many_it_needs(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("only one line", encoding="utf-8")
    with pytest.raises(Refusal, match=r"mine.txt holds 1 texts") as refused:
        text_encoder._sentences(str(tmp_path / "mine.txt"))
    assert "at least 3" in refused.value.remedy


def test_calibration_text_is_other_text(tmp_path: Path) -> None:
    checked, calibration = text_encoder._sentences(None)
    assert len(checked) >= 60
    assert len(calibration) >= 30
    assert not set(checked) & set(calibration)


def test_a_sequence_longer_than_the_model_takes_is_refused(tmp_path: Path, torch: Any) -> None:
    with pytest.raises(Refusal, match="65 tokens is longer than the 64 tokens this model takes"):
        text_encoder.make_inputs(a_source(tmp_path, TINY_BERT), {"batch": 1, "sequence": 65}, None)


def test_a_model_without_a_tokenizer_gets_ordinary_token_ids_and_the_row_says_so(tmp_path: Path, torch: Any) -> None:
    source, sizes = a_source(tmp_path, TINY_BERT), {"batch": 8, "sequence": 16}
    first = text_encoder.make_inputs(source, sizes, None)[0]
    assert first["input_ids"].min() >= 600
    assert first["input_ids"].max() < 1200
    assert set(first) == {"input_ids", "attention_mask", "token_type_ids"}
    assert text_encoder.describe_inputs(source, sizes, None) == (note("random-tokens"),)


def a_hidden_state(lengths: tuple[int, ...] = (64, 40)) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(0)
    mask = (np.arange(64) < np.array(lengths)[:, None]).astype(np.int64)
    return {"last_hidden_state": rng.standard_normal((len(lengths), 64, 16))}, {"attention_mask": mask}


def text_parity(wrong: dict[str, Any], right: dict[str, Any], feed: dict[str, Any]) -> Any:
    rows = [text_encoder.comparable(right, feed)], [text_encoder.comparable(wrong, feed)]
    return parity.compare(*rows, Tolerance(0.9), "itself")


def test_what_a_model_computes_at_padding_is_nobodys_answer() -> None:
    right, feed = a_hidden_state()
    wrong = {"last_hidden_state": np.where(feed["attention_mask"][..., None] > 0, right["last_hidden_state"], np.nan)}
    assert text_parity(wrong, right, feed).relative_error == 0.0


def test_one_wrong_token_of_many_is_seen_where_a_mean_alone_would_hide_it() -> None:
    right, feed = a_hidden_state()
    wrong = {"last_hidden_state": right["last_hidden_state"].copy()}
    wrong["last_hidden_state"][1, 7] *= -1
    limit = limits("text-encoder")["fp16"]
    assert text_parity(wrong, right, feed).cosine < limit.min_cosine


def test_a_small_shift_that_all_tokens_share_is_seen_in_the_mean() -> None:
    right, feed = a_hidden_state()
    shifted = {"last_hidden_state": right["last_hidden_state"] + 0.3}
    alone = [batch["last_hidden_state"].reshape(2, -1) for batch in (right, shifted)]
    tokens_alone = parity.compare([{"y": alone[0]}], [{"y": alone[1]}], Tolerance(0.9), "itself")
    assert text_parity(shifted, right, feed).relative_error > 1.2 * tokens_alone.relative_error


# --- random weights ---------------------------------------------------------------------------------------------------


def test_random_weights_are_the_same_each_time_and_other_ones_for_another_seed(tmp_path: Path, torch: Any) -> None:
    same = [image_classifier.load(a_source(tmp_path, TINY_RESNET)).state_dict() for _ in range(2)]
    other = image_classifier.load(a_source(tmp_path, TINY_RESNET, seed=1)).state_dict()
    assert all(torch.equal(tensor, same[1][name]) for name, tensor in same[0].items())
    name = "model.resnet.embedder.embedder.convolution.weight"
    assert not torch.equal(same[0][name], other[name])


def test_random_weights_do_not_depend_on_the_number_of_threads(tmp_path: Path, torch: Any) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = image_classifier.load(a_source(tmp_path, TINY_RESNET)).state_dict()
        torch.set_num_threads(3)
        three = image_classifier.load(a_source(tmp_path, TINY_RESNET)).state_dict()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(tensor, three[name]) for name, tensor in one.items())


@pytest.mark.parametrize("config", [TINY_BERT, TINY_VIT, TINY_RESNET], ids=lambda config: config["model_type"])
def test_no_random_parameter_is_left_constant(tmp_path: Path, torch: Any, config: dict[str, Any]) -> None:
    # An exporter drops an all-zero bias, and the graph silently becomes another one.
    family = text_encoder if config["model_type"] == "bert" else image_classifier
    model = family.load(a_source(tmp_path, config))
    constant = [name for name, values in model.named_parameters() if bool((values == values.flatten()[0]).all())]
    assert constant == []
    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    assert all(bool((table.weight.abs().sum(dim=1) > 0).all()) for table in embeddings)
    assert not model.training


@pytest.mark.parametrize("config", [TINY_VIT, TINY_RESNET], ids=lambda config: config["model_type"])
def test_a_random_classifier_answers_the_picture_and_not_itself(
    tmp_path: Path, torch: Any, config: dict[str, Any]
) -> None:
    source = a_source(tmp_path, config | {"image_size": 32})
    folder = tmp_path / "photographs"
    folder.mkdir()
    batches = image_classifier.make_inputs(source, {"batch": 4}, some_photographs(folder, 8))
    outputs, by = image_classifier.reference(source, batches)
    rows = image_classifier.comparable(outputs[0], batches[0])["logits"]
    found = parity.compare([{"logits": rows}], [{"logits": np.roll(rows, 1, axis=0)}], Tolerance(0.9), by)
    limit = limits("image-classifier")["int8"]
    assert found.cosine < limit.min_cosine - 0.1
    assert found.relative_error > 2 * limit.max_relative_error
    assert 0.01 < rows.std() < 100


# --- pretrained weights -----------------------------------------------------------------------------------------------


def test_weights_that_lack_a_tensor_are_refused_instead_of_made_up(tmp_path: Path, torch: Any) -> None:
    from safetensors.torch import load_file, save_file

    source = a_pretrained_bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack 1 tensors of BertModel, e.g. encoder.layer.1.output.dense.weight"):
        text_encoder.load(source)


def test_weights_that_are_pickled_are_not_loaded(tmp_path: Path, torch: Any) -> None:
    source = a_pretrained_bert(tmp_path)
    model = text_encoder.load(source)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        text_encoder.load(source)


def test_a_config_without_an_architecture_says_what_it_lacks(tmp_path: Path, torch: Any) -> None:
    with pytest.raises(ValueError, match=r"config.json has no 'model_type'"):
        text_encoder.load(a_source(tmp_path, {"hidden_size": 32}))


def test_half_precision_weights_are_loaded_in_fp32(tmp_path: Path, torch: Any) -> None:
    source = a_pretrained_bert(tmp_path)
    text_encoder.load(source).half().model.save_pretrained(tmp_path)
    assert {parameter.dtype for parameter in text_encoder.load(source).parameters()} == {torch.float32}


# --- photographs ------------------------------------------------------------------------------------------------------


def test_checked_and_calibration_photographs_are_different_files(tmp_path: Path, torch: Any) -> None:
    from bench.worker.families import _photographs

    folder = Path(some_photographs(tmp_path, 7))
    checked, calibration = _photographs.checked(folder), _photographs.calibration(folder)
    assert len(checked) == 4
    assert len(calibration) == 3
    assert not set(checked) & set(calibration)


def test_more_pictures_than_photographs_are_ever_new_crops(tmp_path: Path, torch: Any) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    source = a_source(tmp_path, TINY_VIT)
    batches = image_classifier.make_inputs(source, {"batch": 8}, some_photographs(folder))
    pixels = np.concatenate([feed["pixel_values"] for feed in batches])
    assert pixels.shape == (16, 3, 32, 32)
    assert pixels.dtype == np.float32
    assert len({picture.tobytes() for picture in pixels}) == 16


def test_the_models_own_preprocessing_is_used_where_its_folder_has_one(tmp_path: Path, torch: Any) -> None:
    transformers = pytest.importorskip("transformers")
    fields = {key: value for key, value in TINY_VIT.items() if key != "model_type"}
    transformers.ViTForImageClassification(transformers.ViTConfig(**fields)).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0, 0, 0], image_std=[1, 1, 1]
    ).save_pretrained(tmp_path)
    source = Source(kind="folder", path=str(tmp_path), weights="pretrained", digest="")
    folder = tmp_path / "photographs"
    folder.mkdir()
    feed = image_classifier.make_inputs(source, {"batch": 2}, some_photographs(folder))[0]
    assert feed["pixel_values"].min() >= 0
    assert feed["pixel_values"].max() <= 1


def test_a_folder_without_photographs_says_so(tmp_path: Path, torch: Any) -> None:
    with pytest.raises(Refusal, match="no photographs in"):
        image_classifier.make_inputs(a_source(tmp_path, TINY_VIT), {"batch": 1}, str(tmp_path))


def test_noise_stands_in_for_photographs_and_the_row_says_so(tmp_path: Path, torch: Any) -> None:
    source, sizes = a_source(tmp_path, TINY_VIT), {"batch": 1}
    assert image_classifier.make_inputs(source, sizes, None)[0]["pixel_values"].shape == (1, 3, 32, 32)
    assert image_classifier.describe_inputs(source, sizes, None) == (note("noise-pictures"),)


def test_a_constant_added_to_all_logits_changes_no_answer_but_one_class_is_compared_as_it_is() -> None:
    logits = np.array([[1.0, 2.0, 4.0]])
    shifted, plain = (image_classifier.comparable({"logits": logits + more}, {})["logits"] for more in (7, 0))
    np.testing.assert_allclose(shifted, plain)
    assert image_classifier.comparable({"logits": np.array([[3.0]])}, {})["logits"] == [[3.0]]


# --- ONNX files -------------------------------------------------------------------------------------------------------


def a_graph(path: Path, inputs: dict[str, tuple[int, list[Any]]], *, external: bool = False) -> Source:
    """Every input is cast and multiplied by a weight into an output of its own."""
    onnx = pytest.importorskip("onnx")
    float32 = onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.float32([2.0] * 512), "weight")
    one = onnx.numpy_helper.from_array(np.float32(2.0), "one")
    nodes, declared, outputs = [], [], []
    for name, (kind, shape) in inputs.items():
        nodes.append(onnx.helper.make_node("Cast", [name], [f"{name}_cast"], to=float32))
        nodes.append(onnx.helper.make_node("Mul", [f"{name}_cast", "one"], [f"{name}_out"]))
        declared.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        outputs.append(onnx.helper.make_tensor_value_info(f"{name}_out", float32, shape))
    graph = onnx.helper.make_graph(nodes, "g", declared, outputs, [weight, one])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=1024)
    return Source(kind="onnx", path=str(path), weights="pretrained", digest="")


def test_inputs_are_made_from_the_declared_shapes_and_types(tmp_path: Path) -> None:
    kinds = pytest.importorskip("onnx").TensorProto
    source = a_graph(
        tmp_path / "m.onnx",
        {
            "pixels": (kinds.FLOAT16, ["n", 3, "height", 8]),
            "ids": (kinds.INT64, ["n", "sequence"]),
            "attention_mask": (kinds.INT32, ["n", "sequence"]),
            "flags": (kinds.BOOL, ["n", 5]),
        },
    )
    sizes = {"batch": 2, "sequence": 7}
    batches = onnx_file.make_inputs(source, sizes, None)
    feed = batches[0]
    assert {name: (array.dtype.name, array.shape) for name, array in feed.items()} == {
        "pixels": ("float16", (2, 3, 224, 8)),
        "ids": ("int64", (2, 7)),
        "attention_mask": ("int32", (2, 7)),
        "flags": ("bool", (2, 5)),
    }
    assert feed["attention_mask"].all()
    assert set(np.unique(feed["ids"])) <= {0, 1}
    assert sum(len(batch["ids"]) for batch in batches) >= 8
    assert not np.array_equal(batches[0]["pixels"], batches[1]["pixels"])
    assert onnx_file.describe_inputs(source, sizes, None) == (
        note("noise"),
        note("assumed-sizes", sizes=("height=224",)),
        note("guessed-integers", inputs=("ids=0 or 1", "flags=true or false")),
        note("counted-samples", samples=2, axis="n"),
    )


def test_the_name_of_the_batch_dimension_means_the_batch_wherever_it_stands(tmp_path: Path) -> None:
    kinds = pytest.importorskip("onnx").TensorProto
    source = a_graph(tmp_path / "m.onnx", {"x": (kinds.FLOAT, ["n", 4]), "state": (kinds.FLOAT, [2, "n", 4])})
    feed = onnx_file.make_inputs(source, {"batch": 3}, None)[0]
    assert (feed["x"].shape, feed["state"].shape) == ((3, 4), (2, 3, 4))


def test_token_ids_stay_within_the_table_that_they_index(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    kinds = onnx.TensorProto
    table = onnx.numpy_helper.from_array(np.arange(40, dtype=np.float32).reshape(10, 4), "table")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "ids"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("ids", kinds.INT64, ["n", 64])],
        [onnx.helper.make_tensor_value_info("y", kinds.FLOAT, ["n", 64, 4])],
        [table],
    )
    onnx.save_model(onnx.helper.make_model(graph, ir_version=9), tmp_path / "m.onnx")
    source = Source(kind="onnx", path=str(tmp_path / "m.onnx"), weights="pretrained", digest="")
    ids = onnx_file.make_inputs(source, {"batch": 8}, None)[0]["ids"]
    assert set(np.unique(ids)) == set(range(10))


def test_a_size_that_no_input_has_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    source = a_graph(tmp_path / "m.onnx", {"x": (pytest.importorskip("onnx").TensorProto.FLOAT, ["n", "width"])})
    with pytest.raises(Refusal, match="'widht'") as refused:
        onnx_file.make_inputs(source, {"batch": 1, "widht": 4}, None)
    assert refused.value.remedy == "there are: n, width"


def test_a_batch_that_the_file_cannot_take_is_refused(tmp_path: Path) -> None:
    source = a_graph(tmp_path / "m.onnx", {"x": (pytest.importorskip("onnx").TensorProto.FLOAT, [1, 4])})
    with pytest.raises(Refusal, match="batch = 8, but no input has a symbolic first dimension"):
        onnx_file.make_inputs(source, {"batch": 8}, None)


def test_an_input_that_cannot_be_made_up_is_named_with_its_type(tmp_path: Path) -> None:
    source = a_graph(tmp_path / "m.onnx", {"x": (pytest.importorskip("onnx").TensorProto.INT4, [1, 4])})
    with pytest.raises(Refusal, match="'x' is of type INT4") as refused:
        onnx_file.make_inputs(source, {"batch": 1}, None)
    assert 'inputs = "path:FILE.npz"' in refused.value.remedy


def test_a_file_and_its_external_weights_are_copied_as_they_are(tmp_path: Path) -> None:
    kinds = pytest.importorskip("onnx").TensorProto
    source = a_graph(tmp_path / "m.onnx", {"x": (kinds.FLOAT, ["n", 4])}, external=True)
    out = tmp_path / "out"
    out.mkdir()
    assert onnx_file.export(source, out, 21) == (note("opset-of-file", opset=18),)
    assert (out / "model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert (out / "weights.bin").read_bytes() == (tmp_path / "weights.bin").read_bytes()


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_external_weights_outside_the_files_folder_are_refused(tmp_path: Path, location: str) -> None:
    onnx = pytest.importorskip("onnx")
    folder, out = tmp_path / "model", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"secret" * 1000)
    source = a_graph(folder / "m.onnx", {"x": (onnx.TensorProto.FLOAT, ["n", 4])}, external=True)
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    next(entry for entry in entries if entry.key == "location").value = location
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Refusal, match="keeps data outside its own folder"):
        onnx_file.export(source, out, 18)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 40, 700])
def test_a_truncated_file_says_so_in_its_first_line(tmp_path: Path, kept: int) -> None:
    source = a_graph(tmp_path / "m.onnx", {"x": (pytest.importorskip("onnx").TensorProto.FLOAT, ["n", 4])})
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:kept])
    with pytest.raises(Refusal, match=r"^m.onnx (is truncated|holds no graph)"):
        onnx_file.export(source, tmp_path, 18)


@pytest.mark.parametrize(("left_out", "says"), [("node", "has no nodes"), ("input", "has no inputs")])
def test_a_graph_that_computes_nothing_or_takes_nothing_is_refused(tmp_path: Path, left_out: str, says: str) -> None:
    onnx = pytest.importorskip("onnx")
    source = a_graph(tmp_path / "m.onnx", {"x": (onnx.TensorProto.FLOAT, ["n", 4])})
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.ClearField(left_out)
    onnx.save(model, tmp_path / "m.onnx")
    for asked in (lambda: onnx_file.export(source, tmp_path, 18), lambda: onnx_file.make_inputs(source, {}, None)):
        with pytest.raises(Refusal, match=f"the graph of m.onnx {says}") as refused:
            asked()
        assert (refused.value.status, bool(refused.value.remedy)) == ("unsupported", True)


def test_the_reference_is_the_file_itself_without_optimizations(tmp_path: Path) -> None:
    source = a_graph(tmp_path / "m.onnx", {"x": (pytest.importorskip("onnx").TensorProto.FLOAT, ["n", 4])})
    feeds = onnx_file.make_inputs(source, {"batch": 2}, None)
    outputs, by = onnx_file.reference(source, feeds)
    np.testing.assert_array_equal(outputs[0]["x_out"], feeds[0]["x"] * 2)
    assert by.startswith("onnxruntime ")
    assert by.endswith("CPU, no graph optimizations")


def test_a_small_output_is_judged_beside_a_large_one() -> None:
    feed = {"x": np.zeros((2, 4))}
    right = {"large": np.full((2, 50), 1e6), "small": np.array([[1.0, 0.0], [1.0, 0.0]])}
    wrong = right | {"small": np.array([[1.0, 0.0], [-1.0, 0.0]])}
    rows = [onnx_file.comparable(right, feed)], [onnx_file.comparable(wrong, feed)]
    found = parity.compare(*rows, Tolerance(0.9), "itself")
    assert (found.decides, found.cosine, found.samples) == ("small", -1.0, 2)
    assert [output.cosine for output in found.outputs] == [1.0, -1.0]
