"""Sends requests to an OpenAI-compatible server, and turns errors into refusals.

Redirects are never followed: they could send the prompts and the key to another host.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx

from bench.worker.engines import _server_sent
from bench.worker.engines._openai_options import Server
from bench.worker.refusal import Refusal

MAX_ANSWER_BYTES = 4 << 20
MAX_TOKEN_BYTES, MAX_TOKEN_PIECES = 16 << 10, 64
"""What a stream may have beyond an answer, for each token that it was asked for."""
MAX_PIECES = 10_000
"""In so many pieces an answer may come: each takes time, and a hostile one has a byte in each."""
CONNECT_S = 10.0
UNKNOWN_FIELD_CODES = (400, 422)
OPTIONAL: dict[str, Any] = {"repeat_penalty": 1.0, "stream_options": {"include_usage": True}}
"""Fields that some servers do not know, the least known first.

llama-cpp-python's server has a default penalty of 1.1, with which temperature 0 is not greedy. Most servers count the
tokens of a stream only on request.
"""
Json = dict[str, Any]


class Client:
    """A client of one server; its connection stays open between requests."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._key = server.key
        self._until_s = 0.0
        """When the server must have sent the next text, or its whole answer."""
        # A copy for each server, from which the fields that it refuses are removed.
        self._optional = dict(OPTIONAL)
        # Not compressed: compression may hold back small pieces of a stream, and the time between pieces is measured.
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        limits = httpx.Timeout(server.timeout_s, connect=min(CONNECT_S, server.timeout_s))
        # A local server is not reached through the proxy that the environment names.
        self._http = httpx.Client(headers=headers, timeout=limits, trust_env=server.remote, follow_redirects=False)

    def models(self) -> list[str]:
        """The names of the server's models."""
        self._wait_again()
        with self._errors_as_refusals(), self._http.stream("GET", f"{self.server.base}/models") as response:
            models = self._answer(response, "/models").get("data")
        names = [model.get("id") for model in models if isinstance(model, dict)] if isinstance(models, list) else None
        if names is None:
            raise self._unexpected("the server's list of models is none")
        return [self.plain(str(name)) for name in names]

    def complete(self, body: Json) -> str:
        """The text of a completion without streaming."""
        request = {name: value for name, value in (self._optional | body).items() if name != "stream_options"}
        with self._errors_as_refusals(), self._post(request) as response:
            refused = self._drop_refused_field(response, request)
            completion = None if refused else self._answer(response, "/completions")
        if completion is None:
            # Sent again without the refused field; this ends, because every field is dropped at most once.
            return self.complete(body)
        choices = completion.get("choices")
        if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
            raise self._unexpected("the server's completion holds no choice")
        return str(choices[0].get("text") or "")

    def stream(self, body: Json) -> Iterator[Json | None]:
        """Yield the events of a completion as they arrive, None for the last."""
        request = self._optional | body | {"stream": True}
        with self._errors_as_refusals(), self._post(request) as response:
            if not self._drop_refused_field(response, request):
                self._refuse(response)
                self._refuse_unstreamed(response)
                yield from self._events(response, int(request.get("max_tokens", 0)))
                return
        yield from self.stream(body)

    def _post(self, body: Json) -> AbstractContextManager[httpx.Response]:
        self._wait_again()
        response: AbstractContextManager[httpx.Response] = self._http.stream(
            "POST", f"{self.server.base}/completions", json=body
        )
        return response

    def _drop_refused_field(self, response: httpx.Response, request: Json) -> bool:
        """Whether the server may have refused an optional field; that field is not sent again."""
        field = next((name for name in self._optional if name in request), None)
        if field is None or response.status_code not in UNKNOWN_FIELD_CODES:
            return False
        del self._optional[field]
        return True

    def _events(self, response: httpx.Response, tokens: int) -> Iterator[Json | None]:
        for event in _server_sent.events(self._pieces(response, tokens)):
            if event and event.get("error"):
                raise Refusal("failed", f"the server stopped with an error: {self._error_text(event)}", "see its log")
            if _server_sent.text_of(event):
                self._wait_again()
            yield event

    def _wait_again(self) -> None:
        """Give the server its whole time again."""
        self._until_s = time.monotonic() + self.server.timeout_s

    def _pieces(self, response: httpx.Response, tokens: int = 0) -> Iterator[bytes]:
        """The bytes of a response as they arrive. Refusal for more of them, or for longer, than a valid one takes."""
        encoding = response.headers.get("content-encoding", "identity")
        # A small compressed answer may have any size, and the time between pieces would be that of the compression.
        if encoding.strip().lower() != "identity":
            raise self._unexpected(f"the server compresses its answer ({self.plain(encoding)}), and was asked not to")
        most_bytes = MAX_ANSWER_BYTES + tokens * MAX_TOKEN_BYTES
        left_bytes, left_pieces = most_bytes, MAX_PIECES + tokens * MAX_TOKEN_PIECES
        for piece in response.iter_raw():
            left_bytes, left_pieces = left_bytes - len(piece), left_pieces - 1
            if left_bytes < 0:
                raise self._unexpected(f"the server's answer is longer than {most_bytes >> 20} MiB")
            if left_pieces < 0:
                raise self._unexpected("the server's answer comes in more pieces than that of any server")
            # The limit of the connection is for each piece: one that sends a byte now and then never reaches it.
            if time.monotonic() > self._until_s:
                message = f"the server at {self.server.label} sent nothing of use for {self.server.timeout_s:g} s"
                raise Refusal("timeout", message, "give it longer by timeout_s, or see its log")
            yield piece

    def _answer(self, response: httpx.Response, path: str) -> Json:
        """The JSON object of a response without streaming; Refusal for anything else."""
        self._refuse(response)
        answer = self._json_object(self._read(response))
        if answer is None:
            kind = response.headers.get("content-type", "something without a type")
            raise self._unexpected(f"the server answered {path} with no JSON but {self.plain(kind)}")
        return answer

    def _read(self, response: httpx.Response) -> str:
        """The text of a response; Refusal above a size that no valid response reaches."""
        return b"".join(self._pieces(response)).decode("utf-8", "replace")

    # --- faults -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _errors_as_refusals(self) -> Iterator[None]:
        """Turn connection errors and timeouts into refusals."""
        label, start = self.server.label, "start the server, or correct the url"
        try:
            yield
        # First, because both are subclasses of the errors below.
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            message = f"no server answers at {label}: {self.plain(str(error))}"
            raise Refusal("unavailable", message, start, "no-server") from None
        except httpx.TimeoutException:
            message = f"the server at {label} said nothing for {self.server.timeout_s:g} s"
            raise Refusal("timeout", message, "give it longer by timeout_s, or see its log") from None
        except httpx.TransportError as error:
            message = f"the server closed the connection in the middle: {self.plain(str(error))}"
            raise Refusal("failed", message, "see the server's log") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unexpected(f"the server's answer cannot be read: {type(error).__name__}") from None

    def _refuse(self, response: httpx.Response) -> None:
        """Refuse every response other than 200."""
        code = response.status_code
        if code == httpx.codes.OK:
            return
        if response.is_redirect:
            to = self._host(response.headers.get("location", ""))
            message = f"the server sends the request on to {to} ({code}), and that is never followed"
            raise Refusal("failed", message, "write the address itself as the url, if you trust it")
        server_text = self._error_text(self._json_object(self._read(response)))
        detail = f": {server_text}" if server_text else ""
        if code in (401, 403):
            problem = f"refuses the key in {self.server.key_name}" if self._key else "asks for a key"
            remedy = 'write key = "NAME" of an environment variable that holds it'
            raise Refusal("unavailable", f"the server {problem} ({code}){detail}", remedy, "option")
        if code == httpx.codes.NOT_FOUND:
            remedy = "see that the url ends in /v1, and that the server has the model"
            raise Refusal("unavailable", f"the server knows nothing of this ({code}){detail}", remedy, "not-loaded")
        raise Refusal("failed", f"the server answered {code}{detail}", "see the server's log")

    def _host(self, address: str) -> str:
        try:
            return self.plain(httpx.URL(address).host) or "another path"
        except httpx.InvalidURL:
            return "what is no address"

    def _refuse_unstreamed(self, response: httpx.Response) -> None:
        kind = response.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            return
        if kind.startswith("text/html"):
            raise self._unexpected("a web page answers, and no API")
        server_text = self._error_text(self._json_object(self._read(response)))
        detail = f": {server_text}" if server_text else ""
        raise self._unexpected(
            f"the server did not stream, it sent {self.plain(kind) or 'something without a type'}{detail}"
        )

    def _unexpected(self, message: str) -> Refusal:
        return Refusal("failed", message, "see that the url is that of an OpenAI-compatible server")

    def _json_object(self, text: str) -> Json | None:
        try:
            value = json.loads(text)
        # The server is not trusted: deeply nested JSON raises RecursionError.
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def _error_text(self, body: Json | None) -> str:
        """The message of an error response; an empty text where it is not JSON."""
        text: Any = (body or {}).get("error") or (body or {}).get("detail") or (body or {}).get("message") or ""
        if isinstance(text, dict):
            text = text.get("message", "")
        return self.plain(text if isinstance(text, str) else json.dumps(text))

    def plain(self, text: str) -> str:
        """Text from the server in one line and without the key, which some servers repeat in errors."""
        hidden = text.replace(self._key, "***") if self._key else text
        return "".join(letter if letter.isprintable() else " " for letter in hidden)[:200].strip()
