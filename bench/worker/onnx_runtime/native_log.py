"""What native code wrote to the log since a mark, so that a provider's own reason can be told.

Providers say on stderr alone why they are not there: no exception carries it (PROVIDERS 2). The log is a file that the
parent opened; Linux lets it be read through the descriptor. Elsewhere nothing is found, and the log is still kept.
"""

from __future__ import annotations

import os

from bench.shared import native_errors


def mark() -> int:
    """How long the log is now."""
    return os.fstat(2).st_size


def first_error(since: int) -> str:
    """The first error that onnxruntime or a provider logged since the mark, in plain words; or nothing."""
    try:
        with open("/proc/self/fd/2", "rb") as log:  # noqa: PTH123 - a descriptor, not a path
            log.seek(since)
            text = log.read(64 * 1024).decode("utf-8", "replace")
    except OSError:
        return ""
    return native_errors.first_error(text)
