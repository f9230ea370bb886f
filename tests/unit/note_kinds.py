"""Holds the words of notes against the notes that code makes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
SHARED = {"text"}
"""The words of somebody else: a kind that every room makes."""


def made_in(paths: Iterable[Path]) -> dict[str, set[str] | None]:
    """Every `note("kind", …)` with its parameters; None where some of them are passed with `**`."""
    made: dict[str, set[str] | None] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "note":
                (kind,) = node.args
                assert isinstance(kind, ast.Constant), f"{path.name}: a kind is written where it is made"
                names = {keyword.arg for keyword in node.keywords}
                made[str(kind.value)] = None if None in names else {name for name in names if name}
    return made


def assert_words_fit(words: Mapping[str, Callable[..., str]], *patterns: str) -> None:
    """Every kind that is made has words with exactly its parameters, and no words are left over."""
    paths = [path for pattern in patterns for path in BENCH.glob(pattern)]
    made = made_in(paths)
    assert set(made) - SHARED == set(words) - SHARED
    taken = {kind: set(inspect.signature(says).parameters) for kind, says in words.items()}
    assert {kind: names for kind, names in made.items() if names not in (None, taken.get(kind, names))} == {}
