"""The content-addressed cache: what an artifact is made of in, its folder out; built once, whole or not there."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from bench.files import write_atomically, writing
from bench.records import ArtifactRecord

MANIFEST = "artifact.json"
USED = "last-used"
MAKING = "making-"
UNREADABLE = (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError)
Kind = Literal["model", "reference"]
Build = Callable[[Path], tuple[str, ...]]
"""Writes an artifact's files into the folder it is given, and returns notes; raises where that fails."""


class Artifact(Struct, frozen=True):
    """An artifact that is there: its record and its folder."""

    record: ArtifactRecord
    folder: Path


class Entry(Struct, frozen=True):
    """A line of `bench cache list`."""

    key: str
    kind: str
    size_bytes: int
    created: str
    used_days_ago: float
    what: str


class Artifacts:
    """The cache's artifacts under `root`; several runs may share it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, parts: dict[str, str]) -> Artifact | None:
        """The artifact made of exactly these parts, if it is there."""
        return self._read(self.root / key_of(parts))

    def held(self, key: str) -> Artifact | None:
        """The artifact of a key that was recorded, if it is there; that counts as a use."""
        found = self._read(self.root / key)
        if found:
            _touch(found.folder)
        return found

    def ensure(self, kind: Kind, parts: dict[str, str], build: Build) -> Artifact:
        """The artifact made of these parts, built now if it is not there.

        A second run that wants the same artifact waits for the first one's. The files are written aside and the folder
        is renamed when all is there, so no reader ever sees half of it.
        """
        folder = self.root / key_of(parts)
        with writing(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                found = self._read(folder)
                artifact = found or self._build(kind, parts, folder, build)
                _touch(artifact.folder)
                return artifact

    def _build(self, kind: Kind, parts: dict[str, str], folder: Path, build: Build) -> Artifact:
        aside = self.root / f"{MAKING}{folder.name}"
        shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed: whoever holds the lock is the only builder
        aside.mkdir()
        start = time.monotonic()
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
            write_atomically(aside / MANIFEST, msgspec.json.format(msgspec.json.encode(record)))
            shutil.rmtree(folder, ignore_errors=True)  # damaged: it is there, but could not be read
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return Artifact(record, folder)

    def _read(self, folder: Path) -> Artifact | None:
        try:
            record = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ArtifactRecord)
            held = sum((folder / name).stat().st_size for name in record.files)
        except (FileNotFoundError, NotADirectoryError, *UNREADABLE):
            return None
        # A power cut may leave files short that were not on the disk yet.
        return Artifact(record, folder) if held == record.size_bytes else None

    def all(self) -> Iterator[Artifact]:
        """Every artifact that can be read, the last used first."""
        folders = [folder for folder in self.root.glob("*") if (folder / MANIFEST).exists()]
        for folder in sorted(folders, key=_last_used, reverse=True):
            if artifact := self._read(folder):
                yield artifact

    def entries(self) -> list[Entry]:
        """What `bench cache list` shows."""
        return [_entry(artifact) for artifact in self.all()]

    def verify(self) -> dict[str, list[str]]:
        """The files of each damaged artifact: missing, or with other content than when they were made."""
        damaged: dict[str, list[str]] = {}
        for folder in sorted(path for path in self.root.glob("*") if path.is_dir() and not _is_aside(path)):
            wrong = _damage(folder)
            if wrong:
                damaged[folder.name] = wrong
        return damaged

    def remove(self, key: str) -> int:
        """Delete one artifact; the bytes that this frees, 0 where another run was first."""
        folder = self.root / key
        lock = Path(f"{folder}.lock")
        with writing(folder), FileLock(lock):
            freed = _delete(folder)
            with contextlib.suppress(OSError):  # Windows deletes no open file
                lock.unlink()
        return freed

    def prune(self, unused_days: float) -> dict[str, int]:
        """Delete what was not used for so many days, and what a stopped run left half made; freed bytes by key."""
        old = [a.record.key for a in self.all() if _age_days(_last_used(a.folder)) >= unused_days]
        return {key: self.remove(key) for key in old} | self._sweep()

    def _sweep(self) -> dict[str, int]:
        """Delete what killed runs left half made: nobody holds its lock."""
        freed: dict[str, int] = {}
        for path in self.root.glob(f"{MAKING}*"):
            key = path.name.removeprefix(MAKING)
            with contextlib.suppress(Timeout), writing(path), FileLock(f"{self.root / key}.lock", timeout=0):
                freed[path.name] = _delete(path)
        return freed


def key_of(parts: dict[str, str]) -> str:
    """The key of an artifact made of these parts, 24 hex digits; the order of the parts does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its relative name."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (MANIFEST, USED):
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _damage(folder: Path) -> list[str]:
    try:
        record = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ArtifactRecord)
    except (OSError, *UNREADABLE):
        return [f"{MANIFEST} cannot be read"]
    have = hashes(folder)
    missing = [f"{name} is missing" for name in record.files if name not in have]
    return missing + [f"{name} has changed" for name, sha in record.files.items() if have.get(name, sha) != sha]


def _entry(artifact: Artifact) -> Entry:
    record = artifact.record
    what = " ".join(record.parts[name] for name in ("model", "recipe", "workload") if name in record.parts)
    used = round(_age_days(_last_used(artifact.folder)), 2)
    return Entry(record.key, record.kind, record.size_bytes, record.created, used, what)


def _delete(folder: Path) -> int:
    """The bytes of what was there."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    return size


def _is_aside(path: Path) -> bool:
    return path.name.startswith(MAKING)


def _touch(folder: Path) -> None:
    (folder / USED).touch()
    os.utime(folder / USED)


def _last_used(folder: Path) -> float:
    for name in (USED, MANIFEST):
        if (folder / name).exists():
            return (folder / name).stat().st_mtime
    return 0.0


def _age_days(moment: float) -> float:
    return max(0.0, time.time() - moment) / 86400
