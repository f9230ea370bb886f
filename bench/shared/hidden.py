"""What a stored matrix has in place of the value of an environment variable."""

from __future__ import annotations

SET = "<set>"


def as_set(value: str) -> str:
    """`<set>` for a value; an empty one hides nothing and stays."""
    return SET if value else ""
