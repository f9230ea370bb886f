"""Finds the families, engines and formats of other installed packages by their entry points, importing none of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bench.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = {"families": "touchstone.families", "engines": "touchstone.engines", "formats": "touchstone.formats"}
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Plugin(Struct, frozen=True):
    """One entry point of another package: a module that the worker loads under its own name."""

    kind: str
    name: str
    """What a matrix calls it."""
    module: str
    package: str
    """The distribution that brings it, with its version."""
    file: Path
    """The module's file; `__init__.py` where the module is a package."""

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"{self.module} (entry point '{self.name}' of {GROUPS[self.kind]} in {self.package})"

    @property
    def top(self) -> str:
        """The module's top-level name: `a_package` of `a_package.engine`."""
        return self.module.partition(".")[0]

    @property
    def root(self) -> Path:
        """The folder that holds the top-level package or module."""
        steps = self.module.count(".") + (self.file.name == "__init__.py")
        return self.file.parents[steps]


def plugins(kind: str) -> list[Plugin]:
    """The plug-ins of a kind, `families`, `engines` or `formats`, in installed packages; sorted by name.

    Raises `PluginError` with the package and the entry point where one is not valid.
    """
    if not is_any_declared():
        return []
    from importlib.metadata import entry_points

    # Sorted, so that the order does not depend on how packages were installed.
    points = sorted(entry_points(group=GROUPS[kind]), key=lambda point: (point.name, point.value))
    return [_plugin(kind, point) for point in points]


@cache
def is_any_declared() -> bool:
    """Whether any entry point is ours. Reads only their text, since `importlib.metadata` is slow to import."""
    # An empty entry of the path means the current folder.
    folders = [Path(folder or ".") for folder in dict.fromkeys(sys.path)]
    # `.dist-info`, and `.egg-info` of packages that an older installer has put there.
    paths = (path for folder in folders for path in folder.glob("*.*-info/entry_points.txt"))
    return any(b"[touchstone." in path.read_bytes() for path in paths)


def _plugin(kind: str, point: EntryPoint) -> Plugin:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    subject = f"the entry point '{point.name}' of {GROUPS[kind]} in the package {package}"
    if not NAME.fullmatch(point.name):
        raise PluginError(f"{subject} has no usable name", "use lower-case letters, digits and hyphens")
    # A module of `bench` would be one of ours under a second name.
    if not MODULE.fullmatch(point.value) or point.value.split(".")[0] == "bench":
        raise PluginError(f"{subject} names '{point.value}'", "name a module of the package itself: a_package.a_module")
    file = next((path for path in _candidates(point) if path.is_file()), None)
    if file is None:
        message = f"{subject} names the module '{point.value}', and there is no such file"
        raise PluginError(message, "correct the entry point, or remove the package")
    return Plugin(kind, point.name, point.value, package, file)


def _candidates(point: EntryPoint) -> Iterable[Path]:
    """Where the module's file may be: beside the distribution's metadata, else where Python finds its top-level name.

    The second is for packages that are installed to be edited in place.
    """
    top, *rest = point.value.split(".")
    if point.dist is not None:
        yield from _module_files(Path(str(point.dist.locate_file(""))), [top, *rest])
    spec = find_spec(top)  # of a top-level name, so that nothing is imported
    if spec is None:
        return
    if spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            yield from _module_files(Path(folder).parent, [Path(folder).name, *rest])
    elif spec.origin and not rest:
        yield Path(spec.origin)


def _module_files(root: Path, names: list[str]) -> Iterable[Path]:
    path = root.joinpath(*names)
    yield from (path.with_suffix(".py"), path / "__init__.py")
