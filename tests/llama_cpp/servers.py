"""Servers on this machine: one that follows a script, and llama-cpp-python's own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, Answer]
    requests: list[tuple[str, dict[str, Any], dict[str, str]]]
    connections: set[Any]

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: dict[str, Any]) -> None:
        self.body = body
        self.requests.append((self.path, body, dict(self.headers)))
        self.connections.add(self.client_address)
        self.answers.get(self.path, not_found)(self)

    def whole(
        self, content: bytes | dict[str, Any], code: int = 200, kind: str = "application/json", **more: str
    ) -> None:
        """An answer that comes at once."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def stream(self, *pieces: bytes, kind: str = "text/event-stream", ends: bool = True) -> None:
        """An answer that comes in chunks; without its end the connection is cut."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunks(pieces)
        if ends:
            self.chunks([b""])
        else:
            self.close_connection = True

    def chunks(self, pieces: Iterable[bytes]) -> None:
        """More of such an answer, each piece sent before the next is made."""
        for piece in pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()

    def handle(self) -> None:
        # Clients here give up on purpose.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_args: object) -> None:
        """Nothing: the test's own output is what is read."""


def not_found(asked: Asked) -> None:
    asked.whole({"error": {"message": f"there is no {asked.path}"}}, 404)


def models(*names: str) -> Answer:
    """The list of a server's models."""
    return lambda asked: asked.whole({"object": "list", "data": [{"id": name} for name in names]})


def event(text: str = "", finish: str | None = None, **more: Any) -> bytes:
    """A piece of a completion, as it is sent."""
    choices = [{"index": 0, "text": text, "finish_reason": finish}] if text or finish else []
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


def usage(tokens: Any, prompt: Any = 9) -> bytes:
    """The event that counts."""
    return event(usage={"completion_tokens": tokens, "prompt_tokens": prompt})


DONE = b"data: [DONE]\n\n"


@contextlib.contextmanager
def scripted(**answers: Answer) -> Iterator[Any]:
    """A server with these answers: `models` and `completions`; it keeps what it was asked."""
    paths = {f"/v1/{name}": answer for name, answer in answers.items()}
    kept = {"requests": [], "connections": set()}
    handler = type("Scripted", (Asked,), {"answers": {"/v1/models": models("small"), **paths}, **kept})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    server.asked, server.connections = kept.values()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def llama_server(gguf: Path, log: Path) -> Iterator[str]:
    """llama-cpp-python's server of a GGUF; its url when it answers."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--n_ctx", "512", "--n_threads", "1", "--model_alias", "small"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        _wait(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
