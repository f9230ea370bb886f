"""What the builder of onnxruntime-genai would write wrong, or refuse: each architecture against PyTorch, in FP32."""

from __future__ import annotations

import json

import numpy as np
import pytest
from genai_visits import a_generation, an_export, distance, generated
from generators import CONFIGS, a_source, family_of

from bench.records import Recipe, Source
from bench.worker import engines, families, genai_config
from bench.worker.onnx_runtime import decoder_cache, genai_traits, onnx_protobuf
from bench.worker.refusal import Refusal

WINDOW = 32
TEXT = [
    {"batch": 1, "prompt": WINDOW - 8, "new": 16, "context": 0},
    {"batch": 1, "prompt": 2 * WINDOW + 8, "new": 4, "context": 0},
    {"batch": 2, "prompt": 6, "new": 6, "context": 0},
]
"""Around the window, beyond it, and within it."""
SPEECH = [{"batch": 1, "audio": 5, "new": 12}]
NAMES = [
    "mistral-window",
    "phi3-window",
    "phi3-longrope",
    "gemma2",
    "gemma3",
    "gemma3-linear",
    "gpt-oss",
    "smollm3",
    "olmo",
    "lfm2",
    "distil-whisper",
    "large-v3-turbo",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_answers_as_pytorch_does(tmp_path, name):
    family, source = family_of(name), a_source(tmp_path, name)
    module = families.named(family)
    export = an_export(tmp_path / "model", family, source=source)
    sessions = {
        engine: engines.named(engine).Session(a_generation(export, family, engine))
        for engine in ("genai", "ort-generate")
    }
    control = engines.named("torch").Session(
        a_generation(export, family, "torch", source=source, recipe=Recipe("fp32", number_format="fp32"), mode="eager")
    )
    for sizes in SPEECH if family == "speech-recognizer" else TEXT:
        batches = module.make_inputs(source, sizes, None)
        expected = module.reference(source, batches, sizes["new"])[0]
        for engine, session in {**sessions, "torch": control}.items():
            logits = session.score(batches[0], expected[0]["tokens"][:, : expected[0]["logits"].shape[1]])
            assert distance(expected[0]["logits"], logits) < 1e-9, (engine, sizes)
            np.testing.assert_array_equal(generated(session, batches[0], sizes["new"]), expected[0]["tokens"])


def test_a_window_has_a_buffer_of_its_own_size_and_the_other_layers_have_one_of_the_text(tmp_path):
    export = genai_config.read(an_export(tmp_path / "model", "text-generator", source=a_source(tmp_path, "gemma2")))
    assert (export.window, export.windowed) == (WINDOW, {0})
    cache = decoder_cache.read(export, onnx_protobuf.read_graph(export.decoder).values)
    assert [tensor.room(10) for tensor in cache] == [WINDOW, 10, WINDOW, 10]
    assert {tuple(tensor.shape(3, 10)) for tensor in cache} == {(3, 2, 10, 32)}


def test_the_bytes_of_a_cache_are_those_of_the_window_where_the_engine_keeps_only_that(tmp_path):
    export = genai_config.read(an_export(tmp_path / "model", "text-generator", source=a_source(tmp_path, "gemma2")))
    # Keys and values of two heads of 32 numbers in four bytes each, for one layer and one token.
    token = 2 * 2 * 32 * 4
    assert genai_traits.traits(export, 1, 100).kv_bytes == token * (100 + 100)
    assert genai_traits.traits(export, 1, 100, keeps_windows=True).kv_bytes == token * (WINDOW + 100)
    assert genai_traits.traits(export, 1, 10).kv_bytes == token * (WINDOW + 10)


def test_a_layer_without_attention_keeps_a_state_of_fixed_size(tmp_path):
    export = genai_config.read(an_export(tmp_path / "model", "text-generator", source=a_source(tmp_path, "lfm2")))
    cache = decoder_cache.read(export, onnx_protobuf.read_graph(export.decoder).values)
    assert [(tensor.past, tensor.shape(2, 9)) for tensor in cache] == [
        ("past_key_values.1.key", [2, 2, 9, 32]),
        ("past_key_values.1.value", [2, 2, 9, 32]),
        ("past.0.conv", [2, 128, 2]),
    ]


# --- the end of a text ------------------------------------------------------------------------------------------------


def test_a_text_goes_on_after_the_token_that_the_model_pads_with(tmp_path):
    source = a_source(tmp_path, "mistral-window")
    module, sizes = families.named("text-generator"), TEXT[0]
    batches = module.make_inputs(source, sizes, None)
    tokens = module.reference(source, batches, sizes["new"])[0][0]["tokens"]
    # A token from the middle of the text, which genai would take for its end.
    config = json.loads((tmp_path / "mistral-window.json").read_text(encoding="utf-8"))
    config |= {"pad_token_id": int(tokens[0, 4]), "eos_token_id": int(tokens[0, 4])}
    (tmp_path / "padded.json").write_text(json.dumps(config), encoding="utf-8")
    padded = Source(kind="config", path=str(tmp_path / "padded.json"), weights="random", digest="")
    export = an_export(tmp_path / "model", "text-generator", source=padded)
    session = engines.named("genai").Session(a_generation(export, "text-generator"))
    np.testing.assert_array_equal(generated(session, batches[0], sizes["new"]), tokens)


def test_a_text_that_genai_would_end_is_refused_and_not_called_inaccurate(tmp_path):
    source = a_source(tmp_path, "mistral-window")
    module, sizes = families.named("text-generator"), TEXT[0]
    batches = module.make_inputs(source, sizes, None)
    tokens = module.reference(source, batches, sizes["new"])[0][0]["tokens"][0]
    export = an_export(tmp_path / "model", "text-generator", source=source)
    genai_config.endless(export, end=int(tokens[4]))
    session = engines.named("genai").Session(a_generation(export, "text-generator"))
    with pytest.raises(Refusal, match=rf"padding token {tokens[4]}, and the model wrote it as token") as refused:
        generated(session, batches[0], sizes["new"])
    assert (refused.value.status, refused.value.remedy) == (
        "unsupported",
        "ort-generate runs the same export to its end",
    )


# --- what the builder cannot do ---------------------------------------------------------------------------------------


def test_what_the_builder_fails_on_is_a_refusal_with_its_whole_reason(tmp_path):
    with pytest.raises(
        Refusal, match=r"cannot export 'GptOssForCausalLM' in int4: .*MXFP4 tensor .* in the model's folder"
    ) as refused:
        an_export(tmp_path / "model", "text-generator", "genai-int4", source=a_source(tmp_path, "gpt-oss"))
    assert (refused.value.status, refused.value.kind) == ("unsupported", "export")


def test_positions_that_the_builder_does_not_know_are_not_called_an_unknown_architecture(tmp_path):
    said = CONFIGS["mistral-window"] | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    (tmp_path / "dynamic.json").write_text(json.dumps(said), encoding="utf-8")
    source = Source(kind="config", path=str(tmp_path / "dynamic.json"), weights="random", digest="")
    with pytest.raises(Refusal, match=r"cannot export 'MistralForCausalLM' in fp32: .*dynamic RoPE") as refused:
        an_export(tmp_path / "model", "text-generator", source=source)
    assert refused.value.kind == "export"
