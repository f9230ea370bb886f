"""Measures the peak resident memory of this process on every operating system."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_rss_bytes() -> int:
    """The peak resident memory since the process started, in bytes.

    On Linux it is read from `/proc`. The value of getrusage is inherited from the parent process, so a small worker of
    a large parent would start with the peak of its parent.
    """
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        match = HIGH_WATER.search(Path("/proc/self/status").read_text("utf-8", "replace"))
        if match:
            return int(match[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
