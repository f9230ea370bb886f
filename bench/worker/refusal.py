"""Defines the exception with which an engine or a recipe refuses, with a status, a reason, a remedy and a kind.

It is apart from `failures`, because families and formats import it, and all that they import counts in artifact keys.
"""

from __future__ import annotations

from bench.records import Status


class Refusal(Exception):  # noqa: N818 - a result, not an error
    """A refusal by the engine itself, and not by the library that it drives.

    `status` is mostly `unsupported` or `unavailable`. `message` and `remedy` are for readers. `kind` names the reason
    in one word for programs, as in `TargetFacts.kind`.
    """

    def __init__(self, status: Status, message: str, remedy: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.status: Status = status
        self.message = message
        self.remedy = remedy
        self.kind = kind
