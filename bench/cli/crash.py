"""Writes a crash report: what is needed to find a fault of this program, without the user's names and folders."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from bench import __version__, foreign_text, privacy, store
from bench.commands import joined
from bench.default_paths import CACHE_VARIABLE, CRASHES, cache_path
from bench.errors import BenchError, folder_of_fault
from bench.files import write_atomically

PACKAGES = ("msgspec", "typer", "rich", "numpy", "scipy", "pandas", "jinja2", "altair", "psutil", "filelock")
HOW_TO_SEND = "open an issue of the project and attach that file"


def report(error: BaseException, words: Sequence[str]) -> str:
    """Write a crash report, and return the one sentence for the user."""
    summary = foreign_text.line(privacy.scrub("".join(traceback.format_exception_only(error))))[:300]
    fault = f"this is a fault of touchstone-bench, not of your input: {summary}"
    name = f"crash-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    content = foreign_text.lines(privacy.scrub(text(error, words))).encode("utf-8", errors="backslashreplace")
    cache = os.environ.get(CACHE_VARIABLE)
    for folder in (folder_of_fault(error), cache_path(Path(cache) if cache else None) / CRASHES):
        with contextlib.suppress(BenchError, OSError):
            if folder is not None:
                write_atomically(folder / name, content)
                go_on = joined(("bench", "run", "--resume", str(folder), *_cache_of(words)))
                kept = f"; what was measured is kept: {go_on}" if is_run(folder) else ""
                return f"{fault}; {HOW_TO_SEND}: {folder / name}{kept}"
    # Nothing can be written, so the report itself is printed.
    print(content.decode("utf-8"), file=sys.stderr)  # noqa: T201
    return f"{fault}; open an issue of the project with the report above, which could not be written to a file"


def _cache_of(words: Sequence[str]) -> tuple[str, ...]:
    """The option `--cache-dir` of a command line: with another cache the run would be that of somebody else."""
    for number, word in enumerate(words):
        if word == "--cache-dir":
            return tuple(words[number : number + 2])
        if word.startswith("--cache-dir="):
            return (word,)
    return ()


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


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
