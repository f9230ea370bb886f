"""What an OpenAI-compatible server answers, through a real connection: any bytes, in any pieces."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import httpx

from bench.worker.engines import _openai_client, _openai_options, openai_http
from bench.worker.engines._openai_client import Client

from .changes import changed_bytes, changed_json, text_of
from .kind import Kind, chosen

SILENT_S = 0.3
NEW = 4
KEY = "a-key-of-mine"
HEAD_LINES = (
    "Content-Length: 0", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Content-Length: 5\r\nContent-Length: 7", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: x", "Content-Encoding: gzip", "Content-Encoding: deflate",
    "Content-Encoding: gzip, gzip, gzip", "Content-Type: text/html", "Content-Type: \xff",
    "Content-Type: text/event-stream; charset=utf-7", "Location: http://127.0.0.2:9/", "Location: http://[",
    "Location: \x00", "Location: //user:pw@example.invalid:99999/", "Location: http://a" + "a" * 3000,
    "Connection: close", "Set-Cookie: a=b", "X: " + "y" * 50_000, "X: y\r\n" * 200 + "Z: z", "no colon here",
    ": empty", " folded", "Upgrade: h2c", "\x1b[2J: x",
)  # fmt: skip
STATUS_LINES = (
    "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 301 Moved", "HTTP/1.1 307 Go", "HTTP/1.1 400 Bad",
    "HTTP/1.1 401 No", "HTTP/1.1 404 None", "HTTP/1.1 422 Odd", "HTTP/1.1 500 \x1b[31m", "HTTP/1.1 204 Empty",
    "HTTP/1.1 304 Same", "HTTP/1.1 999 x", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", "HTTP/1.1 101 Switch",
    "HTTP/2 200", "HTTP/1.1 -1 x", "ICY 200 OK", "",
)  # fmt: skip
PARTING = b"\n<<"
"""Behind it stands how the connection goes on: `close`, `reset`, `silence`, and the size of the pieces."""
ENDS = (b"close 65536", b"close 1", b"close 7", b"reset 65536", b"close 100")


def _response(body: bytes, kind: str, *more: str, status: str = STATUS_LINES[0], length: bool = True) -> bytes:
    lines = [status, f"Content-Type: {kind}", *([f"Content-Length: {len(body)}"] if length else []), *more]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _chunked(body: bytes, random: Random, lies: float = 0.05) -> bytes:
    """The body in chunks, of which some lie about their length."""
    out = bytearray()
    while body:
        size = random.choice((1, 10, 1000))
        piece, body = body[:size], body[size:]
        lie = random.choice(("-1", "zz", "ffffffffffffffffff", "5;x=y", ""))
        told = f"{len(piece):x}" if random.random() >= lies else lie
        out += told.encode() + b"\r\n" + piece + b"\r\n"
    end = random.choice((b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"0"))
    return bytes(out) + (end if lies else b"0\r\n\r\n")


def _event(text: str, finish: str | None = None, **more: Any) -> Any:
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more}


EVENTS = [_event("one"), _event(" two"), _event(" three"), _event(" four", "length")]
USAGE = {"choices": [], "usage": {"completion_tokens": 4, "prompt_tokens": 9}}
JSON, SSE = "application/json", "text/event-stream"


def _stream(events: list[Any]) -> bytes:
    return b"".join(b"data: " + text_of(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


@cache
def sound_answers() -> list[bytes]:
    """Answers to each request, whole and in chunks."""
    stream, random = _stream([*EVENTS, USAGE]), Random(1)
    chunked = _response(_chunked(stream, random, lies=0.0), SSE, "Transfer-Encoding: chunked", length=False)
    completion = text_of(_event("four", "length", usage=USAGE["usage"]))
    models = text_of({"object": "list", "data": [{"id": "small", "object": "model"}]})
    error = text_of({"error": {"message": f"no such thing: {KEY}", "code": 1}})
    answers = [
        _response(stream, SSE),
        chunked,
        chunked,
        _response(completion, JSON),
        _response(models, JSON),
        _response(error, JSON, status=STATUS_LINES[4]),
        _response(error, JSON, status=STATUS_LINES[8]),
        _response(error, JSON, HEAD_LINES[13], status=STATUS_LINES[3]),
    ]
    return [answer + PARTING + ENDS[0] for answer in answers]


BODIES = (
    b"[" * 100_000, b"data: " + b"9" * 1000 + b"\n\n",
    b'data: {"usage": {"completion_tokens": ' + b"9" * 1000 + b"}}\n\n",
    b'data: {"usage": {"completion_tokens": ' + b"9" * 5000 + b"}}\n\n", b"\xff\xfe" * 500, b": ping\n\n" * 20_000,
    b"data: {}\n\n" * 30_000, b"data: " + b"x" * (2 << 20), b'{"data": "' + b"x" * (5 << 20), b"\n" * 100_000,
    b"\r" * 70_000, b"data: [DONE]\n" * 300, gzip.compress(bytes(8 << 20)),
    b"event: x\nid: y\nretry: z\ndata: {}\n\n", b"data:{}\r\n\r\n",
)  # fmt: skip


def changed_answer(content: bytes, random: Random) -> bytes:
    """An answer with changed JSON, another head, other chunks, changed bytes, or another end of the connection."""
    answer, _, end = content.rpartition(PARTING)
    if random.random() < 0.3:
        end = random.choice(ENDS)
    if random.random() < 0.01:
        end = b"silence 65536"
    head, _, body = answer.partition(b"\r\n\r\n")
    kind = random.random()
    if kind < 0.35:
        body = _changed_body(body, random)
        head = _fitted(head, body)
    elif kind < 0.65:
        lines = head.split(b"\r\n")
        at = random.randrange(len(lines))
        if random.random() < 0.5:
            lines[0] = random.choice(STATUS_LINES).encode("latin-1")
        else:
            lines.insert(at + 1, random.choice(HEAD_LINES).encode("latin-1"))
        head = b"\r\n".join(lines)
    elif kind < 0.75:
        body = random.choice(BODIES)
        head = _fitted(head, body)
    elif kind < 0.85:
        stream = _stream([changed_json(event, random) for event in EVENTS])
        return _response(_chunked(stream, random), SSE, "Transfer-Encoding: chunked", length=False) + PARTING + end
    else:
        return changed_bytes(answer, random) + PARTING + end
    return head + b"\r\n\r\n" + body + PARTING + end


def _fitted(head: bytes, body: bytes) -> bytes:
    """The head with the length of the body."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"content-length", b"transfer-enc"))]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)])


def _changed_body(body: bytes, random: Random) -> bytes:
    lines = body.split(b"\n")
    held = [at for at, line in enumerate(lines) if line.removeprefix(b"data: ").startswith(b"{")]
    if not held or random.random() < 0.2:
        return changed_bytes(body, random)
    at = random.choice(held)
    start = b"data: " if lines[at].startswith(b"data: ") else b""
    try:
        lines[at] = start + text_of(changed_json(json.loads(lines[at].removeprefix(start)), random))
    except (ValueError, RecursionError):
        lines[at] = changed_bytes(lines[at], random)
    return b"\n".join(lines)


# --- the server -------------------------------------------------------------------------------------------------------


class Scripted:
    """Answers every request with the same bytes; it keeps what it was asked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.answer, self.end, self.size = b"", b"close", 65536
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection, contextlib.suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(2.0)
        request = b""
        while b"\r\n\r\n" not in request and (got := connection.recv(65536)):
            request += got
        head, _, body = request.partition(b"\r\n\r\n")
        told = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(told[0].partition(b":")[2]) - len(body) if told else 0
        while missing > 0 and (got := connection.recv(missing)):
            missing -= len(got)
        self.asked += 1
        # Small pieces of a long answer would take too long.
        size = self.size if len(self.answer) < 5000 else 65536
        for at in range(0, len(self.answer), size):
            connection.sendall(self.answer[at : at + size])
        if self.end == b"reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif self.end == b"silence":
            connection.settimeout(3 * SILENT_S)
            connection.recv(1)


@cache
def the_server() -> Scripted:
    return Scripted()


@contextlib.contextmanager
def _client(server: Scripted) -> Iterator[Client]:
    options = {"url": f"http://127.0.0.1:{server.port}/v1", "timeout_s": SILENT_S, "model": "small", "key": "A_KEY"}
    # Certificates, which are not needed here, take most of the time of making a client.
    plain = functools.partial(httpx.Client, verify=False)
    with mock.patch.dict("os.environ", {"A_KEY": KEY}), mock.patch.object(_openai_client.httpx, "Client", plain):
        client = Client(_openai_options.read(options))
    try:
        yield client
    finally:
        client._http.close()


class _Session:
    counted_by, early_end_text = "chunks", ""

    def __init__(self, client: Client) -> None:
        self.client = client


def read_answer(_folder: Path, content: bytes) -> None:
    """Ask a server that answers this for its models, for a completion, or for a stream."""
    server, random = the_server(), chosen(content)
    server.answer, _, end = content.rpartition(PARTING)
    server.end, _, size = end.partition(b" ")
    server.size = int(size) if size.isdigit() and int(size) else 65536
    asked = server.asked
    with _client(server) as client:
        # What the answer is for, and seldom something else.
        by_kind = (
            "stream" if b"event-stream" in server.answer else "models" if b'"data"' in server.answer else "complete"
        )
        what = by_kind if random.random() < 0.8 else random.choice(("stream", "models", "complete"))
        try:
            if what == "stream":
                stream = openai_http.Stream(_Session(client), {"prompt": "x"}, NEW)
                assert sum(1 for _ in stream) <= openai_http.MAX_PIECES_PER_TOKEN * NEW
            elif what == "models":
                assert all(KEY not in name for name in client.models())
            else:
                client.complete({"prompt": "x"})
        except _openai_client.Refusal as refusal:
            _check(refusal.message)
            raise
    # Each refused field is left out once; no answer makes a client ask without end.
    assert server.asked - asked <= 2 + len(_openai_client.OPTIONAL)


def _check(message: str) -> None:
    """The key in no message, and nothing that a terminal would act on."""
    assert KEY not in message
    assert message.isprintable(), message


KINDS = (Kind("server-answers", sound_answers, changed_answer, read_answer),)
