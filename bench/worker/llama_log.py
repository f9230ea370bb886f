"""What llama.cpp logs in; its errors and warnings since a mark, without the chatter, out."""

from __future__ import annotations

import ctypes
import re
import sys

import llama_cpp

WARNING, ERROR, CONTINUED = 3, 4, 5
"""Of `enum ggml_log_level`; the numbers that llama-cpp-python 0.3 writes beside it are those of an older ggml."""
FUNCTION = re.compile(r"^(?:[\w:~]+: )+")
"""The function of llama.cpp's source that a line begins with."""
FOLDER = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+)+[\\/](?=[^\s\\/])")

_lines: list[tuple[int, str]] = []


def _keep(level: int, text: bytes, _user_data: object) -> None:
    message = text.decode("utf-8", "replace")
    if level == CONTINUED and _lines:
        # Dots of progress continue a line too; only what continues a kept line is kept.
        previous_level, previous_text = _lines[-1]
        _lines[-1] = (previous_level, previous_text if previous_text.endswith("\n") else previous_text + message)
    elif level in (WARNING, ERROR):
        _lines.append((level, message))
    if level == ERROR:
        sys.stderr.write(message)


# Kept by the module: a callback that were collected would be called all the same.
_callback = llama_cpp.llama_log_callback(_keep)


def listen() -> None:
    """Have llama.cpp log here, in the place of llama-cpp-python, which prints."""
    llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))


def mark() -> int:
    """How much was logged until now."""
    return len(_lines)


def errors(since: int) -> list[str]:
    """The errors since the mark, in plain words: the cause first, what came of it after."""
    return _plain(since, ERROR)


def warnings(since: int) -> list[str]:
    """The warnings since the mark."""
    return _plain(since, WARNING)


def _plain(since: int, level: int) -> list[str]:
    messages = (FUNCTION.sub("", text.strip()) for line_level, text in _lines[since:] if line_level == level)
    return [FOLDER.sub("", message)[:300] for message in messages if message]
