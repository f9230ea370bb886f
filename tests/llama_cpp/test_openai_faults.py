"""Servers that fail, lie or repeat a key, and hosts that nobody allowed: each gets a refusal in plain words."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from served_visits import FOUR, KEY, a_feed, a_session, generated, good, refusal_of
from servers import DONE, Asked, event, free_port, scripted

from bench.records import Probe
from bench.worker.engines import _server_sent
from bench.worker.engines import openai_http as engine
from bench.worker.failures import failure_of
from bench.worker.refusal import Refusal

# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_started_is_unavailable_to_visits_and_probes(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Refusal, match="no server answers at 127") as refused:
        a_session(tmp_path, url, model="small")
    assert (refused.value.status, refused.value.remedy) == ("unavailable", "start the server, or correct the url")
    facts = engine.probe(Probe("openai-http", options={"url": url}))
    assert (facts.available, facts.kind) == (False, "no-server")


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (401, "unavailable", "asks for a key"),
        (403, "unavailable", "asks for a key"),
        (404, "unavailable", "knows nothing of this"),
        (429, "failed", "answered 429: of no use"),
        (500, "failed", "answered 500: of no use"),
        (503, "failed", "answered 503: of no use"),
        (204, "failed", "answered 204"),
    ],
)
@pytest.mark.parametrize("said", [{"error": {"message": "of no use"}}, {"detail": "of no use"}, {"error": "of no use"}])
def test_an_error_of_the_server_is_told_in_its_own_words(tmp_path, code, status, words, said):
    refused = refusal_of(tmp_path, lambda asked: asked.whole(b"" if code == 204 else said, code))
    assert refused.status == status
    assert words in refused.message


def test_a_field_that_is_refused_twice_is_an_error(tmp_path):
    refused = refusal_of(tmp_path, lambda asked: asked.whole({"error": {"message": "max_tokens is too large"}}, 400))
    assert refused.message == "the server answered 400: max_tokens is too large"


WEB_PAGE = b"<!doctype html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda asked: asked.whole(WEB_PAGE, kind="text/html; charset=utf-8"), "a web page answers, and no API"),
        (lambda asked: asked.whole({"choices": [{"text": "all at once"}]}), "did not stream, it sent application/json"),
        (lambda asked: asked.whole({"error": {"message": "busy"}}), "did not stream, it sent application/json: busy"),
        (lambda asked: asked.stream(*map(event, FOUR), ends=False), "closed the connection in the middle"),
        (lambda asked: asked.stream(*map(event, FOUR)), "closed the stream in the middle, after 4 pieces"),
        (lambda asked: asked.stream(), "closed the stream in the middle, after 0 pieces"),
        (lambda asked: asked.stream(b"data: {not json}\n\n"), "no event of a stream: '{not json}'"),
        (lambda asked: asked.stream(b"data: 7\n\n"), "no event of a stream: '7'"),
        (lambda asked: asked.stream(b"data: " + b"[" * 100_000 + b"\n\n"), "no event of a stream"),
        (lambda asked: asked.stream(b"HELO mail\r\n"), "no event of a stream: 'HELO mail'"),
        (lambda asked: asked.stream(b"\xff\xfe\x00garbage\n\n"), "no event of a stream"),
        (lambda asked: asked.stream(event("a"), b'data: {"error": {"message": "slot lost"}}\n\n'), "error: slot lost"),
        (lambda asked: asked.stream(*([b"data: " + b"x" * 65536] * 40)), "a line of more than 1 MiB"),
        (lambda asked: asked.stream(*map(event, "x" * 200), DONE), "goes on beyond the 4 tokens"),
        (lambda asked: asked.wfile.write(b"NONSENSE\r\n\r\n") and asked.wfile.flush(), "closed the connection"),
    ],
)
def test_what_is_no_stream_of_completions_is_a_failure_in_plain_words(tmp_path, answer, words):
    def and_hang_up(asked: Asked) -> None:
        answer(asked)
        asked.close_connection = True

    refused = refusal_of(tmp_path, and_hang_up)
    assert refused.status == "failed"
    assert words in refused.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda asked: asked.whole(WEB_PAGE, kind="text/html"), "no JSON but text/html"),
        (lambda asked: asked.whole({"object": "list"}), "list of models is none"),
        (lambda asked: asked.whole(b'["small"]'), "no JSON"),
        (lambda asked: asked.whole(b'{"data": "' + b"x" * (5 << 20) + b'"}'), "longer than 4 MiB"),
    ],
)
def test_a_list_of_models_that_is_none_is_a_failure(tmp_path, answer, words):
    with scripted(models=answer) as server, pytest.raises(Refusal, match=words):
        a_session(tmp_path, server.url)


def test_a_server_that_falls_silent_is_a_timeout(tmp_path):
    def silent(asked: Asked) -> None:
        asked.stream(event("one"), ends=False)
        asked.wfile.flush()
        time.sleep(1.0)

    refused = refusal_of(tmp_path, silent, timeout_s=0.2)
    assert (refused.status, failure_of(refused, "time").status) == ("timeout", "timeout")
    assert "said nothing for 0.2 s" in refused.message


def test_a_server_that_only_keeps_the_connection_open_is_a_timeout(tmp_path):
    def kept(asked: Asked) -> None:
        with contextlib.suppress(OSError):
            asked.stream(event("one"), ends=False)
            asked.chunks(_now_and_then(b": ping\n\n", 100))

    began = time.monotonic()
    refused = refusal_of(tmp_path, kept, timeout_s=0.5)
    assert refused.status == "timeout"
    assert "sent nothing of use for 0.5 s" in refused.message
    assert time.monotonic() - began < 10.0


def _now_and_then(piece: bytes, times: int) -> Iterator[bytes]:
    for _ in range(times):
        time.sleep(0.1)
        yield piece


ENDLESS = {"no text": b"data: {}\n\n", "comments": b": ping\n\n", "empty lines": b"\n"}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_stream_without_an_end_is_cut_off(tmp_path, kind):
    def endless(asked: Asked) -> None:
        with contextlib.suppress(OSError):
            asked.stream(*itertools.repeat(ENDLESS[kind] * 1000, 10_000))

    assert "longer than 4 MiB" in refusal_of(tmp_path, endless).message


def test_an_answer_of_a_byte_at_a_time_is_cut_off(tmp_path):
    def tiny(asked: Asked) -> None:
        with contextlib.suppress(OSError):
            asked.stream(*itertools.repeat(b"x", 50_000))

    assert "in more pieces than that of any server" in refusal_of(tmp_path, tiny).message


def test_a_compressed_answer_is_refused_before_it_is_unpacked(tmp_path):
    bomb = gzip.compress(bytes(64 << 20))
    refused = refusal_of(
        tmp_path, lambda asked: asked.whole(bomb, kind="text/event-stream", **{"Content-Encoding": "gzip"})
    )
    assert "compresses its answer (gzip), and was asked not to" in refused.message


@pytest.mark.parametrize("to", ["http://[", "http://a:99999999/", "http://\xff"])
def test_a_redirect_to_what_is_no_address_is_told(tmp_path, to):
    refused = refusal_of(tmp_path, lambda asked: asked.whole(b"", 307, Location=to))
    assert "and that is never followed" in refused.message


def test_a_redirect_is_never_followed(tmp_path):
    with scripted(completions=good(*FOUR)) as other:
        to = other.url.replace("127.0.0.1", "localhost") + "/v1/completions"
        refused = refusal_of(tmp_path, lambda asked: asked.whole(b"", 307, Location=to))
        assert other.asked == []
    assert "sends the request on to localhost (307)" in refused.message


def test_a_session_goes_on_after_a_fault(tmp_path):
    answers = iter([lambda asked: asked.whole({"error": "busy"}, 503), good(*FOUR)])

    def answer(asked: Asked) -> None:
        next(answers)(asked)

    with scripted(completions=answer) as server:
        session = a_session(tmp_path, server.url)
        with pytest.raises(Refusal, match="503: busy"):
            generated(session)
        assert generated(session).tokens == 4


def test_a_generation_that_is_given_up_leaves_the_next_one_whole(tmp_path):
    with scripted(completions=good(*FOUR)) as server:
        session = a_session(tmp_path, server.url)
        assert next(iter(session.begin(a_feed(), 4))) is None
        assert generated(session).tokens == 4


# --- hosts and keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
def test_this_machine_needs_no_permission(host):
    assert not engine._openai_options.read({"url": f"http://{host}:1234"}).remote


@pytest.mark.parametrize(
    "host", ["192.168.0.7", "api.example.com", "localhost.example.com", "127.0.0.1.nip.io", "2130706433"]
)
def test_another_machine_is_asked_only_where_the_row_says_so(host):
    url = f"https://{host}/v1"
    with pytest.raises(Refusal, match="is not this machine"):
        engine._openai_options.read({"url": url})
    with pytest.raises(Refusal, match="is not this machine"):
        engine._openai_options.read({"url": url, "remote": "true"})
    server = engine._openai_options.read({"url": url, "remote": True})
    assert (server.remote, server.label) == (True, host)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs the url"),
        ({"url": "127.0.0.1:1234"}, "no address"),
        ({"url": "file:///etc/passwd"}, "no address"),
        ({"url": "http://"}, "no address"),
        ({"url": "http://127.0.0.1:99999"}, "cannot be read"),
        ({"url": "http://user:word@127.0.0.1"}, "more than its address"),
        ({"url": "http://127.0.0.1/v1?key=word"}, "more than its address"),
        ({"url": "http://127.0.0.1", "ur": 1}, "no option 'ur'"),
        ({"url": "http://127.0.0.1", "extra": "ignore_eos"}, "no JSON object"),
        ({"url": "http://127.0.0.1", "extra": '{"prompt": "short"}'}, "sets 'prompt'"),
        ({"url": "http://127.0.0.1", "timeout_s": 0}, "timeout_s is 0"),
        ({"url": "http://127.0.0.1", "timeout_s": True}, "timeout_s is True"),
        ({"url": "http://127.0.0.1", "device": "tpu"}, "unknown device 'tpu'"),
        ({"url": "http://127.0.0.1", "key": KEY}, "no name of an environment variable"),
    ],
)
def test_an_option_that_cannot_be_taken_is_refused_and_holds_no_secret(options, words):
    facts = engine.probe(Probe("openai-http", options=options))
    assert (facts.available, facts.kind) == (False, "option")
    assert words in facts.message
    assert not [secret for secret in (KEY, "word") if secret in facts.message + facts.remedy and secret not in words]


def test_a_key_goes_into_the_header_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", KEY)
    with scripted(completions=good(*FOUR)) as server:
        session = a_session(tmp_path, server.url, key="SERVER_KEY")
        generated(session)
        assert {headers["Authorization"] for _, _, headers in server.asked} == {f"Bearer {KEY}"}
        shown = [session.notes, session.traits({}), session.client.server]
        facts = engine.probe(Probe("openai-http", options={"url": server.url, "key": "SERVER_KEY"}))
    assert facts.available
    assert KEY not in repr([*shown, facts])


@pytest.mark.parametrize("code", [400, 401, 403, 404, 500])
def test_a_key_that_the_server_repeats_in_its_error_is_not_told_on(tmp_path, monkeypatch, code):
    monkeypatch.setenv("SERVER_KEY", KEY)
    answer = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    refused = refusal_of(tmp_path, lambda asked: asked.whole(answer, code), key="SERVER_KEY")
    assert KEY not in repr(refused) + refused.message + refused.remedy
    assert "Incorrect API key provided: ***" in refused.message
    if code in (401, 403):
        assert "refuses the key in SERVER_KEY" in refused.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "SERVER_KEY is not set"),
        (" ", "SERVER_KEY is not set"),
        ("two words", "no header"),
        ("schlüssel", "no header"),
    ],
)
def test_a_key_that_is_missing_or_cannot_be_sent_names_its_variable(monkeypatch, content, words):
    monkeypatch.delenv("SERVER_KEY", raising=False)
    if content is not None:
        monkeypatch.setenv("SERVER_KEY", content)
    facts = engine.probe(Probe("openai-http", options={"url": "http://127.0.0.1:9", "key": "SERVER_KEY"}))
    assert words in facts.message
    assert content is None or not content.strip() or content not in facts.message


def test_a_key_does_not_cross_a_network_unencrypted(monkeypatch):
    monkeypatch.setenv("SERVER_KEY", KEY)
    with pytest.raises(Refusal, match="unencrypted"):
        engine._openai_options.read({"url": "http://10.0.0.1", "remote": True, "key": "SERVER_KEY"})


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with scripted(completions=good(*FOUR)) as server:
        assert generated(a_session(tmp_path, server.url)).tokens == 4


def test_a_device_is_what_the_row_declares_or_not_known(tmp_path):
    with scripted() as server:
        assert a_session(tmp_path, server.url).device is None
        device = a_session(tmp_path, server.url, device="gpu").device
        assert (device.label, device.name) == ("gpu.0", f"of the server {server.url[7:]}, as declared")


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_are_whole_however_the_bytes_are_cut():
    raw = b'data: {"a": "\xc3\xa9"}\r\n\r\n: hush\n\nevent: x\ndata:{"b": 1}\n\ndata: [DONE]\n\ndata: {"c": 1}\n\n'
    want = [{"a": "é"}, {"b": 1}, None]
    assert list(_server_sent.events([raw])) == want
    assert list(_server_sent.events([raw[i : i + 1] for i in range(len(raw))])) == want


def test_an_event_is_told_as_soon_as_its_line_is_whole():
    def bytes_of_a_slow_server() -> Any:
        yield b'data: {"a": 1}\n'
        raise AssertionError("the event was waited for")

    assert next(_server_sent.events(bytes_of_a_slow_server())) == {"a": 1}
