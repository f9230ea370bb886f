"""Reads what native code wrote to the log since a mark, to report a provider's own reason for a failure.

Providers write the reason to stderr only: no exception contains it (PROVIDERS 2). The log is a file that the parent
process opened as stderr. Linux can read it through the descriptor; other systems report no reason, but keep the log.
"""

from __future__ import annotations

import os

from bench.shared import native_errors


def mark() -> int:
    """The present length of the log in bytes."""
    return os.fstat(2).st_size


def first_error(since: int) -> str:
    """The first error that onnxruntime or a provider logged since the mark; an empty string if there is none."""
    try:
        with open("/proc/self/fd/2", "rb") as log:  # noqa: PTH123 - a descriptor, not a path
            log.seek(since)
            # The first error is near the mark, and a provider may log without end.
            text = log.read(64 * 1024).decode("utf-8", "replace")
    except OSError:
        return ""
    return native_errors.first_error(text)
