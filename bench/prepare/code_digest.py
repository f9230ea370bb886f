"""Digests source files by their syntax trees, so that comments, docstrings and layout do not count."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from bench import reading
from bench.errors import DiskError
from bench.files import write_atomically
from bench.prepare.cache_use import touch_whole
from bench.shared import syntax

UNUSED_FIELDS = ("kind", "type_comment", "type_ignores")
"""Fields of the syntax tree without effect: the `u` of a string, and comments for type checkers."""

MOST_KEPT = 200
_REMEMBERING = threading.Lock()
Homes = Mapping[str, Path]
"""The folder of each top-level package whose imports are followed, by its name."""


def digest_of_bytes(start: bytes, files: Mapping[str, Path]) -> str:
    """SHA-256 over some bytes, and over the names and bytes of files: equal bytes have equal meanings."""
    total = hashlib.sha256(start)
    for name, path in files.items():
        content = path.read_bytes()
        total.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def remembered(memory: Path, key: str, compute: Callable[[], str]) -> str:
    """The digest that was kept under a key in a small JSON file; computed and kept where there is none."""
    with _REMEMBERING:
        known = _recall(memory)
        if key not in known:
            known = {**dict(list(known.items())[-MOST_KEPT:]), key: compute()}
            # Where it cannot be kept, it is computed again next time.
            with contextlib.suppress(DiskError, OSError):
                write_atomically(memory, json.dumps(known).encode())
        return known[key]


def read(memory: Path) -> dict[str, str]:
    """The digests in a file by their keys. Raises `OSError`, `UnicodeDecodeError` and msgspec's errors."""
    return msgspec.json.decode(memory.read_bytes(), type=dict[str, str])


def _recall(memory: Path) -> dict[str, str]:
    try:
        known = read(memory)
    except (OSError, *reading.UNREADABLE):
        return {}
    touch_whole(memory)
    return known


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and meanings of files, 64 hex digits."""
    # Names, not whole paths: the same code in another folder has the same digest.
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + meaning(path))
    return total.hexdigest()


def meaning(path: Path) -> bytes:
    """SHA-256 of a file: of a Python file's syntax tree without docstrings, of any other file's bytes."""
    # The time and the size are arguments of the cache, so that an edited file is read again.
    state = path.stat()
    return _meaning(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _meaning(path: Path, _mtime_ns: int, _size: int) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".py":
        with contextlib.suppress(SyntaxError, ValueError):  # not valid Python: its bytes count
            content = "".join(_tokens(syntax.module(content))).encode()
    return hashlib.sha256(content).digest()


def _tokens(value: object) -> Iterator[str]:
    """The tree as text. Not `ast.dump`, whose form differs between versions of Python."""
    if isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for name, field in ast.iter_fields(value):
            if field is not None and field != [] and name not in UNUSED_FIELDS:
                yield f"{name}="
                yield from _tokens(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for element in value:
            if not _is_documentation(element):
                yield from _tokens(element)
                yield ","
        yield "]"
    else:
        yield repr(value)


def _is_documentation(node: object) -> bool:
    """A string that stands alone: a docstring, or the description of a constant or a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def code_behind(paths: Iterable[Path], homes: Homes) -> list[Path]:
    """The files, and all files of the packages in `homes` that they import, sorted by their place in the package.

    Of `bench` only the worker and `bench.shared` are followed: the records that a worker imports are covered by the
    protocol.
    """
    files: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += [file for module in _imports(path, homes) for file in module_files(module, homes)]
    return sorted(files, key=lambda path: _place(path, homes))


def _place(path: Path, homes: Homes) -> tuple[str, ...]:
    """The place of a file in its package: the order of files must not depend on where the package lies."""
    for top, home in homes.items():
        if path.is_relative_to(home):
            return (top, *path.relative_to(home).parts)
    return path.parts


def module_files(module: str, homes: Homes) -> list[Path]:
    """The files of a module, `a/b.py` or `a/b/__init__.py`; empty for a package that is not in `homes`."""
    top, *rest = module.split(".")
    if top not in homes or (top == "bench" and rest[:1] not in (["shared"], ["worker"])):
        return []
    place = homes[top].joinpath(*rest)
    return [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]


def _imports(path: Path, homes: Homes) -> Iterator[str]:
    """The modules that a file imports, also inside functions: heavy libraries are imported late."""
    state = path.stat()
    for level, module, names in _import_statements(path, state.st_mtime_ns, state.st_size):
        start = ".".join(filter(None, (_package(path, level, homes) if level else "", module)))
        yield start
        # `from package import name` may import a module.
        yield from (f"{start}.{name}" for name in names)


@lru_cache(maxsize=4096)
def _import_statements(path: Path, _mtime_ns: int, _size: int) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """The level, the module and the names of every import."""
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(syntax.module(path.read_bytes())):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return tuple(imports)


def _package(path: Path, level: int, homes: Homes) -> str:
    """The package that a relative import of this level starts at."""
    folder = path.parents[level - 1]
    for top, home in homes.items():
        if folder.is_relative_to(home):
            return ".".join((top, *folder.relative_to(home).parts))
    return ""
