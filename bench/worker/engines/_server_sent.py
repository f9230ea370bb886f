"""Parses the server-sent events of a response as JSON, with a limit on the length of a line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from bench.worker.refusal import Refusal

MAX_LINE_BYTES = 1 << 20
DONE = "[DONE]"
MAX_LINES_AFTER_DONE = 100


def events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    """Yield the data of every event as it arrives, and None for the last, which marks the end."""
    lines = _lines(chunks)
    for line in lines:
        if not line.startswith("data:"):
            # Comments keep a connection open, and the other fields are not needed.
            if line and not line.startswith((":", "event:", "id:", "retry:")):
                raise invalid_event(line)
            continue
        data = line.removeprefix("data:").strip()
        if data == DONE:
            yield None
            # httpx reuses a connection only after the response was read to its end.
            for _ in itertools.islice(lines, MAX_LINES_AFTER_DONE):
                pass
            return
        yield _object(data)


def text_of(event: dict[str, Any] | None) -> str:
    """The text of an event; empty where it has none."""
    # The server is not trusted: each field may have another type than the API says.
    choices = event.get("choices") if event else None
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    text = first.get("text")
    return text if isinstance(text, str) else ""


def _object(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    # The server is not trusted: deeply nested JSON raises RecursionError.
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise invalid_event(data)
    return event


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield lines as soon as they are complete, without line ends; Refusal for one that is too long."""
    incomplete = bytearray()
    for chunk in chunks:
        # Only what is new is searched: a line may come in very many pieces.
        first, *more = chunk.split(b"\n")
        incomplete += first
        for piece in more:
            yield _line(incomplete)
            incomplete = bytearray(piece)
        # A server that never ends a line would fill the memory.
        if len(incomplete) > MAX_LINE_BYTES:
            message = f"the server sent a line of more than {MAX_LINE_BYTES >> 20} MiB"
            raise Refusal("failed", message, "it does not speak the OpenAI API")
    if incomplete:
        yield _line(incomplete)


def _line(content: bytearray) -> str:
    return content.rstrip(b"\r").decode("utf-8", "replace")


def invalid_event(line: str) -> Refusal:
    """The refusal of a line that is not an event."""
    message = f"the server sent what is no event of a stream: {line[:80]!r}"
    return Refusal("failed", message, "see that the url is that of an OpenAI-compatible server")
