"""What an engine or a recipe raises when it will not do something: a status, the reason and the remedy."""

from __future__ import annotations

from bench.records import Status


class Refusal(Exception):  # noqa: N818 - it is an answer, not a mishap
    """`unsupported` or `unavailable`, said by the engine itself rather than by the library under it."""

    def __init__(self, status: Status, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.status: Status = status
        self.message = message
        self.remedy = remedy
