"""Where small things go that a cache cannot take: a cache that is read-only, of somebody else, or full."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def beside(cache: Path) -> Path:
    """The folder of this user for what a cache cannot take; one for each cache."""
    from platformdirs import user_state_path

    name = hashlib.sha256(str(cache.absolute()).encode()).hexdigest()[:16]
    return user_state_path("touchstone-bench", appauthor=False) / "caches" / name


def is_writable(cache: Path) -> bool:
    """Whether files can be made in a cache that exists; of one that does not exist, whether it can be made."""
    place = next((folder for folder in (cache, *cache.parents) if folder.exists()), cache)
    return os.access(place, os.W_OK)


def writable(cache: Path) -> Path:
    """The cache itself where it can be written, else the folder beside it."""
    return cache if is_writable(cache) else beside(cache)
