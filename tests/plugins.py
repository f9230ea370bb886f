"""Packages that are installed for a test: into a folder of its own, as an unpacked wheel lies in site-packages."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).parent / "plugin"
Groups = Mapping[str, Mapping[str, str]]
"""Entry points: by group and name, the module."""


def install_example(target: Path) -> None:
    """The package of `tests/plugin`, with the metadata that its pyproject.toml gives."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(EXAMPLE / "touchstone_example", target / "touchstone_example", ignore=ignored)
    write_metadata(target, project["name"], project["version"], project["entry-points"])


def install(target: Path, name: str, groups: Groups, files: Mapping[str, str]) -> None:
    """A package of these files, `a/b.py` by its text."""
    for relative, text in files.items():
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_metadata(target, name, "1.0", groups)


def write_metadata(target: Path, name: str, version: str, groups: Groups) -> None:
    """The `.dist-info` of a package."""
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *_points(points))]
    (folder / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _points(points: Mapping[str, str]) -> list[str]:
    return [f"{name} = {module}" for name, module in points.items()]
