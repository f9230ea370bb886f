"""One model on the command line becomes a whole matrix: its family, its sizes, its precisions and its targets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx_bytes import INT64, an_input, an_onnx_file

from bench.declare import catalogue
from bench.declare.matrix import parse, read
from bench.declare.plan import plan, whole_plan
from bench.errors import BenchError, SourceError, UsageError
from bench.prepare import model_checks
from bench.prepare.drafts import draft, drafted_matrix


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def an_onnx(folder: Path, name: str, *inputs: bytes) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(an_onnx_file(*inputs))
    return name


def a_folder(folder: Path, name: str, **config: object) -> str:
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return name


def model_of(word: str, family: str = ""):
    (model,) = drafted_matrix(word, family, Path("cache")).models.values()
    return model


# --- ONNX files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (("batch", "sequence"), {"batch": 1, "sequence": 128}),
        (("N", 3, "h", "w"), {"batch": 1, "h": 224, "w": 224}),
        ((None, None, None, 3), {"batch": 1, "x[1]": 224, "x[2]": 224}),
        (("time", "batch_size", "width"), {"batch": 1, "time": 16, "width": 224}),
        (("sequence_length", 576), {"batch": 1, "sequence_length": 128}),
        (("batch", "past + now"), {"batch": 1, "past": 16, "now": 16}),
        (("batch", 'a "b"\n[c]'), {"batch": 1, 'a "b"\n[c]': 16}),
        ((1, 2048), {"batch": 1}),
    ],
)
def test_the_dimensions_of_an_onnx_file_are_filled_in(place, shape, sizes):
    model = model_of(an_onnx(place, "m.onnx", an_input("x", shape)))
    assert (model.family, model.source, model.workloads) == ("onnx-file", "onnx:m.onnx", (sizes,))


def test_every_size_that_is_filled_in_is_one_that_the_file_has(place):
    an_onnx(place, "m.onnx", an_input("x", ("batch", "seq", None)), an_input("y", (None, "p + q", 7)))
    assert model_checks.mistakes(drafted_matrix("m.onnx", "", Path("cache")), ["m"]) == {}


def test_what_nobody_can_guess_is_a_line_to_fill_in(place):
    ids = an_input("ids", ("batch", 512), INT64)
    an_onnx(place, "vad.onnx", an_input("input", None), an_input("sr", (), INT64), an_input("k", (1,), INT64), ids)
    text = draft("vad.onnx", "", Path("cache"), Path("matrix.toml"))
    assert '# inputs = { shapes = { input = ["batch", 64] } }' in text
    assert "# inputs = { values = { sr = 16000, k = 1 } }" in text
    assert '# input "input": float32, without a shape' in text


def test_a_file_that_is_called_model_has_the_name_of_its_folder(place):
    assert model_of(an_onnx(place, "tiny bert/model_quantized.onnx", an_input("x", (1,)))).name == "tiny-bert"


def test_a_folder_with_one_onnx_file_is_that_file(place):
    an_onnx(place, "some/net.onnx", an_input("x", (1,)))
    assert model_of("some").source == "onnx:some/net.onnx"


def test_an_onnx_file_in_a_wheel_needs_no_download_to_be_planned(place):
    model = model_of("wheel:magika==1.0.3/magika/models/standard_v3_3/model.onnx")
    assert (model.name, model.family) == ("standard_v3_3", "onnx-file")


# --- other models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"architectures": ["BertModel"], "vocab_size": 9, "model_type": "bert"}, "text-encoder"),
        ({"architectures": ["LlamaForCausalLM"], "vocab_size": 9}, "text-generator"),
        ({"architectures": ["GPT2LMHeadModel"], "vocab_size": 9}, "text-generator"),
        ({"architectures": ["ViTForImageClassification"]}, "image-classifier"),
        ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, "speech-recognizer"),
        ({"vocab_size": 9}, "text-encoder"),
    ],
)
def test_the_configuration_of_a_folder_tells_its_family(place, config, family):
    model = model_of(a_folder(place, "mine", **config))
    assert (model.name, model.family, model.source) == ("mine", family, "path:mine")


@pytest.mark.parametrize("family", ["text-encoder", "image-classifier", "text-generator", "speech-recognizer"])
def test_every_family_has_cells_on_the_cpu_and_in_pytorch_without_a_warning(place, family):
    matrix = drafted_matrix("owner/name", family, Path("cache"))
    planned = whole_plan(matrix)
    assert planned.warnings == ()
    assert {"cpu", "torch-eager"} <= {cell.target for cell in planned.cells}
    assert matrix.models["name"].source == "hub:owner/name"


def test_a_gguf_file_is_a_language_model(place):
    (place / "Small.Q4.gguf").write_bytes(b"GGUF" + bytes(20))
    model = model_of("Small.Q4.gguf")
    assert (model.name, model.family, model.source) == ("Small.Q4", "text-generator", "path:Small.Q4.gguf")


def test_a_built_in_configuration_can_be_named(place):
    assert model_of("config:vit-tiny").family == "image-classifier"
    assert model_of("config:llama-88m").family == "text-generator"


# --- where it is written ----------------------------------------------------------------------------------------------


def test_a_source_is_relative_to_the_folder_of_the_matrix(place):
    an_onnx(place, "models/net.onnx", an_input("x", (1,)))
    (place / "models" / "matrix.toml").write_text(
        draft("models/net.onnx", "", Path("cache"), Path("models/matrix.toml")), encoding="utf-8"
    )
    matrix = read(place / "models" / "matrix.toml")
    assert matrix.models["net"].source == "onnx:net.onnx"
    assert model_checks.mistakes(matrix, ["net"]) == {}


def test_the_text_of_a_drafted_matrix_is_a_whole_matrix_again(place):
    an_onnx(place, "net.onnx", an_input("x", ("batch", 4)))
    matrix = drafted_matrix("net.onnx", "", Path("cache"))
    # As a run that is resumed, and a gate, read it.
    assert plan(parse(matrix.text, matrix.place)) == plan(matrix)
    assert Path(matrix.place).parent == Path()


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", "the name of the model is empty; name an ONNX file"),
        ("  ", "the name of the model is empty; "),
        ("nt.onnx", "there is no nt.onnx; did you mean 'net.onnx' in that folder?"),
        ("empty", "empty is no model: it holds neither config.json nor an ONNX file; "),
        ("two", "two holds 2 ONNX files; name one of them, such as "),
        ("junk.onnx", "junk.onnx is no ONNX model that can be read ("),
        ("junk.gguf", "junk.gguf is no GGUF file; "),
        ("junk.bin", "junk.bin is no model that is known by its ending; "),
        ("config:vit-tny", "unknown config 'vit-tny'; did you mean 'vit-tiny'?"),
        ("onnx:gone.onnx", "there is no gone.onnx; "),
        ("odd", "it is not known what kind of model odd is; say it with --family, "),
        ("broken", "broken/config.json is not JSON ("),
        ("no-inputs.onnx", "no-inputs.onnx has no inputs, so there is nothing to measure; "),
    ],
)
def test_what_is_no_model_is_one_sentence_with_a_remedy(place, word, said):
    an_onnx(place, "net.onnx", an_input("x", (1,)))
    an_onnx(place, "no-inputs.onnx")
    an_onnx(place, "two/a.onnx", an_input("x", (1,)))
    an_onnx(place, "two/b.onnx", an_input("x", (1,)))
    (place / "empty").mkdir()
    for name in ("junk.onnx", "junk.gguf", "junk.bin"):
        (place / name).write_bytes(b"no model")
    a_folder(place, "odd", architectures=["SomeDetector"])
    a_folder(place, "broken")
    (place / "broken" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        model_of(word)
    assert str(caught.value).startswith(said)


def test_a_name_on_the_hub_that_cannot_be_looked_up_asks_for_the_family(place):
    with pytest.raises(SourceError, match=r"what kind of model owner/name is cannot be looked up: .*--family, image-c"):
        drafted_matrix("owner/name", "", Path("cache"))


def test_an_unknown_family_is_answered_with_the_nearest(place):
    with pytest.raises(BenchError, match="unknown family 'text-encodr'; did you mean 'text-encoder'"):
        drafted_matrix("owner/name", "text-encodr", Path("cache"))


def test_a_draft_names_the_providers_that_a_machine_may_have_and_each_once():
    assert [name for name, row in catalogue.rows().items() if row.drafted] == [
        "cuda",
        "directml",
        "coreml",
        "openvino-cpu",
        "webgpu",
    ]
