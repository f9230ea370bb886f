"""A report and the names of formats in, one whole file a format out."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from bench.declare.suggest import similar
from bench.errors import UsageError
from bench.files import write_atomically
from bench.report.model import Report

ROOM = Path(__file__).parent / "renderers"


class Format(Protocol):
    """What a format's file holds."""

    NAME: str
    FILE: str

    def render(self, report: Report) -> str:
        """Give the whole text of the file."""


@cache
def formats() -> dict[str, str]:
    """The module of every format by its name.

    A format is a file of this folder that says `NAME = "…"`. It is read, not imported: html needs altair and
    its engine, and a command that only lists the names must not wait for them.
    """
    declared = re.compile(r'^NAME = "([a-z-]+)"$', re.MULTILINE)
    found = ((declared.search(path.read_text(encoding="utf-8")), path.stem) for path in sorted(ROOM.glob("*.py")))
    return {match[1]: f"bench.report.renderers.{stem}" for match, stem in found if match}


def write(report: Report, names: Iterable[str], folder: Path) -> list[Path]:
    """Render every named format into `folder`, each file replaced in one step; the paths written, in that order.

    Raises `UsageError` for a name that no format has, before anything is rendered; `DiskError` where a file cannot be
    written.
    """
    modules = [load(name) for name in dict.fromkeys(names)]
    paths = []
    for module in modules:
        path = folder / module.FILE
        write_atomically(path, module.render(report).encode("utf-8", errors="replace"))
        paths.append(path)
    return paths


def known(text: str) -> tuple[str, ...]:
    """The names in `html,csv`, each once; `UsageError` for one that no format has. No format is imported for it."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        _module(name)
    return names


def load(name: str) -> Format:
    """The format of that name."""
    loaded: Format = importlib.import_module(_module(name))
    return loaded


def _module(name: str) -> str:
    if name not in formats():
        raise UsageError(f"unknown report format {name!r}", _hint(name, list(formats())))
    return formats()[name]


def _hint(name: str, known: Sequence[str]) -> str:
    close = similar(name, known)
    return f"did you mean {close[0]!r}?" if close else f"the formats are {', '.join(known)}"
