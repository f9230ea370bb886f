"""The peak resident memory of this process, in bytes, on every operating system."""

from __future__ import annotations

import sys


def peak_rss_bytes() -> int:
    """The most memory that this process has held since it began."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
