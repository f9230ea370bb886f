"""Lists, checks and removes what the cache holds, also while other processes use the cache."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from bench.declare import manifest_memory, registry
from bench.declare.suggest import nearest
from bench.default_paths import CRASHES
from bench.errors import UsageError
from bench.files import writing
from bench.prepare import artifacts, code_digest, environments, own_runs, probe_memory, seals, worker_code
from bench.prepare.cache_check import Thing
from bench.prepare.cache_use import REMOVED, last_used, removing
from bench.prepare.leases import Users
from bench.prepare.sources import hub, wheel
from bench.records import RuntimeRecord

DAY_S = 86400.0
R = TypeVar("R")


class Entry(Struct, frozen=True):
    """One thing that the cache holds: a line of `bench cache list`."""

    kind: str
    key: str
    what: str
    size_bytes: int
    created: str
    """The day, as ISO 8601."""
    used_days_ago: float
    unfinished: bool
    """Whether a running process is writing it, or a stopped process left it: no other process can use it."""


class Damage(Struct, frozen=True):
    """One thing in the cache that has changed since it was made, and its problems."""

    kind: str
    key: str
    problems: tuple[str, ...]


class Pruned(Struct, frozen=True):
    """What was removed, and what stayed because a process uses it."""

    removed: tuple[Entry, ...]
    spared: tuple[Entry, ...]

    @property
    def freed_bytes(self) -> int:
        """The disk space of what was removed."""
        return sum(entry.size_bytes for entry in self.removed)


class Kind(Struct, frozen=True):
    """How one kind of thing is stored: its place, its description, its check, and when it is unfinished.

    Each is a folder; with `is_file` it is a file.
    """

    place: str
    pattern: str
    describe: Callable[[Path], str]
    damage: Callable[[Path], list[str]]
    lock: bool = False
    """Whether it is written under a lock of its own, `<folder>.lock`."""
    unfinished: Callable[[Path], bool] = lambda _: False
    is_file: bool = False
    only_named: bool = False
    """Whether `prune` removes it only where its kind is named: nothing can make it again."""


def entries(cache: Path, kinds: Sequence[str] = ()) -> list[Entry]:
    """List what the cache holds, by kind, the last used first. Raises `UsageError` for an unknown kind."""
    listed = [_entry(name, folder) for name, folder in _folders(cache, kinds)]
    order = list(KINDS)
    return sorted(listed, key=lambda entry: (order.index(entry.kind), entry.used_days_ago, entry.key))


def verify(cache: Path, kinds: Sequence[str] = ()) -> list[Damage]:
    """Find damaged things: hash files again and start interpreters. This takes as long as reading the whole cache.

    Raises `UsageError` for an unknown kind.
    """
    # An unfinished entry is of a process that may still write it: its files are no damage.
    checked = ((name, folder, KINDS[name]) for name, folder in _folders(cache, kinds))
    damages = (Damage(n, folder.name, tuple(k.damage(folder))) for n, folder, k in checked if not k.unfinished(folder))
    return [damage for damage in damages if damage.problems]


def prune(cache: Path, unused_days: float, kinds: Sequence[str] = ()) -> Pruned:
    """Remove what was not used for `unused_days` days, and what a stopped process left unfinished.

    What a running process has made or used stays. Raises `UsageError` for an unknown kind.
    """
    return _remove(
        cache,
        kinds,
        lambda entry: (
            entry.unfinished
            or (entry.used_days_ago >= unused_days and (entry.kind in kinds or not KINDS[entry.kind].only_named))
        ),
    )


def prune_damaged(cache: Path, kinds: Sequence[str] = ()) -> Pruned:
    """Remove what `verify` finds damaged; what a running process uses stays."""
    damaged = {(damage.kind, damage.key) for damage in verify(cache, kinds)}
    return _remove(cache, kinds, lambda entry: (entry.kind, entry.key) in damaged)


def _remove(cache: Path, kinds: Sequence[str], is_chosen: Callable[[Entry], bool]) -> Pruned:
    removed: list[Entry] = []
    spared: list[Entry] = []
    # Listed before the lock is taken: an unknown kind raises without waiting for other processes.
    chosen = [(name, folder) for name, folder in _folders(cache, kinds)]
    with removing(cache) as users:
        shutil.rmtree(cache / REMOVED, ignore_errors=True)  # of a process that was stopped
        for name, folder in chosen:
            entry = _entry(name, folder)
            if is_chosen(entry):
                is_removed = _move_aside(cache, folder, users, lock=KINDS[name].lock)
                (removed if is_removed else spared).append(entry)
        shutil.rmtree(cache / REMOVED, ignore_errors=True)
    return Pruned(tuple(removed), tuple(spared))


def _move_aside(cache: Path, folder: Path, users: Callable[[], Users], *, lock: bool) -> bool:
    """Move a folder to `REMOVED` unless a running process has made or used it; return whether it was moved."""
    name = folder.relative_to(cache).as_posix()
    aside = cache / REMOVED / f"{folder.name}-{uuid.uuid4().hex[:8]}"
    # A folder whose builder holds its lock is in use, however old it is.
    guard = _lock_of(folder) if lock else None
    with writing(folder), contextlib.suppress(Timeout), guard.acquire(timeout=0) if guard else contextlib.nullcontext():
        if users().use(name, last_used(folder)):
            return False
        # One rename, so that a process sees the whole folder or none.
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
        if users().use(name, last_used(aside)):  # used at this very moment
            with contextlib.suppress(OSError):  # its user has made it again
                aside.rename(folder)
            return False
        with contextlib.suppress(OSError):
            folder.with_name(f"{folder.name}.{seals.SEAL}").unlink(missing_ok=True)
        if guard:
            with contextlib.suppress(OSError):  # Windows deletes no open file
                Path(guard.lock_file).unlink()
        return True
    return False


def _lock_of(folder: Path) -> FileLock:
    name = folder.name.removeprefix(artifacts.MAKING)
    return FileLock(folder.with_name(f"{name}.lock"))


def _folders(cache: Path, kinds: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for name in kinds:
        if name not in KINDS:
            raise UsageError(f"the cache has no kind '{name}'", nearest(name, KINDS))
    for name, kind in KINDS.items():
        if not kinds or name in kinds:
            paths = sorted((cache / kind.place).glob(kind.pattern))
            yield from ((name, path) for path in paths if (path.is_file() if kind.is_file else path.is_dir()))


def _entry(name: str, folder: Path) -> Entry:
    kind, used = KINDS[name], last_used(folder)
    with contextlib.suppress(OSError):
        return Entry(
            kind=name,
            key=folder.name,
            what=kind.describe(folder),
            size_bytes=size_of(folder),
            created=dt.datetime.fromtimestamp(_created(folder), dt.UTC).date().isoformat(),
            used_days_ago=round(max(0.0, time.time() - used) / DAY_S, 2),
            unfinished=kind.unfinished(folder),
        )
    return Entry(name, folder.name, "", 0, "", 0.0, unfinished=True)  # removed a moment ago


def _created(folder: Path) -> float:
    """The oldest time in a folder's first level: a finished folder does not change. Of a file, its time."""
    if not folder.is_dir():
        return folder.stat().st_mtime
    return min((path.lstat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder, or of a file. Links count as 0: the hub's cache links to its files."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    waiting = [str(folder)]
    while waiting:
        # Another process may remove a folder meanwhile, and some cannot be read: the size of the rest is still of use.
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as listed:
            for item in listed:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                elif not item.is_symlink():
                    total += item.stat(follow_symlinks=False).st_size
    return total


# --- one description and one check a kind -----------------------------------------------------------------------------


def _artifact(folder: Path) -> str:
    record = _read(artifacts.read_record, folder)
    parts = (record.parts.get(name) for name in ("model", "recipe", "workload")) if record else ()
    return " ".join([record.kind, *filter(None, parts)]) if record else "unreadable"


def _runtime(folder: Path) -> str:
    record = _read(_runtime_record, folder)
    return f"{record.name}: {', '.join(record.requires)}" if record else "unreadable"


def _runtime_record(folder: Path) -> RuntimeRecord:
    return msgspec.json.decode((folder / environments.RECORD).read_bytes(), type=RuntimeRecord)


def _wheel(folder: Path) -> str:
    return ", ".join(path.name for path in sorted(folder.glob("*.whl")))


def _hub_model(folder: Path) -> str:
    return folder.name.removeprefix("models--").replace("--", "/")


def _worker_code(folder: Path) -> str:
    return f"{sum(1 for _ in folder.rglob('*.py'))} files that workers import"


def _compiled(folder: Path) -> str:
    return ", ".join(sorted(path.name.replace("--", "/") for path in folder.iterdir()))


def _probe(file: Path) -> str:
    facts = _read(probe_memory.read, file)
    if facts is None:
        return "unreadable"
    device = f"on {facts.device.label} " if facts.device else ""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts.versions.items()))
    return f"a usable target {device}with {versions or 'no versions'}"


def _probe_damage(file: Path) -> list[str]:
    return [] if _read(probe_memory.read, file) else ["is no record of a target"]


def _code_facts(file: Path) -> str:
    if file.name == registry.MEMORY:
        remembered = _read(manifest_memory.read, file)
        return f"manifests and lists of recipes: {len(remembered.values)}" if remembered else "unreadable"
    digests = _read(code_digest.read, file)
    return "unreadable" if digests is None else f"digests of the worker's code: {len(digests)}"


def _code_facts_damage(file: Path) -> list[str]:
    # A damaged one is ignored, and made again.
    return ["cannot be read"] if _code_facts(file) == "unreadable" else []


def _own_run(file: Path) -> str:
    states = _read(own_runs.read, file)
    return "unreadable" if states is None else f"the mark of a run of yours: {len(states)} of its states"


def _own_run_damage(file: Path) -> list[str]:
    return [] if _read(own_runs.read, file) else ["is no mark of a run"]


def _crash(file: Path) -> str:
    with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as report:
        words = next((line for line in report if line.startswith("command: ")), "")
        return f"a fault of {words.removeprefix('command: ').strip()}" if words else "unreadable"
    return "unreadable"


def _sealed_damage(thing: Thing, folder: Path) -> list[str]:
    """What has changed since a folder was sealed, all of its files read; without a seal, what its record shows."""
    seal = seals.read(thing.seal_of(folder))
    if seal is None:
        return thing.adopt(folder)
    endless = seals.ReadBudget(math.inf)
    compared = seals.compare(folder, seal, endless, thing.ignored, thing.is_foreign, thorough=True, since_s=math.inf)
    return list(compared.problems)


def _artifact_damage(folder: Path) -> list[str]:
    return artifacts.damage(folder) or _sealed_damage(artifacts.THING, folder)


def _runtime_damage(folder: Path) -> list[str]:
    return environments.damage(folder) or _sealed_damage(environments.RUNTIME, folder)


def _code_damage(folder: Path) -> list[str]:
    return worker_code.damage(folder) or _sealed_damage(worker_code.CODE, folder)


def _no_damage(_folder: Path) -> list[str]:
    """A compile cache, or a report of a fault, has no record to check it against."""
    return []


def _read(read: Callable[[Path], R], folder: Path) -> R | None:
    try:
        return read(folder)
    # A list names what it can: `verify` says what is wrong with the others.
    except (OSError, *artifacts.UNREADABLE):
        return None


def _is_making(folder: Path) -> bool:
    return folder.name.startswith(artifacts.MAKING)


def _has_no_record(folder: Path) -> bool:
    return not (folder / environments.RECORD).exists()


def _always(_folder: Path) -> bool:
    """A run removes its compile cache when it ends, so an existing one belongs to a running or a killed run."""
    return True


KINDS: dict[str, Kind] = {
    "artifact": Kind("artifacts", "*", _artifact, _artifact_damage, lock=True, unfinished=_is_making),
    "runtime": Kind("runtimes", "*", _runtime, _runtime_damage, lock=True, unfinished=_has_no_record),
    "wheel": Kind("sources/wheels", "*", _wheel, wheel.damage),
    "hub-model": Kind("sources/hub", "models--*", _hub_model, hub.damage),
    "worker-code": Kind("worker", "*", _worker_code, _code_damage, unfinished=_is_making),
    # No lock: only the run that owns the folder writes to it.
    "compiled": Kind("compiled", "run-*", _compiled, _no_damage, unfinished=_always),
    "probe": Kind(probe_memory.FOLDER, "*.json", _probe, _probe_damage, is_file=True),
    "code-facts": Kind(".", "*.json", _code_facts, _code_facts_damage, is_file=True),
    # Without its mark a run is one of somebody else, which is not resumed.
    "own-run": Kind(own_runs.FOLDER, "*.json", _own_run, _own_run_damage, is_file=True, only_named=True),
    "crash": Kind(CRASHES, "crash-*.txt", _crash, _no_damage, is_file=True),
}
"""Every kind of thing in the cache, in the order of a list."""
