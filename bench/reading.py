"""Reads files that somebody else may have written: ordinary files only, and never more than a limit."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from bench.errors import BenchError

MATRIX_BYTES = 4 * 2**20
RECORD_BYTES = 128 * 2**20
"""The longest `run.json` or `gate.json`: about 50,000 cells."""
LINE_BYTES = 256 * 2**20
"""The longest observation: a sustained minute of a call of some microseconds."""
CONFIG_BYTES = 64 * 2**20
"""The longest configuration or index of a model."""
MOST_VALUES = 3_000_000
"""In a configuration, an index or a header: a value of three letters may take a hundred bytes of memory."""
UNREADABLE = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for damaged bytes: for some it raises errors of Python."""
LARGEST, SMALLEST = 2**63 - 1, -(2**63)
LONG_NUMBER = re.compile(rb"[\[,:\s]-?[0-9]{19}")
"""The start of an integer that may not fit into 64 bits; 18 digits always do."""
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def opened(path: Path, error: type[BenchError]) -> Iterator[BinaryIO]:
    """Open an ordinary file. Raises `error` for a pipe or a device, which could be without an end, and `OSError`."""
    # Looked at before it is opened: opening a device can have effects, and a pipe waits for its writer.
    check_kind(path, error)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        # It may have been replaced since.
        _check_kind(path, os.fstat(descriptor).st_mode, error)
        yield file


def content(path: Path, most_bytes: int, error: type[BenchError]) -> bytes:
    """The content of an ordinary file. Raises `error` where it is none or longer than the limit, and `OSError`."""
    with opened(path, error) as file:
        # One byte more: the size that a file system tells may not be the whole, as in /proc.
        read = file.read(most_bytes + 1)
    if len(read) > most_bytes:
        raise error(f"{path} is longer than {most_bytes / 2**20:.0f} MiB", "it is damaged, or not of this kind")
    return read


def check_values(path: Path, json: bytes, error: type[BenchError]) -> None:
    """Raise `error` for JSON with so many values that they would fill the memory."""
    if sum(map(json.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise error(f"{path} holds more than {MOST_VALUES:,} values", "it is damaged, or not of this kind")


def huge_integer(json: bytes, decode: Any) -> bool:
    """Whether JSON holds an integer beyond 64 bits: no measurement has one, and arrays cannot hold it.

    `decode` makes plain values of the bytes; it is called only where a long number is seen.
    """
    return LONG_NUMBER.search(json) is not None and _has_huge(decode(json))


def _has_huge(value: Any) -> bool:
    # A list of what is still to be looked at, since values of others may be nested thousands deep.
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, int) and not SMALLEST <= value <= LARGEST:
            return True
    return False


def check_kind(path: Path, error: type[BenchError]) -> None:
    """Raise `error` for a pipe or a device in place of a file, and `OSError` where there is nothing."""
    _check_kind(path, path.stat().st_mode, error)


def _check_kind(path: Path, mode: int, error: type[BenchError]) -> None:
    kind = KINDS.get(stat.S_IFMT(mode))
    # `read` tells of a folder what it always has.
    if kind and not stat.S_ISDIR(mode):
        raise error(f"{path} is {kind} and no file", "write its content to a file, and name that")


def exists(path: Path) -> bool:
    """Whether there is something; also for names of others, of which no file system can have one."""
    try:
        return path.exists()
    # A name that is too long, or with a zero byte.
    except (OSError, ValueError):
        return False
