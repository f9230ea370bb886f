"""PyTorch's generations: token by token as the reference, whatever the cache; what they take is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limits

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from visits import a_visit  # noqa: E402

from bench.records import Recipe, Source  # noqa: E402
from bench.worker import families, parity_tokens  # noqa: E402
from bench.worker.engines import torch as engine  # noqa: E402
from bench.worker.pytorch import loading  # noqa: E402

CONFIGS = Path(__file__).parent.parent.parent / "bench" / "worker" / "configs"
MODELS = {"text-generator": "llama-tiny", "speech-recognizer": "whisper-nano"}
SIZES = {
    "text-generator": {"batch": 2, "prompt": 24, "new": 18, "context": 16},
    "speech-recognizer": {"batch": 2, "audio": 30, "new": 18},
}
BOTH = pytest.mark.parametrize("family", sorted(MODELS))


def a_source(family: str) -> Source:
    return Source(kind="config", path=str(CONFIGS / f"{MODELS[family]}.json"), weights="random", digest="")


def a_session(family: str, recipe: str = "fp32", mode: str = "eager", scratch: str = "") -> Any:
    said = {
        "family": family,
        "source": a_source(family),
        "recipe": Recipe(recipe, number_format=recipe.rpartition("-")[2]),
        "provider": None,
    }
    return engine.Session(a_visit(engine="torch", mode=mode, scratch=scratch, **said))


@pytest.fixture(scope="module")
def referred() -> dict[str, tuple[Any, Any]]:
    """The first feed of each family, and what it leads to."""
    made = {}
    for family in MODELS:
        feeds = families.named(family).make_inputs(a_source(family), SIZES[family], None)
        made[family] = (feeds[0], families.named(family).reference(a_source(family), feeds, 18)[0][0])
    return made


def divergence(outputs: Any, scores: Any) -> float:
    return float(parity_tokens.kl(outputs["logits"].astype(np.float64), scores.astype(np.float64)).mean())


@BOTH
def test_greedy_tokens_are_the_references_own_each_time(referred: Any, family: str) -> None:
    feed, outputs = referred[family]
    session = a_session(family)
    for _ in range(2):
        steps = list(session.begin(feed, 18))
        assert {(step.shape, step.dtype.name) for step in steps} == {((2,), "int64")}
        np.testing.assert_array_equal(np.stack(steps, axis=1), outputs["tokens"])


@BOTH
def test_scores_are_the_references_logits_over_its_tokens(referred: Any, family: str) -> None:
    feed, outputs = referred[family]
    session = a_session(family)
    scores = session.score(feed, outputs["tokens"][:, :16])
    assert (scores.shape, scores.dtype.name) == ((2, 16, 1024), "float32")
    assert divergence(outputs, scores) < 1e-9
    one = session.score(feed, outputs["tokens"][:, :1])
    np.testing.assert_allclose(one, scores[:, :1], atol=1e-4)


@BOTH
def test_scores_follow_the_tokens_that_are_given_and_not_the_models_own(referred: Any, family: str) -> None:
    feed, outputs = referred[family]
    session = a_session(family)
    other = outputs["tokens"][:, :4].copy()
    other[:, 1] = (other[:, 1] + 7) % 900
    right, forced = (session.score(feed, tokens) for tokens in (outputs["tokens"][:, :4], other))
    np.testing.assert_array_equal(right[:, :2], forced[:, :2])
    assert np.abs(right[:, 2] - forced[:, 2]).max() > 0.5


# Whisper's kernels take g++ a minute or more.
@pytest.mark.parametrize("family", ["text-generator", pytest.param("speech-recognizer", marks=pytest.mark.nightly)])
@pytest.mark.skipif(not any(map(shutil.which, loading.COMPILERS)), reason="torch.compile needs a C++ compiler")
def test_compiled_it_emits_the_same_tokens_and_scores_without_compiling_again(
    referred: Any, family: str, tmp_path: Path
) -> None:
    feed, outputs = referred[family]
    session = a_session(family, mode="compile", scratch=str(tmp_path))
    for _ in range(2):
        np.testing.assert_array_equal(np.stack(list(session.begin(feed, 18)), axis=1), outputs["tokens"])
    counters = torch._dynamo.utils.counters["stats"]
    compiled = counters["unique_graphs"]
    assert compiled > 0
    assert divergence(outputs, session.score(feed, outputs["tokens"][:, :16])) < 1e-9
    assert counters["unique_graphs"] == compiled
    assert len(session.static_caches) == 1
    assert "compiled-tokens" in {note.kind for note in session.notes}


@BOTH
def test_dynamic_int8_keeps_to_its_tolerance_and_is_not_fp32(referred: Any, family: str) -> None:
    feed, outputs = referred[family]
    scores = a_session(family, "dynamic-int8").score(feed, outputs["tokens"][:, :16])
    limit = limits(family)
    assert limit["fp32"].max_kl < divergence(outputs, scores) < limit["int8"].max_kl


@BOTH
@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU does not compute in bf16")
def test_bf16_keeps_to_its_tolerance_and_halves_the_cache(referred: Any, family: str) -> None:
    feed, outputs = referred[family]
    session = a_session(family, "bf16")
    limit = limits(family)
    error = divergence(outputs, session.score(feed, outputs["tokens"][:, :16]))
    assert limit["fp32"].max_kl < error < limit["bf16"].max_kl
    traits, exact = session.traits(SIZES[family]), a_session(family).traits(SIZES[family])
    assert (traits.kv_type, traits.weights, traits.declared_bits) == ("bf16", "bf16", 16.0)
    assert exact.kv_bytes == 2 * traits.kv_bytes


def test_the_cache_is_told_in_bytes_for_prompt_new_tokens_and_context() -> None:
    traits = a_session("text-generator").traits(SIZES["text-generator"])
    # Keys and values, 2 layers, batch 2, 24 + 18 + 16 tokens, 2 heads of 64, 4 bytes.
    assert traits.kv_bytes == 2 * 2 * 2 * 58 * 2 * 64 * 4
    assert (traits.kv_type, traits.logits, traits.sampling, traits.declared_bits) == (
        "fp32",
        "last token",
        "greedy",
        32,
    )


def test_the_cache_of_speech_holds_the_audio_too() -> None:
    traits = a_session("speech-recognizer").traits(SIZES["speech-recognizer"])
    assert traits.kv_bytes == 2 * 2 * 2 * (4 + 18 + 1500) * 128 * 4
    assert traits.logits == "every token"


def test_the_encoder_is_timed_within_the_first_step_alone(referred: Any) -> None:
    feed, _ = referred["speech-recognizer"]
    stream = a_session("speech-recognizer").begin(feed, 3)
    assert stream.encode_ns is None
    steps = iter(stream)
    next(steps)
    first = stream.encode_ns
    list(steps)
    assert first is not None
    assert first > 1e5
    assert stream.encode_ns == first


def test_the_context_is_in_the_cache_before_anything_is_timed(referred: Any) -> None:
    feed, _ = referred["text-generator"]
    stream = a_session("text-generator").begin(feed, 2)
    assert stream.state.count == 16
    next(iter(stream))
    assert stream.state.count == 16 + 24


def test_a_single_token_needs_one_step_and_no_more(referred: Any) -> None:
    feed, outputs = referred["text-generator"]
    steps = list(a_session("text-generator").begin(feed, 1))
    np.testing.assert_array_equal(np.stack(steps, axis=1), outputs["tokens"][:, :1])


def test_a_model_that_keeps_a_window_of_its_past_is_served_too(tmp_path: Path) -> None:
    fields = '"model_type": "phi3", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 96, '
    fields += '"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64, "sliding_window": 63, '
    (tmp_path / "c.json").write_text("{" + fields + '"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}')
    source = Source(kind="config", path=str(tmp_path / "c.json"), weights="random", digest="")
    family = families.named("text-generator")
    feed = family.make_inputs(source, {"batch": 1, "prompt": 20, "new": 10, "context": 8}, None)[0]
    tokens = family.reference(source, [feed], 10)[0][0]["tokens"]
    visit = a_visit(engine="torch", family="text-generator", source=source, provider=None, mode="eager")
    np.testing.assert_array_equal(np.stack(list(engine.Session(visit).begin(feed, 10)), axis=1), tokens)
