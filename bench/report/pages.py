"""The environment of all HTML pages: our templates, strict about names, with foreign text escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import __version__
from bench.report import escaping, numbers
from bench.report import text as words

TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> Environment:
    """A new environment with what all pages share; a page adds its own names and filters.

    `folders` hold the templates of a feature; those of the report can be included from them.
    """
    pages = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals.update(words=words, version=__version__, DASH=numbers.DASH)
    return pages


def _finalize(value: object) -> object:
    """Missing is a dash; foreign text loses what would steer a terminal or reverse the reading direction."""
    if value is None:
        return numbers.DASH
    return escaping.lines(value) if type(value) is str else value
