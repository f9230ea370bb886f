"""Finds and writes the formats of a report: those of this package, and those that other packages add."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench import store
from bench.declare.suggest import nearest
from bench.errors import UsageError
from bench.files import write_atomically
from bench.report.model import Report

GROUP = "touchstone.reports"
"""The entry points of other packages: `NAME = "package.module"`, or `"package.module:object"`."""
BUILT_IN = {
    "csv": "bench.report.renderers.csv",
    "comparisons": "bench.report.renderers.comparisons",
    "html": "bench.report.renderers.html",
    "json": "bench.report.renderers.json",
    "markdown": "bench.report.renderers.markdown",
    "pytest-benchmark": "bench.report.renderers.pytest_benchmark",
}
"""The module of each format of this package. It is imported only on request, because html needs heavy libraries."""
RESERVED = {store.RUN, store.RESULTS, store.LOGS}
"""File names that a run's folder already uses, so that no format may write them."""


class ReportFormat(Protocol):
    """A report format: a module, or an object, with these three names."""

    NAME: str
    """The name in `--format`; the entry point has the same name."""
    FILE: str
    """The name of the file that it writes in the run's folder."""

    def render(self, report: Report) -> str | bytes:
        """Return the whole content of the file; text is written in UTF-8."""
        ...


class _Loaded(NamedTuple):
    """A loaded format; `origin` says which package it comes from, and is empty for a format of this package."""

    format: ReportFormat
    origin: str = ""


def names() -> tuple[str, ...]:
    """The names of all available formats; no format is imported."""
    return tuple(dict.fromkeys((*BUILT_IN, *sorted(point.name for point in entry_points(group=GROUP)))))


def known(text: str) -> tuple[str, ...]:
    """The names in a text such as `html,csv`, each once; no format is imported.

    Raises `UsageError` for a name that no format has.
    """
    requested = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    # Every name is checked before a run measures for hours and then cannot write its report.
    for name in requested:
        if name not in BUILT_IN:
            _entry_point(name)
    return requested


def load(name: str) -> ReportFormat:
    """The format of that name.

    Raises `UsageError` if there is none, or if the format of another package cannot be used.
    """
    return _load(name).format


def write(report: Report, names: Iterable[str], folder: Path) -> list[Path]:
    """Render every named format into `folder`, each file replaced atomically; return the paths in the same order.

    Raises `UsageError` before anything is rendered if no format has one of the names. If a format of another package
    fails, raises `UsageError` after the other formats are written. Raises `DiskError` if a file cannot be written.
    """
    loaded = [_load(name) for name in dict.fromkeys(names)]
    paths: list[Path] = []
    failures: list[UsageError] = []
    for entry in loaded:
        try:
            content = _render(entry, report)
        # A faulty format of another package must not keep the other formats from being written.
        except UsageError as error:
            failures.append(error)
            continue
        paths.append(folder / entry.format.FILE)
        write_atomically(paths[-1], content)
    if failures:
        raise failures[0]
    return paths


def _load(name: str) -> _Loaded:
    if name in BUILT_IN:
        # First: a package cannot put its own format in the place of one of these.
        module: Any = importlib.import_module(BUILT_IN[name])
        return _Loaded(module)
    point = _entry_point(name)
    origin = f"the entry point '{point.name} = {point.value}' of the package {_package(point)}"
    remedy = f"repair or uninstall {_package(point)}"
    try:
        # This runs code of the other package, which may raise anything.
        loaded = point.load()
    except Exception as error:
        raise UsageError(f"{origin} cannot be loaded: {_line(error)}", remedy) from error
    if fault := _fault(loaded, name):
        raise UsageError(f"{origin} is no report format: {fault}", remedy)
    return _Loaded(loaded, origin)


def _entry_point(name: str) -> EntryPoint:
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        raise UsageError(f"unknown report format '{name}'", nearest(name, names()))
    # A report must not depend on which of two packages was installed first.
    if len(points) > 1:
        packages = " and ".join(map(_package, points))
        raise UsageError(f"the packages {packages} both have a report format '{name}'", "uninstall one of them")
    return points[0]


def _fault(loaded: Any, name: str) -> str:
    """Why an object cannot be the format of that name; empty if it can."""
    for attribute in ("NAME", "FILE", "render"):
        if not hasattr(loaded, attribute):
            return f"it has no {attribute}"
    if name != loaded.NAME:
        return f"its NAME is {loaded.NAME!r}"
    # The file must be in the run's folder and must not replace the files of the run.
    file = loaded.FILE
    if not isinstance(file, str) or Path(file).name != file or "\\" in file or file in {"", ".", "..", *RESERVED}:
        return f"its FILE is {file!r}, which is no name for a file of a report"
    return "" if callable(loaded.render) else "its render cannot be called"


def _render(loaded: _Loaded, report: Report) -> bytes:
    """The content of a file; any error in another package's format becomes a `UsageError` that names the package."""
    try:
        content = loaded.format.render(report)
        # A message may hold half of a surrogate pair, which UTF-8 cannot encode.
        return content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
    except Exception as error:  # another package may raise anything
        # An error in a format of this package is a fault of this package and keeps its traceback.
        if not loaded.origin:
            raise
        raise UsageError(f"{loaded.origin} failed: {_line(error)}", "the other formats are written") from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
