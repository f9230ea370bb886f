"""What a native library printed comes in; its first error in plain words, without times, colours and paths, goes out.

Providers often say why they cannot work on stderr only: what Python gets is a session on the CPU (PROVIDERS 2).
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 300
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LOGGED = re.compile(r"^.*?\[[EF]:onnxruntime:[^\]]*\] (.+)$")
"""`2026-11-22 18:24:24.746 [E:onnxruntime:, file.cc:2290 Function] words`."""
RETRIED = re.compile(r"^EP Error (.+?)(?: when using \[.*\])?$")
"""The line that onnxruntime's Python prints before it tries the CPU."""
CODE = re.compile(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ")
MARK = re.compile(r"^.*?\[ERROR\] ")
PLACE = re.compile(r"^\S+\.(?:cc|cpp|cxx|h|hpp|mm):\d+ (?:[^()]*\([^()]*\)(?: const)? )?")
"""`/src/onnxruntime/core/file.cc:141 std::string f(const Options&) `: a source line, and the function there."""
FOLDERS = re.compile(r"(?<![\w:/.\\])(?:[A-Za-z]:|~)?[\\/](?:[^\s\\/:'\"]+[\\/])+")


def said(text: str) -> str:
    """The first error that a log holds, on one line; nothing where it holds none."""
    for line in COLOUR.sub("", text).splitlines():
        if found := LOGGED.match(line) or RETRIED.match(line):
            return plain(found[1])
    return ""


def plain(words: str) -> str:
    """A native error without error codes, places in its source and folders."""
    for noise in (CODE, MARK, PLACE):
        words = noise.sub("", words, count=1)
    words = " ".join(FOLDERS.sub("", words).split())
    return words if len(words) <= MAX_CHARACTERS else f"{words[:MAX_CHARACTERS]}…"
