"""onnxruntime-genai on the CPU: PyTorch's own tokens, whatever the export says of ends, penalties and threads."""

from __future__ import annotations

import numpy as np
import onnxruntime_genai
import pytest
from genai_visits import SIZES, a_copy, a_generation, a_reference, an_export, distance, generated, several
from msgspec.structs import replace
from visits import CPU, Recorder, a_provider, measure

from bench.records import Bursted, Held, Opened, Probe
from bench.worker import genai_config
from bench.worker.engines import _genai_model, genai, ort_generate
from bench.worker.refusal import Refusal

FAMILIES = ("text-generator", "speech-recognizer")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By family: the FP32 export, its workload, feeds and reference."""
    folder = tmp_path_factory.mktemp("exports")
    return {name: (an_export(folder / name, name), *a_reference(folder / f"{name}-ref", name)) for name in FAMILIES}


@pytest.fixture(scope="module")
def sessions(made):
    return {name: genai.Session(a_generation(made[name][0], name)) for name in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_gives_pytorchs_tokens_and_its_logits(made, sessions, family):
    _, job, batches, expected = made[family]
    for feed, outputs in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(generated(sessions[family], feed, job.sizes["new"]), outputs["tokens"])
        logits = sessions[family].score(feed, outputs["tokens"])
        assert logits.dtype == np.float32
        assert distance(outputs["logits"], logits) < 1e-8


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_onnxruntime_gives_the_very_same_tokens_and_logits(made, sessions, family):
    export, job, (feed, *_), (outputs, *_) = made[family]
    plain = ort_generate.Session(a_generation(export, family, "ort-generate"))
    np.testing.assert_array_equal(generated(plain, feed, 12), generated(sessions[family], feed, job.sizes["new"]))
    np.testing.assert_allclose(
        plain.score(feed, outputs["tokens"]), sessions[family].score(feed, outputs["tokens"]), atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_a_batch_is_what_it_is_alone(made, sessions, family):
    rows = several(made[family][2][0], 3)
    together = generated(sessions[family], rows, 6)
    assert together.dtype == np.int64
    for row in range(3):
        alone = {name: part[row : row + 1] for name, part in rows.items()}
        np.testing.assert_array_equal(together[row : row + 1], generated(sessions[family], alone, 6))
    assert sessions[family].score(rows, together).argmax(-1).tolist() == together.tolist()


def test_a_filled_context_gives_what_one_long_prompt_gives(tmp_path, sessions):
    _, (feed, _), (outputs, _) = a_reference(tmp_path / "deep", "text-generator", context=32)
    np.testing.assert_array_equal(generated(sessions["text-generator"], feed, 12), outputs["tokens"])
    logits = sessions["text-generator"].score(feed, outputs["tokens"])
    assert distance(outputs["logits"], logits) < 1e-8


def test_a_context_of_several_sequences_is_refused(made, sessions):
    feed = several(made["text-generator"][2][0], 2)
    with pytest.raises(Refusal, match="one sequence only"):
        sessions["text-generator"].begin({**feed, "context_ids": feed["input_ids"]}, 4)


def test_a_batch_larger_than_genai_takes_is_refused_with_its_own_words(made, sessions):
    _, _, (feed, *_), _ = made["text-generator"]
    many = {"input_ids": np.repeat(feed["input_ids"], 96, axis=0)}
    with pytest.raises(Refusal, match=r"batch_size \(96\)") as caught:
        sessions["text-generator"].begin(many, 4)
    assert (caught.value.status, caught.value.remedy) == ("unsupported", "ort-generate takes larger batches")


def test_features_that_are_narrowed_live_as_long_as_their_generation(tmp_path, made):
    """genai computes on the memory that it is given: freed too early, FP16 features gave NaN now and then."""
    _, job, batches, expected = made["speech-recognizer"]
    export = an_export(tmp_path / "half", "speech-recognizer", "genai-fp16")
    session = genai.Session(a_generation(export, "speech-recognizer"))
    for feed, outputs in zip(batches * 2, expected * 2, strict=True):
        assert distance(outputs["logits"], session.score(feed, outputs["tokens"])) < 1e-3
        stream = session.begin(feed, job.sizes["new"])
        noise = [np.full(feed["input_features"].shape, np.nan, np.float16) for _ in range(4)]
        assert (np.stack(list(stream), axis=1) != 0).any(), noise


def test_penalties_and_sampling_of_the_export_change_nothing(tmp_path, made):
    def change(config):
        config["search"] |= {
            "do_sample": True,
            "repetition_penalty": 3.0,
            "no_repeat_ngram_size": 1,
            "temperature": 9.0,
        }
        config["search"] |= {"top_k": 50, "top_p": 0.5, "num_beams": 4, "min_length": 40, "max_length": 41}

    export, job, (feed, *_), (outputs, *_) = made["text-generator"]
    session = genai.Session(a_generation(a_copy(export, tmp_path / "noisy", change), "text-generator"))
    np.testing.assert_array_equal(generated(session, feed, job.sizes["new"]), outputs["tokens"])


def test_an_export_that_ends_texts_is_refused_since_genai_would_cut_them_short_without_a_word(tmp_path, made):
    export, _, (feed, *_), (outputs, *_) = made["text-generator"]
    end = int(outputs["tokens"][0, 3])
    ending = a_copy(export, tmp_path / "ending", lambda config: config["model"].update(eos_token_id=end))
    with pytest.raises(Refusal, match=f"ends a text at the token {end}"):
        genai.Session(a_generation(ending, "text-generator"))
    genai_config.endless(ending)
    tokens = generated(genai.Session(a_generation(ending, "text-generator")), feed, 12)
    np.testing.assert_array_equal(tokens, outputs["tokens"])


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_and_session_entries_reach_every_graph(made, family):
    """onnxruntime refuses this entry where the provider is the CPU, so a model that opens never heard of it."""
    entry = {"session.disable_cpu_ep_fallback": "1"}
    with pytest.raises(Exception, match="disabled by the user"):
        genai.Session(a_generation(made[family][0], family, provider=a_provider(CPU, session=entry)))
    said = _genai_model.overlay(a_provider(CPU), genai_config.read(made[family][0]), 3)["model"]
    assert {part["session_options"]["intra_op_num_threads"] for part in said.values()} == {3}
    assert set(said) == ({"encoder", "decoder"} if family == "speech-recognizer" else {"decoder"})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_traits_are_those_of_plain_onnxruntime(made, sessions, family):
    feed = made[family][2][0]
    plain = ort_generate.Session(a_generation(made[family][0], family, "ort-generate"))
    for session in (plain, sessions[family]):
        generated(session, feed, 2)
    assert sessions[family].traits(SIZES[family]) == plain.traits(SIZES[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_visit_is_measured_and_right(made, family):
    export, job, *_ = made[family]
    channel = Recorder()
    measure(a_generation(export, family, jobs=(job,)), channel)
    (opened,), (held,) = channel.of(Opened), channel.of(Held)
    assert set(opened.placement.nodes) == {CPU}
    assert opened.versions["onnxruntime-genai"] == onnxruntime_genai.__version__
    assert (held.parity.tokens_same, held.parity.tokens_compared) == (12, 12)
    assert held.parity.kl_divergence < 1e-8
    (bursted,) = channel.of(Bursted)
    assert len(bursted.generations[0].token_ns) == 11


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_a_provider_that_genai_has_no_name_for_is_left_to_plain_onnxruntime(made):
    with pytest.raises(Refusal, match="no name for XnnpackExecutionProvider") as refused:
        genai.Session(a_generation(made[FAMILIES[0]][0], FAMILIES[0], provider=a_provider("XnnpackExecutionProvider")))
    assert "ort-generate" in refused.value.remedy


def test_a_provider_that_is_not_there_is_unavailable_and_not_the_cpu(made):
    with pytest.raises(Refusal) as refused:
        genai.Session(a_generation(made[FAMILIES[0]][0], FAMILIES[0], provider=a_provider("CUDAExecutionProvider")))
    assert refused.value.status == "unavailable"


def test_a_model_that_genai_put_on_another_device_is_refused(sessions):
    provider = replace(sessions["text-generator"].provider, ep="WebGpuExecutionProvider")
    with pytest.raises(Refusal, match="put the model on CPU, and not on WebGpuExecutionProvider"):
        _genai_model.refuse_fallback(provider, "WebGPU", sessions["text-generator"].model)


def test_speech_on_webgpu_is_refused_since_genai_would_crash(made):
    webgpu = a_provider("WebGpuExecutionProvider", plugin="onnxruntime_ep_webgpu")
    with pytest.raises(Refusal, match="crashes") as refused:
        genai.Session(a_generation(made["speech-recognizer"][0], "speech-recognizer", provider=webgpu))
    assert "ort-generate" in refused.value.remedy


def test_a_provider_of_fixed_shapes_is_refused(made):
    fixed = a_provider(CPU, static_shapes=True)
    with pytest.raises(Refusal, match="fixed shapes only"):
        genai.Session(a_generation(made[FAMILIES[0]][0], FAMILIES[0], provider=fixed))


def test_more_tokens_than_the_model_has_positions_are_refused(made, sessions):
    with pytest.raises(Refusal, match="the model's context is 256") as refused:
        sessions["text-generator"].begin(made["text-generator"][2][0], 1000)
    assert (refused.value.status, refused.value.kind) == ("unsupported", "too-long")


def test_a_cache_that_memory_does_not_hold_is_out_of_memory(tmp_path, made):
    endless = a_copy(
        made[FAMILIES[0]][0], tmp_path / "endless", lambda said: said["model"].update(context_length=2**31 - 1)
    )
    session = genai.Session(a_generation(endless, FAMILIES[0]))
    with pytest.raises(MemoryError, match=r"(?i)key-value cache"):
        session.begin(made[FAMILIES[0]][2][0], 10**9)


def test_it_is_probed_as_onnxruntime_is():
    assert genai.probe(Probe("genai", a_provider(CPU))).available
