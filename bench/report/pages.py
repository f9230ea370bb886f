"""Makes the Jinja environment of all HTML pages: unknown names are errors, and foreign text is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import __version__
from bench.report import escaping, numbers
from bench.report import text as words

TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> Environment:
    """A new environment with the names that all pages share; a page adds its own names and filters.

    `folders` contain the templates of a feature, which extend `page.html` and can include those of the report.
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
    """A dash for None; other text without control characters and bidirectional overrides."""
    if value is None:
        return numbers.DASH
    # Not isinstance: Markup is a str too, and would come back as a plain one, so that an SVG is shown as text.
    return escaping.lines(value) if type(value) is str else value
