"""The content-addressed cache: what an artifact is made of in, its folder out; built once, whole or not there."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock
from msgspec import Struct

from bench.files import write_atomically, writing
from bench.records import ArtifactRecord

MANIFEST = "artifact.json"
USED = "last-used"
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

    def ensure(self, kind: Literal["model", "reference"], parts: dict[str, str], build: Build) -> Artifact:
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

    def _build(self, kind: Literal["model", "reference"], parts: dict[str, str], folder: Path, build: Build) -> Artifact:
        aside = self.root / f"making-{uuid.uuid4().hex}"
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
        except (FileNotFoundError, NotADirectoryError, msgspec.ValidationError, msgspec.DecodeError):
            return None
        return Artifact(record, folder) if all((folder / name).exists() for name in record.files) else None

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
        """Delete one artifact; the bytes that this frees."""
        folder = self.root / key
        with FileLock(f"{folder}.lock"):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
        Path(f"{folder}.lock").unlink(missing_ok=True)
        return size

    def prune(self, unused_days: float) -> dict[str, int]:
        """Delete what was not used for so many days, and what a stopped run left half made; freed bytes by key."""
        old = [a.record.key for a in self.all() if _age_days(_last_used(a.folder)) >= unused_days]
        left = [path for path in self.root.glob("making-*") if _age_days(path.stat().st_mtime) >= min(unused_days, 1)]
        return {name: self.remove(name) for name in [*old, *(path.name for path in left)]}


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
    except (OSError, msgspec.ValidationError, msgspec.DecodeError):
        return [f"{MANIFEST} cannot be read"]
    have = hashes(folder)
    missing = [f"{name} is missing" for name in record.files if name not in have]
    return missing + [f"{name} has changed" for name, sha in record.files.items() if have.get(name, sha) != sha]


def _entry(artifact: Artifact) -> Entry:
    record = artifact.record
    what = " ".join(record.parts[name] for name in ("model", "recipe", "workload") if name in record.parts)
    used = round(_age_days(_last_used(artifact.folder)), 2)
    return Entry(record.key, record.kind, record.size_bytes, record.created, used, what)


def _is_aside(path: Path) -> bool:
    return path.name.startswith("making-")


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
