"""The engine of llama.cpp on small models written here: NumPy's own answers, what it refuses, and what it tells."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llama_cpp
import numpy as np
import pytest
from language_models import LLAMA3, LONG, VOCABULARY, a_config, a_context, a_folder, greedy, some_weights
from visits import a_visit

from bench.records import Probe, Recipe, note
from bench.worker import llama_log, parity_tokens
from bench.worker.engines import _llama_context
from bench.worker.engines import llama_cpp as engine
from bench.worker.failures import failure_of
from bench.worker.formats import gguf as form
from bench.worker.recipes import recipes_of
from bench.worker.refusal import Refusal

NEW, PROMPT = 12, 40
PROMPTS = np.random.default_rng(1).integers(0, 256, (2, PROMPT))


def an_artifact(folder: Path, kind: str = "llama", recipe: str = "gguf-f32", **changes: Any) -> Path:
    """The folder of a GGUF that the recipe made."""
    source = a_folder(folder / "hf", a_config(kind, **changes))
    base, out = folder / "base", folder / "out"
    base.mkdir()
    form.gguf_f32(a_context(source), base)
    if recipe == form.MANIFEST.base:
        return base
    out.mkdir()
    recipes_of(form)[recipe](a_context(source, base), out)
    return out


def a_recipe(name: str) -> Recipe:
    return Recipe(name, number_format=recipes_of(form)[name].number_format)


def a_session(artifact: Path, recipe: str = "gguf-f32", **options: Any) -> engine.Session:
    said = {"engine": "llama-cpp", "family": "text-generator", "provider": None, "recipe": a_recipe(recipe)}
    return engine.Session(a_visit(artifact, options=options, **said))


def generated(session: engine.Session, feed: dict[str, np.ndarray], new: int = NEW) -> np.ndarray:
    return np.stack(list(session.begin(feed, new)), axis=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SimpleNamespace:
    """A Llama in FP32, and its own answers to two prompts."""
    config = a_config()
    found = [greedy(config, some_weights(config), row.tolist(), NEW) for row in PROMPTS]
    artifact = an_artifact(tmp_path_factory.mktemp("small"))
    tokens, logits = (np.stack(each) for each in zip(*found, strict=True))
    return SimpleNamespace(artifact=artifact, tokens=tokens, logits=logits, session=a_session(artifact))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("mistral", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("phi3", {}),
        ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 256, "max_position_embeddings": 1024}),
    ],
)
def test_every_architecture_gives_the_tokens_and_logits_of_its_definition(tmp_path, kind, changes):
    config = a_config(kind, **changes)
    tokens, logits = greedy(config, some_weights(config), PROMPTS[0].tolist(), NEW)
    session = a_session(an_artifact(tmp_path, kind, **changes))
    feed = {"input_ids": PROMPTS[:1]}
    assert generated(session, feed)[0].tolist() == list(tokens)
    scored = session.score(feed, np.array([tokens]))[0]
    assert (scored.shape, scored.dtype) == ((NEW, VOCABULARY), np.float32)
    assert parity_tokens.kl(logits, scored.astype(np.float64)).mean() < 1e-10
    assert np.abs(scored - logits).max() < 1e-4


def test_sequences_side_by_side_are_those_of_one_alone(small):
    assert generated(small.session, {"input_ids": PROMPTS}).tolist() == small.tokens.tolist()
    for row in (0, 1):
        assert generated(small.session, {"input_ids": PROMPTS[row : row + 1]})[0].tolist() == list(small.tokens[row])
    np.testing.assert_allclose(small.session.score({"input_ids": PROMPTS}, small.tokens), small.logits, atol=1e-4)


def test_a_context_is_in_the_cache_before_the_prompt(small):
    feed = {"context_ids": PROMPTS[:, :30], "input_ids": PROMPTS[:, 30:]}
    assert generated(small.session, feed).tolist() == small.tokens.tolist()
    np.testing.assert_allclose(small.session.score(feed, small.tokens), small.logits, atol=1e-4)
    other = {"context_ids": PROMPTS[::-1, :30], "input_ids": PROMPTS[:, 30:]}
    assert generated(small.session, other).tolist() != small.tokens.tolist()


def test_a_second_generation_knows_nothing_of_the_first(small):
    first, again = (generated(small.session, {"input_ids": PROMPTS[:1]}) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_longer_workload_after_a_shorter_one_gets_a_cache_of_its_own(small):
    assert generated(small.session, {"input_ids": PROMPTS[:1, :3]}, 2).shape == (1, 2)
    assert generated(small.session, {"input_ids": PROMPTS[:1]}, 300).shape == (1, 300)


def test_a_step_is_int64_of_the_batch_and_the_end_of_sequence_is_no_end(small):
    steps = list(small.session.begin({"input_ids": PROMPTS}, 400))
    assert len(steps) == 400
    assert {(step.dtype.name, step.shape) for step in steps} == {("int64", (2,))}
    stream = small.session.begin({"input_ids": PROMPTS}, 1)
    assert (stream.tokens, stream.prompt_tokens, stream.encode_ns) == (None, None, None)


@pytest.mark.parametrize(
    ("recipe", "worst", "weights", "bits"),
    [
        ("gguf-f16", 1e-5, "F16", 16.0),
        ("gguf-q8_0", 5e-3, "Q8_0", 8.5),
        ("gguf-q6_k", 3e-2, "Q6_K", 6.5625),
        ("gguf-q5_k_m", 8e-2, "Q5_K_M", 5.69),
        ("gguf-q4_k_m", 0.25, "Q4_K_M", 4.85),
        ("gguf-q4_0", 0.4, "Q4_0", 4.5),
    ],
)
def test_a_quantized_model_is_as_far_off_as_its_bits_say_and_tells_them(tmp_path, small, recipe, worst, weights, bits):
    session = a_session(an_artifact(tmp_path, recipe=recipe), recipe)
    scored = session.score({"input_ids": PROMPTS}, small.tokens).astype(np.float64)
    assert 1e-9 < parity_tokens.kl(small.logits, scored).mean() < worst
    traits = session.traits({"batch": 1, "prompt": PROMPT, "new": NEW, "context": 0})
    assert (traits.weights, traits.declared_bits, traits.kv_type, traits.logits) == (
        weights,
        bits,
        "fp16",
        "last token",
    )


# --- the KV cache -----------------------------------------------------------------------------------------------------


def test_the_bytes_of_the_cache_are_those_that_llama_cpp_allocates(small, tmp_path):
    sizes = {"batch": 2, "prompt": PROMPT, "new": 300, "context": 0}
    session = a_session(small.artifact)
    session.begin({"input_ids": PROMPTS}, 300)
    cells = llama_cpp.llama_n_ctx(session._context.pointer)
    assert cells == 2 * 512
    # Two layers, keys and values of two heads of 64, in FP32.
    assert session.traits(sizes).kv_bytes == cells * 2 * 2 * 2 * 64 * 4


def test_fp32_is_fp32_in_the_cache_and_in_attention_too(small):
    assert (small.session.settings.kv_type, small.session.settings.flash) == ("f32", "off")
    half = a_session(small.artifact, kv_type="f16")
    errors = [
        np.abs(each.score({"input_ids": PROMPTS}, small.tokens) - small.logits).max() for each in (small.session, half)
    ]
    assert errors[0] < 1e-4 < errors[1]


def test_flash_attention_over_an_fp32_cache_is_refused_because_llama_cpp_rounds_it(small):
    with pytest.raises(Refusal, match="rounds a KV cache of FP32"):
        a_session(small.artifact, flash_attention=True)
    # What the refusal says is so: the cache's own type makes no difference there.
    scores = []
    for kv_type in ("f32", "f16"):
        settings = _llama_context.Settings(1, kv_type, "on", on_gpu=False)
        session = a_session(small.artifact)
        session.settings = settings
        scores.append(session.score({"input_ids": PROMPTS}, small.tokens))
    np.testing.assert_array_equal(*scores)


def test_a_cache_that_memory_cannot_hold_is_out_of_memory_before_the_system_kills(small):
    with pytest.raises(MemoryError, match="MiB are free") as raised:
        small.session.begin({"input_ids": PROMPTS}, 2_000_000_000)
    assert failure_of(raised.value, "time").status == "out-of-memory"
    assert generated(small.session, {"input_ids": PROMPTS}).tolist() == small.tokens.tolist()


def test_what_llama_cpp_says_of_memory_is_out_of_memory():
    llama_log._lines.append((llama_log.ERROR, "llama_init_from_model: failed to allocate buffer for kv cache\n"))
    raised = _llama_context.error("llama.cpp opened no context", llama_log.mark() - 1)
    assert failure_of(raised, "time").status == "out-of-memory"
    assert str(raised).endswith("failed to allocate buffer for kv cache")


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no GGUF at all", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64])
def test_a_file_that_is_no_gguf_is_an_error_with_llama_cpps_reason(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"did not load the GGUF: \w") as raised:
        a_session(tmp_path)
    assert str(tmp_path) not in str(raised.value)


def test_a_gguf_that_is_cut_short_is_an_error(tmp_path):
    path = an_artifact(tmp_path) / "model.gguf"
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(RuntimeError, match="not within the file bounds, model is corrupted or incomplete"):
        a_session(path.parent)


def test_an_artifact_without_a_gguf_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"no model\.gguf"):
        a_session(tmp_path)


def test_a_token_that_the_model_does_not_know_is_an_error_and_not_a_crash(small):
    with pytest.raises(RuntimeError, match="none of the model's"):
        generated(small.session, {"input_ids": np.full((1, 4), VOCABULARY)})


def test_more_sequences_than_llama_cpp_takes_are_an_error(small):
    with pytest.raises(RuntimeError, match="n_seq_max must be <= 256"):
        small.session.begin({"input_ids": np.zeros((257, 1), np.int64)}, 2)


# --- options and targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_gpu_layer": 1}, "no option 'n_gpu_layer'"),
        ({"n_gpu_layers": "all"}, "n_gpu_layers is 'all'"),
        ({"kv_type": "int4"}, "kv_type is 'int4'"),
        ({"flash_attention": "maybe", "kv_type": "f16"}, "flash_attention is 'maybe'"),
    ],
)
def test_an_option_that_is_none_is_refused_by_visits_and_probes(small, options, words):
    with pytest.raises(Refusal, match=words):
        a_session(small.artifact, **options)
    facts = engine.probe(Probe("llama-cpp", options=options))
    assert (facts.available, facts.kind) == (False, "option")


def test_layers_for_a_gpu_that_is_not_there_are_unavailable_and_not_the_cpu(small):
    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("a llama.cpp without a GPU is not on this system")
    with pytest.raises(Refusal) as refused:
        a_session(small.artifact, n_gpu_layers=-1)
    assert (refused.value.status, refused.value.kind) == ("unavailable", "no-device")
    assert engine.probe(Probe("llama-cpp", options={"n_gpu_layers": 99})).kind == "no-device"


def test_flash_attention_is_in_the_notes(small):
    assert small.session.notes == (note("flash-attention", setting="off"),)
    assert a_session(small.artifact, kv_type="f16").notes == (note("flash-attention", setting="auto"),)
    fused = a_session(small.artifact, kv_type="f16", flash_attention=True)
    assert fused.notes == (note("flash-attention", setting="on"),)


def test_a_session_tells_its_threads_its_device_and_that_nothing_went_wrong(small):
    session = small.session
    assert (session.threads, session.device.label, session.placement) == (1, "cpu.0", None)
    assert a_session(small.artifact).complaint == ""
    assert session.traits({"batch": 1, "prompt": 8, "new": 8, "context": 0}).weight_bytes > 5_000_000


def test_a_probe_tells_the_device_the_build_and_what_the_cpu_can():
    facts = engine.probe(Probe("llama-cpp"))
    assert (facts.available, facts.device.label) == (True, "cpu.0")
    assert facts.device.name
    assert {"llama-cpp-python", "llama.cpp", "ggml commit"} <= set(facts.versions)
    (features,) = facts.notes
    assert features.kind == "llama-cpp-features"
    assert str(features.values["text"]).startswith("CPU : ")


def test_chatter_is_not_kept_and_a_continued_line_is_one(capfd):
    llama_log.listen()
    since = llama_log.mark()
    for level, text in ((2, b"chatter\n"), (4, b"f: it is "), (5, b"broken\n"), (5, b"..."), (3, b"beware\n")):
        llama_log._keep(level, text, None)
    assert llama_log.errors(since) == ["it is broken"]
    assert llama_log.warnings(since) == ["beware"]
    assert "chatter" not in capfd.readouterr().err
