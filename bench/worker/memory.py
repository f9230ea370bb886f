"""The peak resident memory of this process, in bytes, on every operating system."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_rss_bytes() -> int:
    """The most memory that this process has held since it began.

    On Linux not getrusage's: a process inherits that from the one that started it, so a small worker of a large parent
    would begin with the parent's peak.
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
