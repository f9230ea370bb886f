"""The errors of native libraries in plain words, without error codes, times, colours and places in their source code.

A provider often says on stderr alone why it cannot work: Python gets a session on the CPU (PROVIDERS 2).
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 300
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LOGGED = re.compile(r"^.*?\[[EF]:onnxruntime:[^\]]*\] (.+)$")
"""`2026-11-22 18:24:24.746 [E:onnxruntime:, file.cc:2290 Function] words`."""
RETRIED = re.compile(r"^EP Error (.+?)(?: when using \[.*\])?$")
"""The line that onnxruntime's Python prints before it tries the CPU."""
FUNCTION = (
    r"(?:[^()]*::[\w{}~]+(?:\((?:[^()]|\([^()]*\))*\)){1,2}(?: const)?(?:::<lambda\([^()]*\)>)?(?: \[with [^\]]*\])? )"
)
"""A function as GCC writes it out: `virtual void ns::Factory::Create(const Options&, int) const `."""
PLACE = rf"\S+\.(?:cc|cpp|cxx|h|hpp|mm):\d+ {FUNCTION}?"
CONDITION = r"[\w.:=!<>&|()\"'\[\], +*/%-]+ was false\. "
PREFIXES = re.compile(
    rf"^{PLACE}|^{CONDITION}|^\[ONNXRuntimeError\] : \d+ : \w+ : |^\[ERROR\] "
    r"|^Error creating execution provider: |^Exception during initialization: "
)
"""What stands before an error and says nothing of it; several may follow one another."""
EMBEDDED_PLACE = re.compile(rf": ?{PLACE}(?:{CONDITION})?")
FOLDERS = re.compile(r"(?<![\w:/.\\])(?:[A-Za-z]:|~)?[\\/](?:[^\s\\/:'\"]+[\\/])+")


def first_error(log: str) -> str:
    """The first error that onnxruntime or a provider logged, on one line; nothing where the log holds none."""
    for line in COLOUR.sub("", log).splitlines():
        if error := LOGGED.match(line) or RETRIED.match(line):
            return brief(error[1])
    return ""


def brief(words: str) -> str:
    """A native error in plain words without folders, which are nobody's business; cut where it has no end."""
    words = " ".join(FOLDERS.sub("", plain(words)).split())
    return words if len(words) <= MAX_CHARACTERS else f"{words[:MAX_CHARACTERS]}…"


def plain(words: str) -> str:
    """A native error without error codes and places in its source. Names of nodes look like paths, and stay."""
    while (shorter := PREFIXES.sub("", words, count=1)) != words and shorter:
        words = shorter
    return EMBEDDED_PLACE.sub(": ", words)
