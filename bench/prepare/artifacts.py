"""Keeps artifacts in a cache, by the digest of the parts that they are made from, and finds those of an earlier run."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bench import reading
from bench.errors import DiskError
from bench.files import FULL, write_atomically, writing
from bench.prepare import beside
from bench.prepare.cache_check import CacheCheck, Thing, lacks
from bench.prepare.cache_use import USED, touch
from bench.prepare.seals import SEAL
from bench.prepare.threads import Stop, locked
from bench.records import ArtifactRecord, Cell, Note, Run, Source, Weights, schema_1

MANIFEST = "artifact.json"
MAKING = "making-"
UNREADABLE = reading.UNREADABLE
FULL_BYTES = 2**20
"""A disk with less is full: file systems keep some blocks back, and a failed write leaves a part of one."""
KEY = re.compile(r"[0-9a-f]{24}")
"""A run's file may come from anywhere, and its keys become names of folders: nothing else is accepted."""
Kind = Literal["model", "reference", "source"]
Build = Callable[[Path], tuple[Note, ...]]
"""Writes an artifact's files into the given folder, and returns notes; raises where that fails."""


class Artifact(Struct, frozen=True):
    """An artifact in the cache: its record and its folder."""

    record: ArtifactRecord
    folder: Path


class Artifacts:
    """The artifacts under `root`; several processes and threads may share them at the same time."""

    def __init__(self, root: Path, stop: Stop | None = None, check: CacheCheck | None = None) -> None:
        self.root, self.stop = root, stop
        self.check = check or CacheCheck()

    def find(self, parts: dict[str, str]) -> Artifact | None:
        """The artifact made of exactly these parts; None where the cache does not hold it, or holds a damaged one."""
        return self._read(self.root / key_of(parts))

    def find_key(self, key: str) -> Artifact | None:
        """The artifact of a recorded key; None where the cache does not hold it whole. This counts as a use."""
        return self._read(self.root / key)

    def ensure(
        self,
        kind: Kind,
        parts: dict[str, str],
        build: Build,
        turn: AbstractContextManager[None] | None = None,
        waits: Callable[[], None] | None = None,
    ) -> Artifact:
        """The artifact made of these parts, built now where the cache does not hold it, while `turn` is held.

        A second run or thread that needs the same artifact waits for the first, and calls `waits` meanwhile. The files
        are written to another folder, which is renamed at the end, so that no reader sees an incomplete artifact.
        Raises `DiskError`, `ReadOnlyCacheError`, and what `build` raises.
        """
        folder = self.root / key_of(parts)
        # Without the lock, which cannot be had in a read-only cache: an artifact that is there is whole.
        if artifact := self._read(folder):
            return artifact
        if not beside.is_writable(self.root):
            raise lacks(self.root.parent, f"the {kind} {parts.get('what', '')} of {parts.get('model', '')}".strip())
        with writing(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{folder}.lock"), self.stop, waits):
                artifact = self._read(folder)
                if artifact is None:
                    with turn or nullcontext():
                        artifact = self._build(kind, parts, folder, build)
                    touch(artifact.folder)
                return artifact

    def _build(self, kind: Kind, parts: dict[str, str], folder: Path, build: Build) -> Artifact:
        aside = self.root / f"{MAKING}{folder.name}"
        shutil.rmtree(aside, ignore_errors=True)  # of a killed run: the holder of the lock is the only builder
        aside.mkdir()
        start, free_bytes = time.monotonic(), shutil.disk_usage(self.root).free
        try:
            notes = build(aside)
            files = hashes(aside)
            record = ArtifactRecord(
                key=folder.name,
                kind=kind,
                parts=parts,
                files=files,
                size_bytes=sum((aside / name).stat().st_size for name in files),
                seconds=round(time.monotonic() - start, 2),
                created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                notes=notes,
            )
            # Last: an artifact with a manifest is complete.
            write_atomically(aside / MANIFEST, msgspec.json.format(msgspec.json.encode(record)))
            THING.seal(aside)
            shutil.rmtree(folder, ignore_errors=True)  # it exists, but is damaged
            aside.rename(folder)
        except Exception as error:
            if full := _full_disk(error, aside, free_bytes):
                raise full from None
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return Artifact(record, folder)

    def _read(self, folder: Path) -> Artifact | None:
        if not folder.is_dir():
            return None
        # Before it is read: from now on it is not removed.
        touch(folder)
        # A damaged artifact is as good as none: it is built again in its place.
        if self.check.problems(THING, folder):
            return None
        try:
            return Artifact(read_record(folder), folder)
        except (OSError, *UNREADABLE):
            self.check.found(folder, (f"{MANIFEST} cannot be read",))
            return None


def _full_disk(error: Exception, aside: Path, free_bytes: int) -> DiskError | None:
    """The error of a full disk, if that is why a build failed: what libraries say of it has many forms."""
    says_so = isinstance(error, DiskError) or (isinstance(error, OSError) and error.errno in FULL)
    with contextlib.suppress(OSError):
        left_bytes = shutil.disk_usage(aside).free
        # Another process may have filled it, too.
        is_full = left_bytes < min(FULL_BYTES, free_bytes / 100)
        if is_full or (says_so and left_bytes < FULL_BYTES):
            message = f"{aside.parent} has no room: it had {free_bytes / 2**20:,.0f} MiB, and an artifact needs more"
            return DiskError(message, "free some space (`bench cache prune`), or name another --cache-dir")
    return None


def read_record(folder: Path) -> ArtifactRecord:
    """The record of an artifact's folder. Raises `OSError` or one of `UNREADABLE`."""
    content = (folder / MANIFEST).read_bytes()
    try:
        return msgspec.json.decode(content, type=ArtifactRecord)
    # An artifact of an earlier version is not built again for its notes, and a recorded base may need it.
    except msgspec.ValidationError:
        return schema_1.artifact(content)


def key_of(parts: dict[str, str]) -> str:
    """The key of an artifact made of these parts, 24 hex digits; the order of the parts does not matter."""
    # 96 bits are enough against a collision by chance.
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its relative name."""
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        # They are written after the hashes, or at each use.
        if path.is_file() and path.name not in (MANIFEST, USED, SEAL):
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def damage(folder: Path) -> list[str]:
    """The files of an artifact that are missing or have changed since it was made."""
    try:
        record = read_record(folder)
    except (OSError, *UNREADABLE):
        return [f"{MANIFEST} cannot be read"]
    digests = hashes(folder)
    missing = [f"{name} is missing" for name in record.files if name not in digests]
    return missing + [f"{name} has changed" for name, sha in record.files.items() if digests.get(name, sha) != sha]


THING = Thing("artifact", damage)


# --- of an earlier run ------------------------------------------------------------------------------------------------


class RecordedArtifacts(Struct, frozen=True):
    """Recorded keys, by the names in the matrix; empty for a run that makes its own artifacts."""

    artifacts: dict[str, str] = {}
    """By `Cell.artifact_name`."""
    references: dict[str, str] = {}
    """By `model/workload`."""
    sources: dict[str, str] = {}
    """By model: the digest of its source."""
    weights: dict[str, Weights] = {}

    def artifact(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The artifact that the earlier run used for a cell; None where the cache does not hold it."""
        return _find_key(self.artifacts.get(cell.artifact_name), cache)

    def reference(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The inputs and reference outputs of the earlier run; None where the cache does not hold them."""
        return _find_key(self.references.get(f"{cell.model}/{cell.workload}"), cache)

    def lease(self, cache: Artifacts) -> None:
        """Say that all of them are used from now on: without their sources they cannot be made again."""
        for key in (*self.artifacts.values(), *self.references.values()):
            if KEY.fullmatch(key) and (cache.root / key).is_dir():
                touch(cache.root / key)

    def differs(self, model: str, source: Source) -> bool:
        """Whether a source is known to differ from the earlier run's."""
        # A run that recorded no digest gives no reason to doubt the source.
        return self.sources.get(model, source.digest) != source.digest

    def is_runnable_from_cache(self, cell: Cell, cache: Artifacts) -> bool:
        """Whether the cell can be measured without its source: its artifact and its reference are in the cache."""
        runs_artifact = cell.format is not None and self.artifact(cell, cache) is not None
        return runs_artifact and self.reference(cell, cache) is not None

    def stand_in(self, model: str) -> Source:
        """A source record for cells that need no source: without a path."""
        return Source("folder", "", self.weights.get(model, "random"), self.sources.get(model, ""))


def recorded_artifacts(run: Run) -> RecordedArtifacts:
    """The recorded keys of a run."""
    return RecordedArtifacts(run.artifacts, run.references, run.source_digests, run.weights)


def _find_key(key: str | None, cache: Artifacts) -> Artifact | None:
    return cache.find_key(key) if key is not None and KEY.fullmatch(key) else None
