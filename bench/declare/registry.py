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

from bench.records import ProviderBehavior

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
    opset: int = 0
    optional: tuple[str, ...] = ()
    """Sizes that may be 0, and are in no label then."""
    format: str = "onnx"
    """The format of the artifacts that its recipes make."""
    engines: tuple[str, ...] = ("ort",)
    """What a provider runs it by: the first engine that knows the provider."""
    generates: bool = False
    """True where a call emits tokens one after another."""


class Format(Struct, frozen=True):
    """The declared half of `worker/formats/NAME.py`."""

    name: str
    build_runtime: str
    """The runtime that artifacts are made in, straight from the source."""
    base: str | None = None
    """The recipe whose artifact the others are made from; None where each is made from the source."""
    convert_runtime: str = ""
    """The runtime that makes the others from it."""


class Engine(Struct, frozen=True):
    """The declared half of `worker/engines/NAME.py`."""

    name: str
    format: str | None
    """The format of the artifacts that the engine runs; None where it makes a precision itself."""
    modes: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    """The recipes by which the engine makes a precision itself."""
    families: tuple[str, ...] = ()
    """The families that the engine can run; empty means every one, or for an engine with a format all of that."""
    names_providers: bool = False
    """True where it has names of its own for providers, and drives those alone whose `engine_names` hold one."""

    variables: tuple[str, ...] = ()
    """Options that name an environment variable, so that what it holds is in no file."""
    addresses: tuple[str, ...] = ()
    """Options that are addresses, in which no password may stand."""

    def runs(self, family: Family) -> bool:
        """Whether the engine can run a family."""
        if self.families:
            return family.name in self.families
        return self.format in (None, family.format)

    def drives(self, provider: ProviderBehavior) -> bool:
        """Whether the engine can drive an execution provider."""
        return not self.names_providers or self.name in provider.engine_names

    def takes_family_recipes(self, family: Family) -> bool:
        """Whether the artifacts that the family's recipes make are the engine's."""
        return self.format is not None and self.format == family.format

    @property
    def own_recipes(self) -> dict[str, tuple[str, ...]]:
        """The recipes that a precision names for this engine alone, each with its options."""
        if self.format is None:
            return dict.fromkeys(self.recipes, ())
        return recipes(self.format)


@cache
def families() -> dict[str, Family]:
    """Every family by its name, `text-encoder` for `text_encoder.py`."""
    return {name: _family(name, path) for name, path in _files("families")}


@cache
def engines() -> dict[str, Engine]:
    """Every engine by its name, `llama-cpp` for `llama_cpp.py`."""
    return {name: _engine(name, path) for name, path in _files("engines")}


@cache
def formats() -> dict[str, Format]:
    """Every format of artifacts by its name, but for `onnx`, which `worker/build.py` makes."""
    found = dict(_files("formats"))
    return {name: convert({"name": name, **_constants(path)}, Format) for name, path in found.items()}


@cache
def recipes(format_name: str) -> dict[str, tuple[str, ...]]:
    """The options of every recipe that makes an artifact of a format; in `onnx`, `fp32` is the export itself."""
    path = WORKER / "build.py" if format_name == "onnx" else dict(_files("formats"))[format_name]
    found = _recipes(path)
    return {"fp32": (), **found} if format_name == "onnx" else found


def _recipes(path: Path) -> dict[str, tuple[str, ...]]:
    """The keyword-only parameters of every function in a file's `RECIPES`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    table = next(_assigned(node)[1] for node in tree.body if _assigned(node)[0] == "RECIPES")
    found: dict[str, tuple[str, ...]] = {}
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
    return convert({"name": name, **_constants(path)}, Engine)


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
