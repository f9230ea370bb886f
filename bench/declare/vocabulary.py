"""What the worker knows, read from its files' literal constants without importing them: families, engines, recipes.

A family or an engine is added by writing one file under `worker/`. The orchestrator must know its names, sizes and
recipes to check a matrix, yet may not import the libraries that the file needs, so it evaluates literals only.
"""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct, convert

WORKER = Path(__file__).parent.parent / "worker"
EXTRA_ENGINES = "BENCH_ENGINES"


class Family(Struct, frozen=True):
    """The declared half of `worker/families/NAME.py`."""

    name: str
    build_runtime: str
    sizes: dict[str, int]
    labels: dict[str, str]
    open_sizes: bool
    rates: dict[str, list[str]]
    inputs: str | None
    opset: int


class Engine(Struct, frozen=True):
    """The declared half of `worker/engines/NAME.py`."""

    name: str
    needs_artifact: bool
    """True where the engine runs an ONNX artifact of the build; False where it makes a precision itself."""
    modes: tuple[str, ...]
    recipes: tuple[str, ...]
    """The recipes by which the engine makes a precision itself."""
    families: tuple[str, ...] = ()
    """The families that the engine can run; empty means every one."""


@cache
def families() -> dict[str, Family]:
    """Every family by its name, `text-encoder` for `text_encoder.py`."""
    return {name: _family(name, path) for name, path in _files("families")}


@cache
def engines() -> dict[str, Engine]:
    """Every engine by its name, `llama-cpp` for `llama_cpp.py`."""
    return {name: _engine(name, path) for name, path in _files("engines")}


@cache
def build_recipes() -> dict[str, tuple[str, ...]]:
    """The options of every recipe that makes an ONNX artifact; `fp32` is the export itself."""
    tree = ast.parse((WORKER / "build.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    table = next(_assigned(node)[1] for node in tree.body if _assigned(node)[0] == "RECIPES")
    found: dict[str, tuple[str, ...]] = {"fp32": ()}
    for key, value in zip(table.keys, table.values, strict=True):
        found[ast.literal_eval(key)] = tuple(arg.arg for arg in functions[value.id].args.kwonlyargs)
    return found


def extra_engine_files() -> list[Path]:
    """Engine files from the folder that `BENCH_ENGINES` names: how tests bring an engine that crashes on request."""
    folder = os.environ.get(EXTRA_ENGINES)
    return sorted(Path(folder).glob("[!_]*.py")) if folder else []


def _files(folder: str) -> list[tuple[str, Path]]:
    paths = sorted((WORKER / folder).glob("[!_]*.py"))
    if folder == "engines":
        paths += extra_engine_files()
    return [(path.stem.replace("_", "-"), path) for path in paths]


def _family(name: str, path: Path) -> Family:
    said = _constants(path)
    return convert({"name": name, "inputs": None, "open_sizes": False, **said}, Family)


def _engine(name: str, path: Path) -> Engine:
    return convert({"name": name, "modes": (), "recipes": (), **_constants(path)}, Engine)


def _constants(path: Path) -> dict[str, Any]:
    """The UPPERCASE literal constants of a file, by their name in lower case."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for node in tree.body:
        name, value = _assigned(node)
        if name.isupper() and value is not None:
            try:
                found[name.lower()] = ast.literal_eval(value)
            except ValueError:  # computed, so not part of the declaration
                continue
    return found


def _assigned(node: ast.stmt) -> tuple[str, Any]:
    """The name and the expression of `NAME = …`, with a type or without; an empty name for any other statement."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None
