"""Collects the errors and warnings that llama.cpp logs, and gives those since a mark."""

from __future__ import annotations

import ctypes
import re
import sys

import llama_cpp

WARNING, ERROR, CONTINUED = 3, 4, 5
"""Values of `enum ggml_log_level`; those in llama-cpp-python 0.3 belong to an older ggml."""
FUNCTION = re.compile(r"^(?:[\w:~]+: )+")
"""The name of llama.cpp's function at the start of a line."""
# Messages are published with the report, and paths can show user names.
FOLDER = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+)+[\\/](?=[^\s\\/])")

_lines: list[tuple[int, str]] = []


def _keep(level: int, text: bytes, _user_data: object) -> None:
    message = text.decode("utf-8", "replace")
    if level == CONTINUED and _lines:
        # Progress dots continue a line too; text is appended only while the recorded line has no end.
        previous_level, previous_text = _lines[-1]
        _lines[-1] = (previous_level, previous_text if previous_text.endswith("\n") else previous_text + message)
    elif level in (WARNING, ERROR):
        _lines.append((level, message))
    # The log shows errors as they come: after a crash `_lines` is lost.
    if level == ERROR:
        sys.stderr.write(message)


# A global: llama.cpp would call the function also after Python has freed it.
_callback = llama_cpp.llama_log_callback(_keep)


def listen() -> None:
    """Direct the log of llama.cpp to this module; llama-cpp-python would print it."""
    llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))


def mark() -> int:
    """The number of lines recorded until now."""
    return len(_lines)


def errors(since: int) -> list[str]:
    """The errors since the mark without function names and folders; the cause comes first."""
    return _plain(since, ERROR)


def warnings(since: int) -> list[str]:
    """The warnings since the mark."""
    return _plain(since, WARNING)


def _plain(since: int, level: int) -> list[str]:
    messages = (FUNCTION.sub("", text.strip()) for line_level, text in _lines[since:] if line_level == level)
    return [FOLDER.sub("", message)[:300] for message in messages if message]
