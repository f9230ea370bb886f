"""Remembers in the cache which runs this user made on this machine: only those may say what is executed.

The mark is in the cache and not in the run, so a run that comes from elsewhere cannot bring one. It covers the whole of
`run.json`: a run in which somebody has changed anything is not the run that was marked.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from bench import privacy, reading
from bench.errors import DiskError
from bench.files import write_atomically
from bench.prepare.beside import beside
from bench.records import Run

FOLDER = "own-runs"
KEPT = 8
"""How many states of one run are remembered: `run.json` is written again while the run goes on."""
UNREADABLE = (OSError, *reading.UNREADABLE)


def mark(run: Run, cache: Path) -> None:
    """Remember a run, in its present state, as one of this user on this machine. Called before it is written."""
    # As it is stored: what is private in it is left out there.
    run = msgspec.json.decode(privacy.stored(run), type=Run)
    state = _state(run)
    states = [other for other in _marked(run, cache) if other != state]
    # Where neither can be written, the run goes on; it can only not be resumed.
    for place in (cache, beside(cache)):
        with contextlib.suppress(DiskError):
            write_atomically(_file(run, place), json.dumps([*states, state][-KEPT:]).encode())
            return


def is_own(run: Run, cache: Path) -> bool:
    """Whether this user made the run on this machine with this cache, and nobody has changed it since."""
    return _state(run) in _marked(run, cache)


def _marked(run: Run, cache: Path) -> list[str]:
    """The marked states of a run: in the cache, or beside one that could not be written."""
    return [state for place in (cache, beside(cache)) for state in _states(_file(run, place))]


def _file(run: Run, cache: Path) -> Path:
    identity = json.dumps([run.name, run.created, run.seed])
    return cache / FOLDER / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"


def read(path: Path) -> list[str]:
    """The remembered states in a mark. Raises one of `UNREADABLE`."""
    return msgspec.json.decode(path.read_bytes(), type=list[str])


def _states(path: Path) -> list[str]:
    try:
        return read(path)
    except UNREADABLE:
        return []


def _state(run: Run) -> str:
    """A digest of the user and of everything in the run's record, which holds the machine."""
    # All of it, and no choice of fields: which of them decide what is executed changes with the code that reads them.
    return hashlib.sha256(json.dumps([_user(), _plain(run)], sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The values by name without those that are a field's default.

    So a later version, whose records have more fields, still knows the run.
    """
    if isinstance(value, msgspec.Struct):
        fields = {field.name: (getattr(value, field.name), field) for field in msgspec.structs.fields(value)}
        return {name: _plain(each) for name, (each, field) in fields.items() if each != _default(field)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def _user() -> str:
    """The user, by number where the system has numbers."""
    if hasattr(os, "getuid"):
        return str(os.getuid())
    return getpass.getuser()
