"""What an engine or a recipe raises when it will not do something: a status, the reason, the remedy, and a word."""

from __future__ import annotations

from bench.records import Status


class Refusal(Exception):  # noqa: N818 - it is an answer, not a mishap
    """`unsupported` or `unavailable`, said by the engine itself rather than by the library under it.

    `kind` says in one word for programs what stands in the way, as in `TargetFacts.kind`.
    """

    def __init__(self, status: Status, message: str, remedy: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.status: Status = status
        self.message = message
        self.remedy = remedy
        self.kind = kind
