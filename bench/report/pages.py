"""Makes the Jinja environment of all HTML pages: unknown names are errors, and foreign text is escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench import __version__
from bench.report import escaping, numbers
from bench.report import text as words

TEMPLATES = Path(__file__).parent / "templates"


class Script(NamedTuple):
    """The text of a page's own script, and its hash in the page's policy, so that no other script can run."""

    text: Markup
    digest: str


def script(file: str) -> Script:
    """The script of that name beside the templates."""
    source = (TEMPLATES / file).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    # It is a file of this package, and a page holds it as it is.
    return Script(Markup(source), digest)  # noqa: S704


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
