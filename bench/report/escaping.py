"""Writes foreign text (error messages, names, versions) into Markdown and CSV, as `bench.foreign_text` leaves it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from bench.foreign_text import line, lines

__all__ = ["code", "csv_cell", "csv_table", "folded", "line", "lines", "markdown", "table"]

_MISSING = {"#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "none", "null"}
_VALUES = _MISSING | {"true", "false"}
"""Texts that pandas reads as missing or as a truth value, in lower case; `float` finds those that are numbers."""
# Spreadsheets read the full-width signs as the plain ones in some languages.
_FORMULA_STARTS = "=+\\-@\t\r＝＋－＠"


def csv_cell(text: str) -> str:
    """One line that no spreadsheet reads as a formula, and no table reader reads as a number or as missing.

    Such a text gets an apostrophe in front, the mark that spreadsheets use for text.
    """
    # Each part of a `;` list gets its own apostrophe: where the list separator of the region is `;`, a spreadsheet
    # opens the parts as separate cells.
    text = re.sub(rf"(^|;)(\s*)(?=[{_FORMULA_STARTS}])", r"\1\2'", line(text))
    return f"'{text}" if _reads_as_a_value(text) else text


def csv_table(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A CSV file: the header and the rows, with None as an empty cell, `true` and `false`, and floats in full.

    Raises `ValueError` for a row with a name that is not among the columns.
    """
    # Line feeds on every system: the same rows must give the same bytes.
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_value(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def markdown(text: str) -> str:
    """One line of plain text in Markdown, also in a table: no markup, no HTML, no mention of people or issues."""
    # `&` first: later it would escape the entities of the other two.
    text = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    # A cell or a list item may begin with the text: there it would be a heading, a list or a numbered list.
    text = re.sub(r"^([#+-])", r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
    # A word joiner is invisible, and ends GitHub's reading of @name and #12 as a mention.
    return re.sub(r"(@|#)(?=\w)", "\\1\u2060", text)


def code(text: str) -> str:
    """One line as a Markdown code span, also in a table."""
    text = line(text).replace("|", "\\|")
    if not text:
        return ""
    # A code span ends at a run of backticks as long as its fence, so the fence is longer than any run inside.
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its cells must be Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def folded(summary: str, content: str) -> str:
    """Markdown that a reader opens; both parts must be Markdown already."""
    # GitHub renders Markdown inside HTML only after an empty line.
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _csv_value(value: object) -> object:
    if isinstance(value, bool):
        # As JSON writes it; Python would write `True`.
        return str(value).lower()
    return csv_cell(value) if isinstance(value, str) else value


def _reads_as_a_value(text: str) -> bool:
    if text.lower() in _VALUES:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
