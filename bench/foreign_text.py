"""Makes text that others wrote harmless: no control character, and no command to a terminal or to a CI runner.

Every output passes here: tables, progress, errors, files and logs. `bench.report.escaping` adds the rules of each file
format, and `bench.cli.tables` those of the terminal's markup.
"""

from __future__ import annotations

import re
import unicodedata

from bench.shared.hidden import without_credentials

# Colours and cursor movements (`ESC [`, or the one character 0x9b), then strings up to their end, such as titles
# (`ESC ]`, `ESC P`, `ESC X`, `ESC ^`, `ESC _`), and at last sequences of two characters.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_LINE_ENDS = re.compile(r"\r\n|[\r\u2028\u2029\x85]")
# GitHub's runner obeys `::name::` at the start of a line, where a folded column may begin, and `##[name]` anywhere;
# Azure and TeamCity have `##vso[` and `##teamcity[`.
_COMMAND = re.compile(r"::(?=[A-Za-z][\w-]*(?: [^\n]*?)?::)|##(?=\w*\[)")
_JOINER = "\u2060"
"""A word joiner: invisible, and a runner does not read the text around it as one word."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co"}
"""Categories that no reader sees: controls, formats such as bidirectional marks, half pairs, private characters."""


def lines(text: str) -> str:
    """The text without escape sequences, control characters, bidirectional marks, commands, and passwords in addresses.

    Line breaks stay.
    """
    # Almost every text: the report checks thousands of them.
    if text.isprintable():
        return _without_commands(without_credentials(text))
    text = _ESCAPE_SEQUENCE.sub("", _LINE_ENDS.sub("\n", text))
    shown = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)
    return _without_commands(without_credentials(shown))


def line(text: str) -> str:
    """The text of `lines` on one line."""
    # Folded first: a line end inside `::error\n::` would hide the command from `lines`.
    return _without_commands(" ".join(lines(text).split()))


def visible(text: str) -> str:
    r"""One line in which what is not printable is shown as an escape, `\x1b`: for messages about a user's own file."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return _without_commands(without_credentials(shown))


def json_text(text: str) -> str:
    r"""JSON that holds the same values, with `\u202e` and the like for characters that a reader does not see.

    Line ends between the values stay; JSON has none inside a value.
    """
    if not text.isascii():
        text = "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)
    # Inside a string `#` may be written as an escape, and `##` stands nowhere else in JSON.
    return text.replace("##", "#\\u0023").replace("\x7f", "\\u007f")


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _without_commands(text: str) -> str:
    if "::" not in text and "##" not in text:
        return text
    return _COMMAND.sub(lambda match: f"{match[0][0]}{_JOINER}{match[0][1]}", text)
