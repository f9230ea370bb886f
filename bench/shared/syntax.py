"""Parses Python source text, in one thread at a time."""

from __future__ import annotations

import ast
import threading

_PARSING = threading.Lock()
"""Python 3.11 counts the depth of a syntax tree for all threads together, and fails where two of them parse at once."""


def module(source: str | bytes) -> ast.Module:
    """The tree of a file. Raises what `ast.parse` raises: `SyntaxError`, and `ValueError` for null bytes."""
    with _PARSING:
        return ast.parse(source)


def expression(text: str) -> ast.expr:
    """The tree of an expression. Raises `SyntaxError`, `ValueError`, `RecursionError` and `MemoryError`."""
    with _PARSING:
        return ast.parse(text, mode="eval").body
