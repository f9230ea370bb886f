"""Parses server-sent events of a response as JSON; a line that never ends is not waited for."""

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
    """Every event's data as it comes, and None for the one that says that all is done, which is the last."""
    lines = _lines(chunks)
    for line in lines:
        if not line.startswith("data:"):
            # Comments keep a connection open; of the other fields none matters here.
            if line and not line.startswith((":", "event:", "id:", "retry:")):
                raise invalid_event(line)
            continue
        data = line.removeprefix("data:").strip()
        if data == DONE:
            yield None
            # A connection whose answer was read to its end is used again.
            for _ in itertools.islice(lines, MAX_LINES_AFTER_DONE):
                pass
            return
        yield _object(data)


def _object(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise invalid_event(data)
    return event


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines as soon as they are whole, without their ends."""
    incomplete = b""
    for chunk in chunks:
        *whole, incomplete = (incomplete + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
        if len(incomplete) > MAX_LINE_BYTES:
            message = f"the server sent a line of more than {MAX_LINE_BYTES >> 20} MiB"
            raise Refusal("failed", message, "it does not speak the OpenAI API")
    if incomplete:
        yield incomplete.decode("utf-8", "replace")


def invalid_event(line: str) -> Refusal:
    """What is no event."""
    message = f"the server sent what is no event of a stream: {line[:80]!r}"
    return Refusal("failed", message, "see that the url is that of an OpenAI-compatible server")
