"""Lists the families, engines, formats and recipes that a matrix may name, of the worker and of other packages.

Each is one file. The orchestrator must know its names, sizes and recipes to check a matrix, and may not import the
libraries that the file needs, so it reads the manifest from the source text.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from bench.declare import entry_points
from bench.declare.entry_points import Plugin
from bench.declare.manifest_memory import FILE as MEMORY
from bench.declare.manifest_memory import ManifestMemory
from bench.declare.manifests import RecipeDeclaration, read_manifest, read_recipes
from bench.errors import PluginError
from bench.records import EngineManifest, FamilyManifest, FormatManifest, ProviderBehavior, Tolerance

WORKER = Path(__file__).parent.parent / "worker"
EXTRA_ENGINES = "BENCH_ENGINES"


class Family(FamilyManifest, frozen=True, kw_only=True):
    """A family's manifest with its name."""

    name: str

    @property
    def generates(self) -> bool:
        """Whether its models emit tokens one after another."""
        return self.task != "forward"


class Format(FormatManifest, frozen=True, kw_only=True):
    """A format's manifest with its name."""

    name: str


class Engine(EngineManifest, frozen=True, kw_only=True):
    """An engine's manifest with its name."""

    name: str

    def runs(self, family: Family) -> bool:
        """Whether the engine can run a family."""
        if self.needs_module and not family.has_module:
            return False
        # Before the format: an engine that names tasks may run a format that is not the family's, such as GGUF.
        if self.tasks:
            return family.task in self.tasks
        return self.format in (None, family.format)

    def drives(self, provider: ProviderBehavior) -> bool:
        """Whether the engine can drive an execution provider."""
        return not self.names_providers or self.name in provider.engine_names

    def takes_family_recipes(self, family: Family) -> bool:
        """Whether the artifacts that the family's recipes make are the engine's."""
        return self.format is not None and self.format == family.format

    @property
    def own_recipes(self) -> dict[str, RecipeDeclaration]:
        """The recipes that a precision may name for this engine: its own, else those of its format."""
        if self.format is not None:
            return recipes(self.format)
        return {
            name: RecipeDeclaration(name, own.number_format, tolerance=own.tolerance, place=f"engine '{self.name}'")
            for name, own in self.recipes.items()
        }


@cache
def families() -> dict[str, Family]:
    """Every family by its name, `text-encoder` for `text_encoder.py`."""
    return {
        name: Family(name=name, **_fields(manifest))
        for name, manifest in _manifests("families", FamilyManifest).items()
    }


@cache
def engines() -> dict[str, Engine]:
    """Every engine by its name, `llama-cpp` for `llama_cpp.py`."""
    return {
        name: Engine(name=name, **_fields(manifest)) for name, manifest in _manifests("engines", EngineManifest).items()
    }


@cache
def formats() -> dict[str, Format]:
    """Every format of artifacts by its name."""
    return {
        name: Format(name=name, **_fields(manifest)) for name, manifest in _manifests("formats", FormatManifest).items()
    }


@cache
def recipes(format_name: str) -> dict[str, RecipeDeclaration]:
    """Every recipe that makes an artifact of a format, with its options, number format and tolerances."""
    path, place = _files("formats")[format_name]
    declared = _memory.recall(path, dict[str, RecipeDeclaration])
    if declared is None:
        declared = read_recipes(path, place)
        _memory.keep(path, dict[str, RecipeDeclaration], declared)
        _memory.save()
    # A file may have moved since it was read.
    return {name: replace(recipe, place=place) for name, recipe in declared.items()}


def tolerance(recipe: RecipeDeclaration, family: Family) -> Tolerance | None:
    """How far a recipe's outputs may be from the reference: the recipe's limit, else the family's, else None."""
    return recipe.tolerance.get(family.name) or family.tolerances.get(recipe.number_format)


@cache
def plugins() -> tuple[Plugin, ...]:
    """The modules that other packages add. Raises `PluginError` for a name that is already used."""
    return tuple(plugin for kind in entry_points.GROUPS for plugin in _plugins_of(kind))


def forget() -> None:
    """Clear the caches, so that changed files and packages are read again."""
    for read in (families, engines, formats, recipes, plugins, _plugins_of, entry_points.is_any_declared):
        read.cache_clear()


def extra_engine_files() -> list[Path]:
    """Engine files from the folder in `BENCH_ENGINES`: tests use it to add an engine that crashes on request."""
    folder = os.environ.get(EXTRA_ENGINES)
    return sorted(Path(folder).glob("[!_]*.py")) if folder else []


def file_of(kind: str, name: str) -> Path:
    """The file that declares a family, an engine or a format."""
    return _files(kind)[name][0]


def _own_files(kind: str) -> dict[str, Path]:
    # Files that begin with `_` are shared helpers.
    paths = sorted((WORKER / kind).glob("[!_]*.py"))
    if kind == "engines":
        paths += extra_engine_files()
    # A module's name cannot hold the hyphen that names in a matrix have.
    return {path.stem.replace("_", "-"): path for path in paths}


def _files(kind: str) -> dict[str, tuple[Path, str]]:
    """The file of each name, with its name in messages."""
    own = {name: (path, _place(kind, path)) for name, path in _own_files(kind).items()}
    return own | {plugin.name: (plugin.file, plugin.place) for plugin in _plugins_of(kind)}


def _place(kind: str, path: Path) -> str:
    return f"bench/worker/{kind}/{path.name}" if path.is_relative_to(WORKER) else f"{path.name} of {EXTRA_ENGINES}"


@cache
def _plugins_of(kind: str) -> list[Plugin]:
    taken = dict.fromkeys(_own_files(kind), "touchstone-bench itself")
    listed = entry_points.plugins(kind)
    for plugin in listed:
        # A result must never depend on which of two packages was found first.
        if plugin.name in taken:
            where = f"entry point '{plugin.name}' of {entry_points.GROUPS[kind]} in the package {plugin.package}"
            hint = f"{taken[plugin.name]} has it: rename one, or remove a package"
            raise PluginError(f"the {where} has a name that is taken", hint)
        taken[plugin.name] = f"the package {plugin.package}"
    return listed


M = TypeVar("M", FamilyManifest, EngineManifest, FormatManifest)
_memory = ManifestMemory()


def remember_in(cache: Path) -> None:
    """Keep what is read from source files in a cache folder, for this process and later ones."""
    global _memory  # noqa: PLW0603 - as the functions above, whose results are those of the whole process
    _memory = ManifestMemory(cache / MEMORY)


def _manifests(folder: str, kind: type[M]) -> dict[str, M]:
    """The manifest of every file of a kind, by its name."""
    manifests = {}
    for name, (path, place) in _files(folder).items():
        manifest = _memory.recall(path, kind)
        if manifest is None:
            manifest = read_manifest(path, kind, place)
            _memory.keep(path, kind, manifest)
        manifests[name] = manifest
    _memory.save()
    return manifests


def _fields(manifest: M) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}
