"""Foreign text in (error messages, names, versions), text out that is safe to show in one place (pure)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_MISSING = {"#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "none", "null"}
_VALUES = _MISSING | {"true", "false"}
"""What pandas reads as missing or as a truth value, in lower case; numbers are found by `float`."""
_FORMULA_STARTS = "=+\\-@\t\r＝＋－＠"


def lines(text: str) -> str:
    """The text without what a terminal or a bidirectional override would do with it; line breaks stay."""
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


def line(text: str) -> str:
    """The same on one line."""
    return " ".join(lines(text).split())


def csv_cell(text: str) -> str:
    """One line that no spreadsheet takes for a formula, and no table reader for a number or for missing.

    An apostrophe in front is what spreadsheets themselves write for "this is text". Each part of a `;` list has its
    own: where the list separator of the region is `;`, a spreadsheet opens the parts as cells.
    """
    text = re.sub(rf"(^|;)(\s*)(?=[{_FORMULA_STARTS}])", r"\1\2'", line(text))
    return f"'{text}" if _reads_as_a_value(text) else text


def markdown(text: str) -> str:
    """One line of plain words in Markdown, in a table too: no markup, no HTML, no mention of people or issues."""
    text = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    text = re.sub(r"^([#+-])", r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
    # A word joiner is invisible, and ends GitHub's reading of @name and #12 as a mention.
    return re.sub(r"(@|#)(?=\w)", "\\1\u2060", text)


def code(text: str) -> str:
    """One line as a Markdown code span, in a table too."""
    text = line(text).replace("|", "\\|")
    if not text:
        return ""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _reads_as_a_value(text: str) -> bool:
    if text.lower() in _VALUES:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
