"""The format of onnxruntime-genai: every export was seen to run, and what does not run is refused with a way out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from genai_visits import an_export, source_of
from transformers import GPT2Config, GPT2LMHeadModel

from bench.records import Note, Source, note
from bench.worker import families, genai_config
from bench.worker.families import speech_recognizer
from bench.worker.formats import _decoder_trial, _genai_trial, genai
from bench.worker.onnx_runtime import genai_traits, onnx_protobuf
from bench.worker.refusal import Refusal

BLOCKS = "MatMulNBits, {} bits, blocks of {}, accuracy level {}"


def refusal_of(out: Path, recipe: str, family: str = "text-generator", source=None, **options) -> Refusal:
    with pytest.raises(Refusal) as refused:
        an_export(out, family, recipe, source, **options)
    assert refused.value.status == "unsupported"
    assert refused.value.remedy
    assert str(out) not in refused.value.message
    return refused.value


@pytest.mark.parametrize("family", ["text-generator", "speech-recognizer"])
@pytest.mark.parametrize(
    ("recipe", "options", "weights", "bits", "kv"),
    [
        ("genai-fp32", {}, "fp32", 32, "fp32"),
        ("genai-fp16", {}, "fp16", 16, "fp16"),
        ("genai-int8", {}, BLOCKS.format(8, 32, 4), 9, "fp32"),
        ("genai-int4", {"block_size": 64, "accuracy_level": 1}, BLOCKS.format(4, 64, 1), 4.5, "fp32"),
        ("genai-int4", {"symmetric": False}, BLOCKS.format(4, 32, 4), 5.125, "fp32"),
        ("genai-dynamic-int8", {}, "int8, activations quantized at run time", 8, "fp32"),
    ],
)
def test_an_export_says_how_its_weights_are_stored(tmp_path, family, recipe, options, weights, bits, kv):
    export = genai_config.read(an_export(tmp_path / "model", family, recipe, **options))
    traits = genai_traits.traits(export, 1, 36)
    assert (traits.weights, traits.declared_bits, traits.kv_type) == (weights, bits, kv)
    assert traits.logits == "last token"
    assert 0 < traits.weight_bytes < sum(file.stat().st_size for file in export.folder.iterdir())


def test_k_quant_mixed_holds_products_of_four_and_of_eight_bits(tmp_path):
    export = genai_config.read(
        an_export(tmp_path / "model", "text-generator", "genai-int4", algo_config="k_quant_mixed")
    )
    said, bits = genai_traits.weights(onnx_protobuf.read_graph(export.decoder))
    assert said.startswith("MatMulNBits, 4 and 8 bits")
    assert 5 < bits < 9


def test_logits_of_every_token_are_kept_where_they_are_asked_for(tmp_path):
    export = genai_config.read(an_export(tmp_path / "model", "text-generator", prune_lm_head=False))
    assert genai_traits.traits(export, 1, 36).logits == "every token"


def test_an_export_ends_no_text_whatever_its_model_says(tmp_path):
    said = json.loads(Path(source_of("text-generator").path).read_text(encoding="utf-8"))
    assert said["eos_token_id"] == 257
    assert genai_config.read(an_export(tmp_path / "model", "text-generator")).ends == ()


def test_what_is_exported_for_another_device_says_so(tmp_path):
    an_export(tmp_path / "model", "text-generator", "genai-int4", ep="webgpu")
    notes = msgspec.json.decode((tmp_path / "model.notes").read_bytes(), type=tuple[Note, ...])
    assert notes == (note("exported-for", ep="webgpu"),)


def test_an_export_for_a_gpu_whose_operators_the_cpu_lacks_stays_untested_and_says_why(tmp_path, monkeypatch):
    def without_kernel(_export) -> None:
        raise RuntimeError("Could not find an implementation for Foo(1)")

    export = an_export(tmp_path / "model", "text-generator", "genai-int4", ep="webgpu")
    monkeypatch.setattr(_decoder_trial, "run", without_kernel)
    (untested,) = _genai_trial.try_export(export, "genai-int4", "webgpu")
    assert (untested.kind, untested.values["ep"]) == ("export-untested", "webgpu")
    assert "Foo" in str(untested.values["text"])
    with pytest.raises(Refusal, match="does not run"):
        _genai_trial.try_export(export, "genai-int4", "cpu")


# --- what the builder writes with an exit code of 0, and does not run -------------------------------------------------


def test_an_fp16_export_for_the_cpu_does_not_run_and_is_refused_with_the_one_that_does(tmp_path):
    refusal = refusal_of(tmp_path / "model", "genai-fp16", ep="cpu")
    assert "was written and does not run" in refusal.message
    assert 'ep = "cuda"' in refusal.remedy


@pytest.mark.parametrize("ep", ["cuda", "dml"])
def test_an_fp32_export_for_a_gpu_is_an_invalid_graph_and_is_refused(tmp_path, ep):
    refusal = refusal_of(tmp_path / "model", "genai-fp32", ep=ep)
    assert "does not run" in refusal.message
    assert 'ep = "webgpu"' in refusal.remedy


def test_a_whisper_without_biases_would_crash_onnxruntime_and_is_refused_before_it_runs(tmp_path, monkeypatch):
    def untrained(source: Source, scratch: Path) -> Path:
        whole = speech_recognizer.load(source)
        with torch.no_grad():
            for name, weight in whole.named_parameters():
                if name.endswith("bias"):
                    weight.zero_()
        monkeypatch.setattr(speech_recognizer, "load", lambda _: whole)
        speech_recognizer.save(source, scratch)
        return scratch

    monkeypatch.setattr(speech_recognizer, "folder", untrained)
    refusal = refusal_of(tmp_path / "model", "genai-fp32", "speech-recognizer")
    assert "would crash" in refusal.message


# --- what the builder refuses -----------------------------------------------------------------------------------------


def test_an_architecture_that_the_builder_does_not_know_is_refused_by_its_name(tmp_path, monkeypatch):
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64)).save_pretrained(tmp_path / "gpt2")
    monkeypatch.setattr(families.named("text-generator"), "folder", lambda *_: tmp_path / "gpt2")
    assert "does not know 'GPT2LMHeadModel'" in refusal_of(tmp_path / "model", "genai-fp32").message


def test_a_model_type_that_nobody_knows_is_refused_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "straw").mkdir()
    (tmp_path / "straw" / "config.json").write_text(json.dumps({"model_type": "straw"}))
    monkeypatch.setattr(families.named("text-generator"), "folder", lambda *_: tmp_path / "straw")
    assert "does not know 'straw'" in refusal_of(tmp_path / "model", "genai-fp32").message


def test_code_of_the_sources_folder_is_never_run(tmp_path, monkeypatch):
    folder = tmp_path / "sly"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "sly", "auto_map": {"AutoConfig": "configuration_sly.SlyConfig"}})
    )
    (folder / "configuration_sly.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').write('sly')")
    monkeypatch.setattr(families.named("text-generator"), "folder", lambda *_: folder)
    with pytest.raises((Refusal, ValueError)):
        an_export(tmp_path / "model", "text-generator")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(("option", "value"), [("ep", "tpu"), ("block_size", 7)])
def test_a_value_that_is_none_of_an_options_is_refused_with_those_that_are(tmp_path, option, value):
    refusal = refusal_of(tmp_path / "model", "genai-int4", **{option: value})
    assert refusal.kind == "option"
    assert str(value) in refusal.message
    assert option in refusal.remedy


# --- its manners ------------------------------------------------------------------------------------------------------


def test_the_builder_prints_nothing_and_leaves_no_path_behind(tmp_path, capfd):
    before = list(sys.path)
    an_export(tmp_path / "model", "text-generator")
    assert capfd.readouterr() == ("", "")
    assert sys.path == before


def test_what_the_builder_printed_is_told_where_it_fails(capsys):
    with pytest.raises(KeyError):
        _talk_and_fail()
    assert "reading layer 0" in capsys.readouterr().err


def _talk_and_fail() -> None:
    with genai._captured_output():
        sys.stdout.write("reading layer 0")
        raise KeyError("layer 1")
