"""Gives the sizes of symbolic dimensions that nobody sets, and reads sums and products in the names of dimensions."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from bench.shared import syntax

# As in the other families: texts of 128 tokens, and pictures of 224 pixels with three channels.
DEFAULT_SIZES = {"seq": 128, "length": 128, "height": 224, "width": 224, "channel": 3}
"""Sizes of symbolic dimensions whose name contains the word, unless the workload gives another."""
FALLBACK_SIZE = 16
"""The size of all other symbolic dimensions."""


def default_size(name: str) -> int:
    """The size of a symbolic dimension that neither the workload nor the file gives."""
    return next((size for word, size in DEFAULT_SIZES.items() if word in name.lower()), FALLBACK_SIZE)


def is_sum(name: str) -> bool:
    """Whether the name of a dimension is a sum or product of others."""
    return expression(name, ()) is not None


def expression(name: str, known: Iterable[str]) -> ast.expr | None:
    """The name as a sum or product of sizes, `past + sequence`; None for a plain name.

    A minus between names is mostly a hyphen, as in `seq-len`: it counts only if both are known. A slash is no operator.
    """
    try:
        tree = syntax.expression(name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(tree, ast.BinOp) or not all(_is_allowed(node, set(known)) for node in ast.walk(tree)):
        return None
    return tree


def terms(tree: ast.expr) -> list[str]:
    """The names in a sum or product, each once."""
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _is_allowed(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        names = [side.id for side in (node.left, node.right) if isinstance(side, ast.Name)]
        return len(names) < 2 or set(names) <= known
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, ast.BinOp | ast.Name | ast.Load | ast.Add | ast.Mult | ast.Sub | ast.FloorDiv)
