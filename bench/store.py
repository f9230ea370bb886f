"""Reads and writes a run's folder: `run.json`, and `results.jsonl` with one line for each observation."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from filelock import FileLock, Timeout

from bench import privacy, reading
from bench.errors import RunFolderError, faults_belong_to
from bench.files import append_synced, write_atomically, writing
from bench.records import SCHEMA, Machine, Observation, Run, schema_1

RUN, RESULTS, LOGS, LOCK = "run.json", "results.jsonl", "logs", ".lock"
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
MOST_CELLS, MOST_BLOCKS = 100_000, 1_000_000
"""No run has more: a file that says so is damaged, or not of a run."""

PART_BYTES = 2**20
UNREADABLE = reading.UNREADABLE

# What `Intel(R) Core(TM)`, `with Radeon Graphics` and the like add to a name that has room for four words.
NOISE = {"r", "tm", "c", "cpu", "with", "processor", "core", "gen", "th"}


class _Versioned(msgspec.Struct):
    schema: int | None = None


def new_name(machine: Machine, now: dt.datetime) -> str:
    """The name of a new folder, `<machine>-<time>`: the CPU's short name and the machine key, never a hostname."""
    # The fingerprint adds family and model to a brand without a number.
    brand = machine.cpu.brand.partition("(family")[0].lower()
    words = "".join(c if c.isalnum() else " " for c in brand).split()
    short = "-".join([word for word in words if word not in NOISE][:4])[:40].rstrip("-")
    return f"{short or 'machine'}-{machine.key[:6]}-{now:%Y%m%d-%H%M%S}"


def create(folder: Path, run: Run) -> None:
    """Create a run's folder. Raises `RunFolderError` where one holds a run, and leaves it as it is."""
    with writing(folder):
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    # Two runs that start in one second cannot both get the folder. One that was killed before its first file is reused.
    with _locked(folder):
        if (folder / RUN).exists() or (folder / RESULTS).exists():
            raise RunFolderError(f"there is a run in {folder} already", "name another --out, or --resume it")
        save(folder, run)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no other process measures into it. Raises `RunFolderError` where another does.

    The operating system ends the hold of a process that is killed. A fault of this program that occurs meanwhile
    leaves its report in the folder. Readers, such as `bench report`, need no hold: every file is whole at any time.
    """
    if not (folder / RUN).exists():
        _read_run(folder)  # it says what is missing
    with _locked(folder), faults_belong_to(folder):
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # A lock is a file that is written, too.
    refuse_links(folder, (LOCK,))
    lock = FileLock(folder / LOCK)
    with writing(folder / LOCK):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            message = f"another process of bench measures into {folder}"
            raise RunFolderError(message, "wait until it has ended, or interrupt it") from None
        except NotImplementedError:
            pass
        except OSError as error:
            # A file system without locks, as some of a network are: better a run without one than no run.
            if error.errno not in WITHOUT_LOCKS:
                raise
    try:
        yield
    finally:
        # The file stays: without it, a process that has just opened it and one that makes it anew would both hold it.
        lock.release()


def save(folder: Path, run: Run) -> None:
    """Write `run.json`, whole or not at all, without what is private."""
    write_atomically(folder / RUN, msgspec.json.format(privacy.stored(run)))


def append(folder: Path, *observations: Observation) -> None:
    """Add observations, all or none; they are on the disk when this returns."""
    append_synced(folder / RESULTS, b"".join(privacy.stored(observation) + b"\n" for observation in observations))


def read(folder: Path) -> tuple[Run, tuple[Observation, ...]]:
    """Read a run and its observations; an incomplete last line is left out. Raises `RunFolderError`."""
    run = _read_run(folder)
    return run, tuple(_observations(folder / RESULTS))


def refuse_links(folder: Path, names: Iterable[str] = (RUN, RESULTS, LOGS, LOCK)) -> None:
    """Raise `RunFolderError` where a file or a folder that is written to is a symbolic link.

    A folder of somebody else could lead with one to any file of the user. The folder itself may be a link of the user.
    """
    for path in (folder / name for name in names):
        inside = path.iterdir() if path.is_dir() and not path.is_symlink() else ()
        for each in (path, *inside):
            if each.is_symlink():
                raise RunFolderError(
                    f"{each} is a symbolic link, and nothing is written through one", "remove the link"
                )


def heal(folder: Path) -> None:
    """Remove what a process that was killed has left half written: a file, and the last line of the observations.

    Raises `RunFolderError` where what a run writes to is a symbolic link.
    """
    refuse_links(folder)
    for half in folder.glob(f".{RUN}-*"):
        # Of a process that was killed while it wrote.
        with contextlib.suppress(OSError):
            half.unlink()
    path = folder / RESULTS
    if not path.exists():
        return
    with reading.opened(path, RunFolderError) as file:
        whole, size = _whole_bytes(file)
    if path.stat().st_nlink > 1:
        _own_copy(path, whole)
    elif whole < size:
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())


def _own_copy(path: Path, size: int) -> None:
    """Make the file one of this folder alone: a hard link of a backup, or of a stranger, leads to another one."""
    aside = path.with_name(f".{path.name}-own")
    with writing(path):
        aside.unlink(missing_ok=True)
        try:
            with path.open("rb") as file, aside.open("xb") as copy:
                shutil.copyfileobj(file, copy)
                copy.truncate(size)
                copy.flush()
                os.fsync(copy.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _whole_bytes(file: BinaryIO) -> tuple[int, int]:
    """The end of the last complete line, and the size of the file."""
    size = file.seek(0, os.SEEK_END)
    end = size
    # From the end and in parts: the file may be larger than the memory.
    while end:
        start = max(0, end - PART_BYTES)
        file.seek(start)
        cut = file.read(end - start).rfind(b"\n")
        if cut >= 0:
            return start + cut + 1, size
        end = start
    return 0, size


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file of observations; it does not exist where a run stopped before its first observation."""
    if not os.path.lexists(path):
        yield BytesIO()
        return
    try:
        with reading.opened(path, RunFolderError) as file:
            yield file
    # Also a link that leads nowhere: without it, every cell would look as if its turn had not come.
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", "check the file's permissions") from None


def _read_run(folder: Path) -> Run:
    path = folder / RUN
    try:
        content = reading.content(path, reading.RECORD_BYTES, RunFolderError)
    # Also for a file that is named in place of a folder.
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(f"{folder} holds no run: there is no {RUN}", "name a folder under reports/") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", "check the file's permissions") from None
    # First, since a file of another schema would fail with a message about a field.
    schema = _checked_schema(path, content)
    try:
        run = schema_1.run(content) if schema == schema_1.SCHEMA else msgspec.json.decode(content, type=Run)
        _check_integers(content)
        if len(run.cells) > MOST_CELLS:
            raise msgspec.ValidationError(f"{len(run.cells)} cells, more than {MOST_CELLS}")
    except UNREADABLE as error:
        raise RunFolderError(f"{path} does not hold what schema {SCHEMA} says: {error}", "was it edited?") from None
    return run


def _checked_schema(path: Path, content: bytes) -> int:
    try:
        schema = msgspec.json.decode(content, type=_Versioned).schema
    except UNREADABLE as error:
        raise RunFolderError(f"{path} is not JSON of a run: {error}", "the file is damaged; run again") from None
    if schema not in (schema_1.SCHEMA, SCHEMA):
        hint = f"use the version of touchstone-bench that wrote it, or run again with this one (schema {SCHEMA})"
        raise RunFolderError(f"{path} has schema {schema}, and this version reads schema {SCHEMA}", hint)
    return schema


def _observations(path: Path) -> list[Observation]:
    observations: list[Observation] = []
    with _opened(path) as file:
        # readline with a limit: a damaged file may hold one endless line.
        for number, line in enumerate(iter(lambda: file.readline(reading.LINE_BYTES), b""), start=1):
            if len(line) == reading.LINE_BYTES:
                raise RunFolderError(f"{path} line {number} is too long to be an observation", "the file is damaged")
            if not line.endswith(b"\n"):
                break  # cut off by a power cut or a full disk: that observation was never finished
            try:
                observations.append(_observation(line))
            except UNREADABLE as error:
                hint = "the file is damaged there; remove the line to read the rest"
                raise RunFolderError(f"{path} line {number} is no observation: {error}", hint) from None
    return observations


def _observation(line: bytes) -> Observation:
    """Decode a line of this schema or of an older one: a run that is resumed may hold both."""
    observation = _decoded(line)
    _check_integers(line)
    if not 0 <= observation.round <= MOST_BLOCKS:
        raise msgspec.ValidationError(f"block {observation.round}, and a run has at most {MOST_BLOCKS}")
    return observation


def _check_integers(content: bytes) -> None:
    if reading.huge_integer(content, msgspec.json.decode):
        raise msgspec.ValidationError("an integer beyond 64 bits")


def _decoded(line: bytes) -> Observation:
    try:
        return msgspec.json.decode(line, type=Observation)
    except msgspec.ValidationError as error:
        try:
            return schema_1.observation(line)
        except msgspec.ValidationError:
            # The message is about today's schema: most lines are of it.
            raise error from None
