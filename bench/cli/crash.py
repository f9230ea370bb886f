"""Writes a crash report: what is needed to find a fault of this program, without the user's names and folders."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import importlib.metadata
import os
import platform
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from bench import __version__, store
from bench.default_paths import CACHE_VARIABLE, cache_path
from bench.errors import BenchError, folder_of_fault
from bench.files import write_atomically

FOLDER = "crashes"
"""The folder of the cache for reports that belong to no run."""
PACKAGES = ("msgspec", "typer", "rich", "numpy", "scipy", "pandas", "jinja2", "altair", "psutil", "filelock")
HOW_TO_SEND = "open an issue of the project and attach that file"


def report(error: BaseException, words: Sequence[str]) -> str:
    """Write a crash report, and return the one sentence for the user."""
    summary = scrubbed(" ".join("".join(traceback.format_exception_only(error)).split()))[:300]
    fault = f"this is a fault of touchstone-bench, not of your input: {summary}"
    name = f"crash-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    content = scrubbed(text(error, words)).encode("utf-8", errors="backslashreplace")
    cache = os.environ.get(CACHE_VARIABLE)
    for folder in (folder_of_fault(error), cache_path(Path(cache) if cache else None) / FOLDER):
        with contextlib.suppress(BenchError, OSError):
            if folder is not None:
                write_atomically(folder / name, content)
                kept = f"; what was measured is kept: bench run --resume {folder}" if is_run(folder) else ""
                return f"{fault}; {HOW_TO_SEND}: {folder / name}{kept}"
    # Nothing can be written, so the report itself is printed.
    print(content.decode("utf-8"), file=sys.stderr)  # noqa: T201
    return f"{fault}; open an issue of the project with the report above, which could not be written to a file"


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run that can be resumed."""
    return (folder / store.RUN).exists()


def text(error: BaseException, words: Sequence[str]) -> str:
    """The report: command line, versions and traceback."""
    lines = [
        "Crash report of touchstone-bench",
        f"time: {dt.datetime.now(dt.UTC).isoformat(timespec='seconds')}",
        f"command: bench {shlex.join(words)}",
        f"touchstone-bench {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "",
        *("".join(traceback.format_exception(error)).rstrip().splitlines()),
    ]
    return "\n".join(lines) + "\n"


def scrubbed(content: str) -> str:
    """The text without the home folder, the user's name and the machine's name."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if len(home) > 1:
        content = content.replace(home, "~")
    user = ""
    with contextlib.suppress(Exception):  # it raises several errors where a user has no name
        user = getpass.getuser()
    for name, instead in ((user, "USER"), (platform.node(), "HOST")):
        # Whole words alone: a user may be named `a`.
        if len(name) > 2 and name != "root":
            content = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", instead, content)
    return content


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
