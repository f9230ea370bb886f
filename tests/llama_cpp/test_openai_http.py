"""The engine of OpenAI-compatible servers: what it asks, counts and tells, of llama-cpp-python's own server too."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from language_models import a_config, a_context, a_folder, greedy, logits, some_weights
from msgspec.structs import replace
from served_visits import FOUR, TEXT, a_feed, a_served_visit, a_session, generated, good, refusal_of
from servers import DONE, Asked, event, llama_server, models, scripted, usage
from visits import HASTE, Recorder, measure

from bench.records import Bursted, Held, Probe, note
from bench.worker.engines import openai_http as engine
from bench.worker.formats import gguf as form
from bench.worker.refusal import Refusal

# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Any:
    """llama-cpp-python's server of a small Llama whose every token has a text of its own; and what NumPy needs."""
    folder, config = tmp_path_factory.mktemp("real"), a_config()
    weights = some_weights(config)
    weights["lm_head.weight"][[*range(259), 383]] = 0.0
    form.gguf_f32(a_context(a_folder(folder / "hf", config, weights)), folder)
    with llama_server(folder / "model.gguf", folder / "log") as url:
        yield SimpleNamespace(url=url, config=config, weights=weights, folder=folder)


def test_a_real_server_streams_as_many_tokens_as_were_asked_for(tmp_path, real):
    session = a_session(tmp_path, real.url)
    assert session.notes[0] == note("server", label=real.url.removeprefix("http://"), model="small")
    stream = generated(session, 24)
    assert (stream.steps, stream.tokens) == ([None] * 24, 24)
    # It counts no tokens in a stream, so the pieces are counted, and that is said.
    assert (stream.prompt_tokens, session.traits({}).counted_by) == (None, "chunks")
    assert session.traits({}).sampling == "greedy, by temperature 0"


def test_a_real_servers_next_tokens_are_the_models_own(tmp_path, real):
    prefixes = [TEXT[:length] for length in (4, 8, 17, 34)]
    tokens = [logits(real.config, real.weights, list(prefix.encode()))[-1].argmax() for prefix in prefixes]
    assert a_session(tmp_path, real.url).next_texts(prefixes) == [f"<|{token}|>" for token in tokens]
    assert len(set(tokens)) > 1


def test_a_real_server_computes_the_whole_prompt_each_time(tmp_path, real):
    session, log = a_session(tmp_path, real.url), real.folder / "log"
    before = len(log.read_text())
    for _ in range(3):
        generated(session)
    assert "prefix-match hit" not in log.read_text()[before:]
    # The log would tell: the same prompt twice is not computed twice.
    for _ in range(2):
        session.client.complete({"model": "small", "prompt": TEXT, "max_tokens": 4, "temperature": 0})
    assert f"{len(TEXT) - 1} prefix-match hit" in log.read_text()[before:]


def test_a_real_server_is_greedy_and_does_not_punish_repetition(tmp_path, real):
    client = a_session(tmp_path, real.url).client
    tokens, _ = greedy(real.config, real.weights, list(TEXT.encode()), 24)
    assert len(set(tokens)) < 24
    asked = {"model": "small", "prompt": TEXT, "max_tokens": 24, "temperature": 0}
    assert client.complete(asked) == "".join(f"<|{token}|>" for token in tokens)
    # It would, if it were not told.
    client._optional.clear()
    assert client.complete(asked) != "".join(f"<|{token}|>" for token in tokens)


def test_a_real_server_is_probed_by_its_list_of_models(real):
    facts = engine.probe(Probe("openai-http", options={"url": real.url}))
    assert (facts.available, facts.device) == (True, None)
    assert (facts.notes[0].kind, facts.notes[0].values["model"]) == ("server", "small")


# --- counting ---------------------------------------------------------------------------------------------------------


def test_a_step_ends_when_its_piece_arrives_and_not_when_a_later_one_does(tmp_path):
    """The server sends a piece only after the step of the one before has ended."""
    seen = threading.Semaphore(1)

    def pieces() -> Any:
        for word in FOUR:
            assert seen.acquire(timeout=10), "the piece before is still kept back"
            yield event(word)
        yield DONE

    def answer(asked: Asked) -> None:
        asked.stream(ends=False)
        asked.chunks(pieces())

    with scripted(completions=answer) as server:
        steps = iter(a_session(tmp_path, server.url, timeout_s=5).begin(a_feed(), 4))
        for _ in FOUR:
            assert next(steps) is None
            seen.release()


def test_tokens_are_those_that_the_server_counts_although_it_sends_them_in_fewer_pieces(tmp_path):
    pieces = [event("one two"), event(" three"), event(" four", "length"), usage(4, 11), DONE]
    with scripted(completions=lambda asked: asked.stream(*pieces)) as server:
        session = a_session(tmp_path, server.url)
        stream = generated(session)
    assert (len(stream.steps), stream.tokens, stream.prompt_tokens) == (3, 4, 11)
    assert session.traits({}).counted_by == "server"


def test_a_burst_has_the_clients_generations_and_no_cpu_time(tmp_path):
    """The server computes, in another process."""
    with scripted(completions=good(*FOUR)) as server:
        channel = Recorder()
        measure(replace(a_served_visit(tmp_path, server.url), effort=HASTE), channel)
    (held,), (bursted,) = channel.of(Held), channel.of(Bursted)
    assert held.traits.counted_by == "server"
    assert [one.tokens for one in bursted.generations] == [4] * len(bursted.samples_ns)
    assert bursted.cpu_ns is None


def test_pieces_are_counted_where_the_server_sends_no_usage_and_that_is_said(tmp_path):
    with scripted(completions=lambda asked: asked.stream(*map(event, FOUR), DONE)) as server:
        session = a_session(tmp_path, server.url)
        stream = generated(session)
    assert (stream.tokens, stream.prompt_tokens, session.traits({}).counted_by) == (4, None, "chunks")


@pytest.mark.parametrize("count", [None, "4", True, -4, 0, 4.0, [4]])
def test_a_count_that_is_none_is_not_taken(tmp_path, count):
    with scripted(completions=lambda asked: asked.stream(*map(event, FOUR), usage(count, count), DONE)) as server:
        session = a_session(tmp_path, server.url)
        stream = generated(session)
    assert (stream.tokens, stream.prompt_tokens, session.traits({}).counted_by) == (4, None, "chunks")


def test_a_server_that_counts_more_than_it_was_asked_for_is_refused(tmp_path):
    refused = refusal_of(tmp_path, lambda asked: asked.stream(*map(event, FOUR), usage(4000), DONE))
    assert (refused.status, refused.message) == ("failed", "the server counts 4000 tokens where 4 were asked for")


def test_pieces_without_text_are_no_tokens(tmp_path):
    pieces = [
        event(choices=[]),
        b": still here\n\n",
        event("one"),
        b'data: {"choices": [{"text": ""}]}\n\n',
        event("b"),
        DONE,
    ]
    with scripted(completions=lambda asked: asked.stream(*pieces)) as server:
        assert len(generated(a_session(tmp_path, server.url)).steps) == 2


def test_an_early_end_of_sequence_is_counted_as_it_is_and_said(tmp_path):
    with scripted(completions=good("one", " two", " three")) as server:
        session = a_session(tmp_path, server.url)
        assert generated(session, 8).tokens == 3
        assert session.traits({}).sampling == "greedy, by temperature 0, ended after 3 of 8 tokens"
        assert generated(session, 3).tokens == 3
        assert session.traits({}).sampling == "greedy, by temperature 0"


@pytest.mark.parametrize(
    "pieces",
    [
        [DONE],
        [event(finish="stop"), usage(0), DONE],
        [event("one", "stop"), DONE],
        [event("one two three four", "stop"), usage(4), DONE],
    ],
)
def test_a_generation_with_nothing_between_its_tokens_is_refused(tmp_path, pieces):
    refused = refusal_of(tmp_path, lambda asked: asked.stream(*pieces))
    assert refused.status == "failed"
    assert "nothing between tokens to time" in refused.message
    assert "ignore_eos" in refused.remedy


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_a_request_is_greedy_streamed_and_counted(tmp_path):
    with scripted(completions=good(*FOUR)) as server:
        generated(a_session(tmp_path, server.url, extra='{"ignore_eos": true}'))
        path, body, headers = server.asked[-1]
    prompt = body.pop("prompt")
    assert path == "/v1/completions"
    assert body == {
        "model": "small",
        "max_tokens": 4,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "repeat_penalty": 1.0,
        "ignore_eos": True,
    }
    assert prompt[engine.DIGITS :] == TEXT[engine.DIGITS :]
    assert "Authorization" not in headers


def test_no_two_prompts_begin_alike_so_that_no_cache_answers(tmp_path):
    with scripted(completions=good(*FOUR)) as server:
        session = a_session(tmp_path, server.url)
        for _ in range(12):
            generated(session)
        prompts = [body["prompt"] for path, body, _ in server.asked if path.endswith("completions")]
        assert "own-digits" in {note.kind for note in session.notes}
    assert all(one[0] != other[0] for one, other in itertools.pairwise(prompts))
    assert len(set(prompts)) == 12


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (["repeat_penalty", "stream_options"], [2, 2]),
        (["stream_options"], [2, 1, 1]),
        ([], [2, 1, 0, 0]),
    ],
)
def test_a_server_that_does_not_know_a_field_is_asked_again_without_it_and_never_with_it(tmp_path, known, asked):
    optional = ("repeat_penalty", "stream_options")

    def strict(request: Asked) -> None:
        if [name for name in optional if name in request.body and name not in known]:
            request.whole({"error": {"message": "unknown field"}}, 422)
        else:
            request.stream(*map(event, FOUR), DONE)

    with scripted(completions=strict) as server:
        session = a_session(tmp_path, server.url)
        assert [generated(session).tokens for _ in range(2)] == [4, 4]
        bodies = [body for path, body, _ in server.asked if path.endswith("completions")]
    assert [sum(name in body for name in optional) for body in bodies] == asked


def test_a_completion_that_comes_at_once_is_asked_for_again_too(tmp_path):
    def strict(request: Asked) -> None:
        odd = {"repeat_penalty", "stream_options"} & set(request.body)
        request.whole({"error": "unknown field"} if odd else {"choices": [{"text": "!"}]}, 400 if odd else 200)

    with scripted(completions=strict) as server:
        assert a_session(tmp_path, server.url).next_texts(["a"]) == ["!"]


def test_the_only_model_of_a_server_needs_no_name(tmp_path):
    with scripted(models=models("tiny.gguf")) as server:
        assert a_session(tmp_path, server.url + "/v1/").model == "tiny.gguf"


@pytest.mark.parametrize(("names", "words"), [(("a", "b"), "2 models: a, b"), ((), "no model")])
def test_a_server_of_several_models_or_none_is_not_guessed_at(tmp_path, names, words):
    with scripted(models=models(*names)) as server:
        with pytest.raises(Refusal, match=words) as refused:
            a_session(tmp_path, server.url)
        assert refused.value.remedy
        facts = engine.probe(Probe("openai-http", options={"url": server.url}))
    assert not facts.available
    assert words in facts.message


def test_a_named_model_of_a_server_without_a_list_is_asked_for(tmp_path):
    with scripted(models=lambda asked: asked.whole({"error": "no such path"}, 404), completions=good(*FOUR)) as server:
        session = a_session(tmp_path, server.url, model="big")
        assert generated(session).tokens == 4
        assert server.asked[-1][1]["model"] == "big"


def test_one_connection_serves_all_generations(tmp_path):
    """Else a server that is far away would have its handshakes in every time to the first token."""
    with scripted(completions=good(*FOUR)) as server:
        session = a_session(tmp_path, server.url)
        for _ in range(3):
            generated(session)
        assert len(server.connections) == 1


def test_next_texts_asks_for_one_token_after_each_prefix_as_it_is(tmp_path):
    with scripted(completions=lambda asked: asked.whole({"choices": [{"text": asked.body["prompt"][-1]}]})) as server:
        assert a_session(tmp_path, server.url).next_texts(["ab", "xyz"]) == ["b", "z"]
        assert {(body["max_tokens"], body["temperature"]) for _, body, _ in server.asked[1:]} == {(1, 0)}


# --- what a server cannot be asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ({"input_ids": np.zeros((2, 3), np.int64)}, "batch"),
        ({"input_ids": np.zeros((1, 3), np.int64), "context_ids": np.zeros((1, 5), np.int64)}, "KV cache"),
        ({"input_ids": np.zeros((1, 3), np.int64)}, "no text of this prompt"),
    ],
)
def test_a_batch_a_context_and_a_prompt_without_text_are_unsupported(tmp_path, feed, words):
    with scripted() as server, pytest.raises(Refusal, match=words) as refused:
        a_session(tmp_path, server.url).begin(feed, 4)
    assert (refused.value.status, bool(refused.value.remedy)) == ("unsupported", True)


def test_a_model_whose_reference_has_no_texts_is_unsupported(tmp_path):
    with scripted() as server, pytest.raises(Refusal, match="no text of this prompt"):
        a_session(tmp_path, server.url, prompts=[]).begin(a_feed(), 4)
