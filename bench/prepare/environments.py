"""Installs the runtimes of a matrix as virtual environments, once for each list of requirements."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import reading
from bench.declare.requirements import exact
from bench.declare.targets import Runtime
from bench.errors import RuntimeSetupError
from bench.files import write_atomically, writing
from bench.prepare import beside, installers, interpreters, runtime_check
from bench.prepare.cache_check import CacheCheck, Thing, Use, damaged, lacks, shown
from bench.prepare.cache_use import REMOVED, USED, touch, used_by_others
from bench.prepare.threads import Slots, Stop, locked
from bench.progress import Progress, duration
from bench.records import RuntimeRecord
from bench.shared.hidden import without_credentials

RECORD = "runtime.json"
UNREADABLE = reading.UNREADABLE


class Environment(Struct, frozen=True):
    """A runtime that is installed: its record, and the interpreter to start."""

    record: RuntimeRecord
    executable: Path


class EnvironmentPool:
    """The runtimes of a matrix by name; each is made, or fails, only once. Several threads may use it."""

    def __init__(
        self,
        known: Mapping[str, Runtime],
        cache: Path,
        progress: Progress,
        slots: Slots | None = None,
        check: CacheCheck | None = None,
    ) -> None:
        self.known, self.cache, self.progress = known, cache, progress
        self.check = check or CacheCheck(say=progress.step)
        self.slots = slots or Slots(1)
        self.environments: dict[str, Environment] = {}
        self._locks = {name: threading.Lock() for name in known}
        # Kept, so that targets that share a runtime do not try a failing installation again.
        self.errors: dict[str, RuntimeSetupError] = {}

    def find(self, name: str) -> Environment | None:
        """The runtime where it exists whole; None where it must be made first. Raises `RuntimeSetupError`."""
        return self._once(name, lambda: find(self.known[name], self.cache, self.check))

    def ensure(self, name: str) -> Environment:
        """The runtime, made now where it does not exist. Raises `RuntimeSetupError`, the same at each call."""
        runtime = self.known[name]
        environment = self._once(name, lambda: ensure(runtime, self.cache, self.progress, self.slots, self.check))
        assert environment is not None
        return environment

    def damage_of(self, name: str) -> str:
        """What is wrong with a runtime that `find` has looked at; empty for one that is whole or not made."""
        return shown(self.check.damaged.get(_folder(self.known[name], self.cache), ()))

    def _once(self, name: str, look: Callable[[], Environment | None]) -> Environment | None:
        with self._locks[name]:
            return self._look(name, look)

    def _look(self, name: str, look: Callable[[], Environment | None]) -> Environment | None:
        if name in self.errors:
            raise self.errors[name]
        if name not in self.environments:
            try:
                environment = look()
            except RuntimeSetupError as error:
                self.errors[name] = error
                raise
            if environment is None:
                return None
            self.environments[name] = environment
        return self.environments[name]


def find(runtime: Runtime, cache: Path, check: CacheCheck | None = None) -> Environment | None:
    """The runtime where it exists or is the user's own interpreter; None where it must be made first.

    With `check`, one that is damaged must be made too.
    """
    if runtime.python:
        return _existing(runtime, interpreters.WORKER_NEEDS)
    folder = _folder(runtime, cache)
    if folder.is_dir():
        # Before it is looked at: from now on it is not removed.
        touch(folder)
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=RuntimeRecord)
    except (OSError, *UNREADABLE):
        # Without a seal it was never finished.
        if check and RUNTIME.seal_of(folder).exists():
            check.found(folder, (f"{RECORD} cannot be read",))
        return None
    executable = _interpreter(folder)
    # The link of an environment points to nothing after its base Python was removed.
    if not executable.exists():
        if check:
            check.found(folder, ("its interpreter is missing",))
        return None
    if runtime.base and _find_base(runtime.base, cache, check) is None:
        return None
    if check and check.problems(RUNTIME, folder):
        return None
    if runtime.base and runtime.base.python:
        # The packages of the user's own interpreter may have changed since.
        record = _inspect(runtime, executable)
    # Runtimes of two names share an environment; its record has the name under which it was made.
    return Environment(msgspec.structs.replace(record, name=runtime.name), executable)


def _find_base(runtime: Runtime, cache: Path, check: CacheCheck | None = None) -> Environment | None:
    """The runtime that another one extends, where it exists; the other one installs what the worker needs."""
    return _existing(runtime, ()) if runtime.python else find(runtime, cache, check)


def ensure(
    runtime: Runtime,
    cache: Path,
    progress: Progress,
    slots: Slots | None = None,
    check: CacheCheck | None = None,
) -> Environment:
    """The runtime, made now where it does not exist; two processes or threads at the same time make it once.

    `slots` limit how many are made at once. Raises `RuntimeSetupError` where a requirement cannot be installed, and
    `DiskError` where the disk is full.
    """
    check = check or CacheCheck(say=progress.step)
    if environment := find(runtime, cache, check):
        return environment
    slots = slots or Slots(1)
    base = None
    if runtime.base:
        base = _find_base(runtime.base, cache, check) or ensure(runtime.base, cache, progress, slots, check)
    folder = _folder(runtime, cache)
    if not beside.is_writable(folder.parent):
        raise _not_makeable(runtime, cache, folder, check)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)

        def waits() -> None:
            progress.work(runtime.name, f"waiting for another process that installs runtime {runtime.name}")

        with locked(Path(f"{folder}.lock"), slots.stop, waits):
            # Another process may have made it while this one waited for the lock.
            if environment := find(runtime, cache, check):
                progress.work(runtime.name, None)
                return environment
            with slots.held():
                if folder in check.damaged:
                    return _make_again(runtime, cache, progress, base, slots.stop, check)
                return _make(runtime, folder, progress, base, slots.stop)


def _not_makeable(runtime: Runtime, cache: Path, folder: Path, check: CacheCheck) -> RuntimeSetupError:
    missing = lacks(cache, f"runtime {runtime.name}")
    return check.of_damage(folder, f"runtime {runtime.name}", missing) or missing


def _make_again(
    runtime: Runtime, cache: Path, progress: Progress, base: Environment | None, stop: Stop, check: CacheCheck
) -> Environment:
    """Make a damaged runtime again, with the versions that it had. Raises `DamagedCacheError`; it stays then."""
    folder, what = _folder(runtime, cache), f"runtime {runtime.name}"
    problems = check.damaged[folder]
    if used_by_others(cache, folder):
        raise damaged(folder, what, problems, "another run uses it", "wait until the other run has ended")
    aside = cache / REMOVED / f"{folder.name}-{uuid.uuid4().hex[:8]}"
    aside.parent.mkdir(exist_ok=True)
    pins = _versions(folder) if base is None else ()
    # It is kept until the new one is there: else nobody could tell afterwards that it was damaged and not missing.
    folder.rename(aside)
    try:
        environment = _make(runtime, folder, progress, base, stop, pins)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            aside.rename(folder)
        if isinstance(error, RuntimeSetupError) and (known := check.of_damage(folder, what, error)):
            raise known from None
        raise
    shutil.rmtree(aside, ignore_errors=True)
    check.healed(RUNTIME, folder, what)
    return environment


def _versions(folder: Path) -> tuple[str, ...]:
    """The packages of a runtime with their versions, as requirements; empty where its record cannot be read."""
    with contextlib.suppress(OSError, *UNREADABLE):
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=RuntimeRecord)
        pins = (exact(name, version) for name, version in record.packages.items())
        return tuple(pin for pin in pins if pin)
    return ()


def key(runtime: Runtime) -> str:
    """The identity of a runtime on this machine, 16 hex digits: its requirements and its base interpreter."""
    interpreter = [platform.python_implementation(), platform.python_version(), sys.platform, platform.machine()]
    # The order in which a matrix lists requirements means nothing; the base interpreter decides which wheels fit.
    # Without passwords, which change, and which a run that goes on may lack.
    identity = [
        *sorted(map(without_credentials, runtime.requires)),
        runtime.python or "",
        *interpreters.INSTALLED,
        *interpreter,
    ]
    if runtime.base:
        identity.append(key(runtime.base))
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _folder(runtime: Runtime, cache: Path) -> Path:
    return cache / "runtimes" / key(runtime)


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _make(
    runtime: Runtime,
    folder: Path,
    progress: Progress,
    base: Environment | None,
    stop: Stop,
    pins: tuple[str, ...] = (),
) -> Environment:
    start = time.monotonic()
    progress.step(f"runtime {runtime.name}: installing {', '.join(runtime.requires)}")
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    try:
        installers.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], runtime, progress, stop)
        executable = _interpreter(folder)
        if base:
            _see_packages(runtime, executable, base)
        try:
            installers.install(runtime, executable, progress, stop, pins)
        except RuntimeSetupError:
            # A file or an address that was installed has no version in an index.
            if not pins:
                raise
            installers.install(runtime, executable, progress, stop)
        record = _inspect(runtime, executable)
    except BaseException:
        # Half of it is of no use, and takes the space that others need.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        progress.work(runtime.name, None)
    # Last: a folder without a record is incomplete.
    write_atomically(folder / RECORD, msgspec.json.format(msgspec.json.encode(record)))
    RUNTIME.seal(folder)
    took = duration(time.monotonic() - start)
    progress.step(f"runtime {runtime.name}: {len(record.packages)} packages in {took}")
    return Environment(record, executable)


def _existing(runtime: Runtime, needs: tuple[str, ...]) -> Environment:
    """The user's own interpreter, used unchanged. Raises `RuntimeSetupError` where it lacks one of its needs."""
    executable = interpreters.program_of(runtime)
    record = _inspect(runtime, executable)
    interpreters.check_needs(runtime, record, needs)
    return Environment(record, executable)


def _inspect(runtime: Runtime, executable: Path) -> RuntimeRecord:
    return interpreters.record_of(runtime, executable, key(runtime))


def _see_packages(runtime: Runtime, executable: Path, base: Environment) -> None:
    """Let an environment import the packages of its base, after its own. Raises `RuntimeSetupError`."""
    python, own = interpreters.site(runtime, executable)
    base_python, folders = interpreters.shared_folders(runtime, base.executable)
    if python != base_python:
        message = f"runtime '{runtime.name}' extends '{runtime.extends}', which is Python {base_python}, not {python}"
        raise RuntimeSetupError(message, f"give [runtimes.{runtime.name}] a list that extends no other")
    # A user's interpreter may have several folders: those of the system, and those that its own .pth files name.
    (Path(own) / "base.pth").write_text("".join(f"{folder}\n" for folder in folders), encoding="utf-8")


def damage(folder: Path) -> list[str]:
    """The problems of a runtime: no record, an interpreter that does not start, or changed packages."""
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=RuntimeRecord)
    except (OSError, *UNREADABLE):
        return [f"{RECORD} cannot be read"]
    try:
        now = _inspect(Runtime(record.name, record.requires), _interpreter(folder)).packages
    except RuntimeSetupError as error:
        return [error.message]
    names = sorted({*record.packages, *now})
    changed = [(name, record.packages.get(name), now.get(name)) for name in names]
    return [f"{name} was {old or 'absent'} and is {new or 'absent'}" for name, old, new in changed if old != new]


RUNTIME = Thing(
    "runtime",
    adopt=lambda folder: damage(folder) or runtime_check.changed_packages(folder),
    ignored=frozenset((USED,)),
    is_foreign=runtime_check.is_code,
    outside=lambda folder: runtime_check.base_interpreters(_interpreter(folder)),
    without=damage,
)


def uses_of(environment: Environment) -> list[Use]:
    """What a worker uses of the cache when it starts in a runtime: nothing for an interpreter of the user."""
    record = environment.record
    # Scripts/python.exe or bin/python of the environment's folder.
    folder = environment.executable.parent.parent
    is_ours = not record.existing and RUNTIME.seal_of(folder).exists()
    return [Use(RUNTIME, folder, f"runtime {record.name}")] if is_ours else []
