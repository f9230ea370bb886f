"""Reads the manifest and the recipes of a worker's file from its source text, without importing it.

The file may need libraries that are not installed here. What is read are literals: constants, tuples, lists, dicts, and
calls of records by keyword such as `Tolerance(min_cosine=0.99)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from bench.declare.suggest import nearest
from bench.errors import PluginError
from bench.records import EngineManifest, FamilyManifest, FormatManifest, Tolerance
from bench.shared import syntax

M = TypeVar("M", FamilyManifest, EngineManifest, FormatManifest)
NAME = "MANIFEST"
DECORATOR = "recipe"


class RecipeDeclaration(Struct, frozen=True):
    """A recipe that a decorator declares, or an engine declares as its own."""

    name: str
    number_format: str
    options: tuple[str, ...] = ()
    tolerance: dict[str, Tolerance] = {}
    """By family."""
    place: str = ""
    """The file that declares it."""


class _Decorator(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of `@recipe`."""

    name: str
    number_format: str
    tolerance: dict[str, Tolerance] = {}


def read_manifest(path: Path, kind: type[M], place: str) -> M:
    """The `MANIFEST` of a file. Raises `PluginError` with `place`, the unknown field and the nearest valid one."""
    for node in _tree(path, place).body:
        if _assigned(node) == NAME:
            return _record(_value(node), kind, NAME, place)
    hint = f"write {NAME} = {kind.__name__}(…) at the top of the file"
    raise PluginError(f"{place} has no {NAME}", hint)


def read_recipes(path: Path, place: str) -> dict[str, RecipeDeclaration]:
    """The recipes of a format's file by name: functions with `@recipe`, whose options are keyword-only parameters."""
    recipes: dict[str, RecipeDeclaration] = {}
    for function, call in _decorated(_tree(path, place)):
        where = f"@{DECORATOR} of {function.name}"
        given = {"name": _literal(call.args[0], where, place)} if call.args else {}
        declared = _record(call, _Decorator, where, place, given)
        if declared.name in recipes:
            raise PluginError(f"{place} has two recipes named '{declared.name}'", "give one of them another name")
        options = tuple(argument.arg for argument in function.args.kwonlyargs)
        recipes[declared.name] = RecipeDeclaration(
            declared.name, declared.number_format, options, declared.tolerance, place
        )
    return recipes


def _tree(path: Path, place: str) -> ast.Module:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError) as error:
        raise PluginError(f"{place} cannot be read: {error}", "correct the file, or remove it") from None


@lru_cache(maxsize=8)
def _parsed(path: Path, _mtime_ns: int) -> ast.Module:
    """The cached syntax tree: a format's file is read for its manifest, and again for its recipes."""
    # The time is an argument, so that an edited file is read again.
    return syntax.module(path.read_text(encoding="utf-8"))


def _decorated(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _called(decorator) == DECORATOR:
                    yield node, decorator


def _assigned(node: ast.stmt) -> str:
    """The name in `NAME = …`, with or without a type; empty for any other statement."""
    target = (
        node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
    )
    return target.id if isinstance(target, ast.Name) else ""


def _value(node: ast.stmt) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _called(call: ast.Call) -> str:
    """The last name of what is called: `Tolerance` of `records.Tolerance(…)`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


T = TypeVar("T", bound=Struct)


def _record(node: ast.expr | None, kind: type[T], where: str, place: str, given: dict[str, Any] | None = None) -> T:
    """The keywords of a call as a record; the error for an unknown name suggests the nearest valid one."""
    # The decorator is called `recipe`; every other call is named as its record.
    if not isinstance(node, ast.Call) or (kind is not _Decorator and _called(node) != kind.__name__):
        raise PluginError(f"{where} in {place} is no {kind.__name__}", f"write {where} = {kind.__name__}(…)")
    values = dict(given or {})
    known = [field.name for field in msgspec.structs.fields(kind)]
    for keyword in node.keywords:
        if keyword.arg not in known:
            raise PluginError(f"{where} in {place} has no field '{keyword.arg}'", nearest(keyword.arg or "**", known))
        values[keyword.arg] = _literal(keyword.value, f"{where}, field '{keyword.arg}',", place)
    try:
        # msgspec checks the types, as it does for a file of the user's.
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise PluginError(f"{where} in {place}: {str(error).replace('`', chr(39))}", "correct the field") from None


def _literal(node: ast.expr, where: str, place: str) -> Any:
    """The value of a literal; a call by keyword is the dict of its keywords."""
    match node:
        case ast.Dict():
            keys = [_literal(key, where, place) if key else None for key in node.keys]
            return dict(zip(keys, (_literal(value, where, place) for value in node.values), strict=True))
        case ast.Tuple() | ast.List():
            return [_literal(element, where, place) for element in node.elts]
        case ast.Call() if not node.args and all(keyword.arg for keyword in node.keywords):
            return {str(keyword.arg): _literal(keyword.value, where, place) for keyword in node.keywords}
    try:
        return ast.literal_eval(node)
    # literal_eval takes no name, no attribute and no call: what would need the file's imports.
    except ValueError:
        message = f"{where} in {place} holds '{ast.unparse(node)}', which is no literal"
        raise PluginError(message, "write the value itself: the file is read and never imported") from None
