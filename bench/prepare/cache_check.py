"""Checks what a run takes from the cache when it takes it, once a run, and tells what was damaged.

Nothing is read while a burst is timed: all is checked before the first block, and again only after a block in which
something failed, or whose files have other times than before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from bench.errors import BenchError, DamagedCacheError, ReadOnlyCacheError
from bench.prepare import seals
from bench.prepare.cache_use import USED
from bench.records import Failure, Note, note

STAGE, DAMAGED, READ_ONLY = "cache", "damaged-cache", "read-only-cache"
"""The stage of a failure, and its kinds."""
USUAL_MINUTES = 8.0
"""The time for measuring where a run names none: that of the budget `quick`."""
MOST_SHOWN = 3
_BEGAN_S = time.time()
"""When this process began: what it has read whole need not be read again by the other side of a gate."""
_KEPT: dict[Path, seals.Seal] = {}
"""Seals by their files, as this process knows them: a read-only cache cannot keep them."""


class Thing(Struct, frozen=True):
    """How one kind of folder is checked."""

    kind: str
    adopt: Callable[[Path], list[str]]
    """Finds the problems of a folder without a seal: of an earlier version, or of a process that was killed."""
    ignored: frozenset[str] = frozenset((USED,))
    is_foreign: Callable[[str], bool] = lambda _: False
    """Whether a file of this name that was added is damage."""
    is_sound: Callable[[Path], bool] | None = None
    """Whether a file that was added is as it should be, where files are added from time to time."""
    outside: Callable[[Path], list[Path]] = lambda _: []
    """Files elsewhere that the folder needs."""
    without: Callable[[Path], list[str]] = lambda _: []
    """Finds the problems of a folder after one of those has changed."""
    is_beside: bool = False
    """Whether the seal is beside the folder, into which nothing may be added."""

    def seal_of(self, folder: Path) -> Path:
        """The file of a folder's seal."""
        return folder.with_name(f"{folder.name}.{seals.SEAL}") if self.is_beside else folder / seals.SEAL

    def seal(self, folder: Path) -> seals.Seal:
        """Seal a folder that was just made."""
        made = seals.make(folder, self.ignored, self.outside(folder))
        seals.write(self.seal_of(folder), made)
        return made


class Use(Struct, frozen=True):
    """Something that was used: its kind, its folder, and what to call it."""

    thing: Thing
    folder: Path
    what: str


class CacheCheck:
    """The checks of one run; several threads may use it."""

    def __init__(self, measuring_minutes: float | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self.budget = seals.ReadBudget(60 * seals.SHARE * (measuring_minutes or USUAL_MINUTES))
        self.say = say
        self.damaged: dict[Path, tuple[str, ...]] = {}
        """The problems of each folder that was found damaged and is not made again so far."""
        self.names: dict[Path, tuple[str, ...]] = {}
        """The files that have them, where a seal shows it."""
        self.notes: list[Note] = []
        """What was made again, for the run's record."""
        self._whole: dict[Path, Thing] = {}
        self._lock = threading.Lock()
        self._locks: dict[Path, threading.Lock] = {}

    def problems(self, thing: Thing, folder: Path, *, again: bool = False, thorough: bool = False) -> tuple[str, ...]:
        """What is wrong with a folder; empty where it is whole. Checked once, unless `again` asks for another look.

        With `thorough` all that this process has not read so far is read, which the budget does not limit.
        """
        with self._lock:
            lock = self._locks.setdefault(folder, threading.Lock())
        with lock:
            if folder in self._whole and not again and not thorough:
                return ()
            found = self._look(thing, folder, thorough=thorough)
            if found:
                self.damaged[folder] = found
                self._whole.pop(folder, None)
            else:
                self.damaged.pop(folder, None)
                self._whole[folder] = thing
            return found

    def _look(self, thing: Thing, folder: Path, *, thorough: bool) -> tuple[str, ...]:
        place = thing.seal_of(folder)
        seal = seals.read(place) or _KEPT.get(place)
        # What this process knows is newer where the file could not be written.
        if (kept := _KEPT.get(place)) and seal and set(kept.files) == set(seal.files):
            seal = max(seal, kept, key=lambda known: min((file.read_s for file in known.files.values()), default=0.0))
        if seal is None:
            if found := thing.adopt(folder):
                return tuple(found)
            _KEPT[place] = thing.seal(folder)
            return ()
        if seals.changed_outside(seal):
            if found := thing.without(folder):
                return tuple(found)
            # An update of the system's interpreter, for example: the folder works with it.
            _KEPT.pop(place, None)
            seal = seals.with_outside(seal, thing.outside(folder))
            seals.write(place, seal)
        compared = seals.compare(
            folder,
            seal,
            self.budget,
            thing.ignored,
            thing.is_foreign,
            thing.is_sound,
            thorough=thorough,
            since_s=_BEGAN_S,
        )
        if compared.is_new:
            _KEPT[place] = compared.seal
            seals.write(place, compared.seal)
        self.names[folder] = compared.names
        return compared.problems

    def found(self, folder: Path, problems: tuple[str, ...]) -> None:
        """Remember the problems of a folder that were seen without a seal."""
        self.damaged[folder] = problems

    def healed(self, thing: Thing, folder: Path, what: str) -> None:
        """Tell that something damaged was made again, and remember it for the run's record."""
        problems = self.damaged.pop(folder, ())
        self._whole[folder] = thing
        _KEPT.pop(thing.seal_of(folder), None)
        if problems:
            self.say(f"{what} was damaged in the cache, and was made again: {shown(problems)}")
            self.notes.append(note("made-again", kind=thing.kind, what=what, problems=shown(problems)))

    def cause(self, uses: Iterable[Use], *, thorough: bool = True) -> DamagedCacheError | None:
        """The error where something that was used is damaged: then what failed says nothing about the target.

        What was read a moment ago is not read again; this may take as long as reading all that was used.
        """
        for use in uses:
            # What was never looked at is not of the cache.
            if use.folder not in self._whole and use.folder not in self.damaged:
                continue
            if found := self.problems(use.thing, use.folder, again=True, thorough=thorough):
                return damaged(use.folder, use.what, found, "it was found when something failed", "")
        return None

    def of_damage(self, folder: Path, what: str, why: BenchError | Failure) -> DamagedCacheError | None:
        """The error for something damaged that could not be made again, because of `why`; None for what was whole."""
        problems = self.damaged.get(folder)
        if problems is None or isinstance(why, DamagedCacheError):
            return None
        hint = why.remedy if isinstance(why, Failure) else why.hint
        return damaged(folder, what, problems, f"it could not be made again: {why.message}", hint)


def damaged(folder: Path, what: str, problems: tuple[str, ...], why: str, hint: str) -> DamagedCacheError:
    """The error for something damaged in the cache: what and where, its problems, and the remedy."""
    remedy = f"{hint}; then run again: what is damaged is made again" if hint else "run again: it is made again then"
    return DamagedCacheError(f"damaged cache: {what} in {folder}: {shown(problems)}; {why}", remedy)


def failure_of(error: BenchError, stage: str) -> Failure:
    """The failure of cells that need what an error speaks of, in a stage of preparation."""
    if isinstance(error, DamagedCacheError):
        return Failure("failed", STAGE, DAMAGED, error.message, error.hint)
    if isinstance(error, ReadOnlyCacheError):
        return Failure("unavailable", STAGE, READ_ONLY, error.message, error.hint)
    return Failure("unavailable", stage, type(error).__name__, error.message, error.hint)


def lacks(cache: Path, what: str) -> ReadOnlyCacheError:
    """The error where a cache that cannot be written does not hold something."""
    hint = f"make it where {cache} can be written, with the same command there, or name another --cache-dir"
    return ReadOnlyCacheError(f"the cache {cache} cannot be written, and does not hold {what}", hint)


def shown(problems: tuple[str, ...]) -> str:
    """The first problems, and how many more there are."""
    more = len(problems) - MOST_SHOWN
    return ", ".join(problems[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
