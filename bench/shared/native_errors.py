"""Shortens the error messages of native libraries: removes error codes, times, colours and positions in source code.

A provider often writes the reason for a failure to stderr only, and Python gets a session on the CPU (PROVIDERS 2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_CHARACTERS = 300
# QNN colours its log, also in a file.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# E and F are onnxruntime's errors and fatal errors; a warning is not the reason for a failure.
LOGGED = re.compile(r"^.*?\[[EF]:onnxruntime:[^\]]*\] (.+)$")
"""`2026-11-22 18:24:24.746 [E:onnxruntime:, file.cc:2290 Function] message`."""
RETRIED = re.compile(r"^EP Error (.+?)(?: when using \[.*\])?$")
"""The line that onnxruntime's Python code prints before it tries the CPU."""
FUNCTION = (
    r"(?:[^()]*::[\w{}~]+(?:\((?:[^()]|\([^()]*\))*\)){1,2}(?: const)?(?:::<lambda\([^()]*\)>)?(?: \[with [^\]]*\])? )"
)
"""A function's signature as GCC prints it: `virtual void ns::Factory::Create(const Options&, int) const `."""
PLACE = rf"\S+\.(?:cc|cpp|cxx|h|hpp|mm):\d+ {FUNCTION}?"
CONDITION = r"[\w.:=!<>&|()\"'\[\], +*/%-]+ was false\. "
PREFIXES = re.compile(
    rf"^{PLACE}|^{CONDITION}|^\[ONNXRuntimeError\] : \d+ : \w+ : |^\[ERROR\] "
    r"|^Error creating execution provider: |^Exception during initialization: "
)
"""Prefixes of a message that do not describe the error; a message may have several."""
EMBEDDED_PLACE = re.compile(rf": ?{PLACE}(?:{CONDITION})?")
FOLDERS = re.compile(r"(?<![\w:/.\\])(?:[A-Za-z]:|~)?[\\/](?:[^\s\\/:'\"]+[\\/])+")


def first_error(log: str) -> str:
    """The first error that onnxruntime or a provider logged, on one line; an empty string if there is none."""
    for line in COLOUR.sub("", log).splitlines():
        if error := LOGGED.match(line) or RETRIED.match(line):
            return brief(error[1])
    return ""


def brief(error_text: str) -> str:
    """A native error without codes and folders, on one line of at most `MAX_CHARACTERS`.

    Folders are removed because reports are published, and paths can show user names.
    """
    error_text = " ".join(FOLDERS.sub("", plain(error_text)).split())
    return error_text if len(error_text) <= MAX_CHARACTERS else f"{error_text[:MAX_CHARACTERS]}…"


def first_sentence(lines: Sequence[str]) -> str:
    """The first line, with the lines after it as long as the text ends in a colon: what it announces is the reason."""
    text, *others = lines
    for line in others:
        if not text.endswith(":"):
            break
        text = f"{text} {line}"
    return text


def plain(error_text: str) -> str:
    """A native error without error codes and positions in source code; names of nodes look like paths and are kept."""
    # A message that consists of a prefix only is kept: an empty reason would say nothing.
    while (shorter := PREFIXES.sub("", error_text, count=1)) != error_text and shorter:
        error_text = shorter
    return EMBEDDED_PLACE.sub(": ", error_text)
