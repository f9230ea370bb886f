"""Runs work beside other work in threads that end together, with limits on how much runs at once."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from filelock import FileLock, Timeout

LOOK_S = 0.5
"""How often a waiting thread looks whether all must end."""
END_S = 15.0
"""How long the threads may take to end after an error or Ctrl-C."""
T = TypeVar("T")
Rank = tuple[int, ...]


class Stopped(Exception):  # noqa: N818 - it is no error: another thread failed, or the user pressed Ctrl-C
    """The work must end; who caused that reports why."""


class Stop:
    """Ends all work that shares it: threads see it at their next look, processes are killed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._ends: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count()

    def set(self) -> None:
        """End everything, once."""
        self._event.set()
        with self._lock:
            ends, self._ends = list(self._ends.values()), {}
        for end in ends:
            with contextlib.suppress(OSError):
                end()

    def check(self) -> None:
        """Raise `Stopped` where all must end."""
        if self._event.is_set():
            raise Stopped

    def also(self, end: Callable[[], None]) -> None:
        """Call `end` too if all must end."""
        with self._lock:
            self._ends[next(self._numbers)] = end
        if self._event.is_set():
            end()

    @contextlib.contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end`, which kills a process, if all must end while the block runs."""
        number = next(self._numbers)
        with self._lock:
            self._ends[number] = end
        try:
            # It may have been set just before.
            if self._event.is_set():
                end()
            yield
        finally:
            with self._lock:
                self._ends.pop(number, None)


_OF_THREAD = threading.local()


def stop_of_thread() -> Stop:
    """The stop of the threads that this one belongs to; one that is never set elsewhere."""
    return getattr(_OF_THREAD, "stop", None) or Stop()


class Threads:
    """Threads of one block of code: the block ends when all have ended, and raises the first error."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._lock = threading.Lock()
        self._futures: list[Future[Any]] = []
        self._error: BaseException | None = None

    def start(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `work` in a thread of its own; a thread may start others."""
        future: Future[T] = Future()
        with self._lock:
            self._futures.append(future)
        # As a daemon: after Ctrl-C, one that still waits for another process must not keep this one alive.
        threading.Thread(target=self._run, args=(future, work, arguments), daemon=True).start()
        return future

    def _run(self, future: Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        _OF_THREAD.stop = self.stop
        try:
            self.stop.check()
            result = work(*arguments)
        except Stopped as stopped:
            future.set_exception(stopped)
        except BaseException as error:  # noqa: BLE001 - raised again where the threads are joined
            with self._lock:
                self._error = self._error or error
            self.stop.set()
            future.set_exception(error)
        else:
            future.set_result(result)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                # In steps: a wait without an end cannot be interrupted by Ctrl-C on Windows.
                while waiting := self._waiting():
                    wait(waiting, LOOK_S)
        except BaseException:
            self._end()
            raise
        if kind is not None or self._error is not None:
            self._end()
        # What a thread raised is the cause of a `Stopped` here.
        if self._error is not None and (kind is None or isinstance(error, Stopped)):
            raise self._error

    def _waiting(self) -> list[Future[Any]]:
        with self._lock:
            return [future for future in self._futures if not future.done()]

    def _end(self) -> None:
        self.stop.set()
        wait(self._waiting(), END_S)


class Slots:
    """Lets at most some pieces of work run at once, and only as many as fit the memory; the lowest rank goes first."""

    def __init__(self, number: int, stop: Stop | None = None, memory_bytes: int | None = None) -> None:
        self.number, self.stop, self.memory_bytes = number, stop or Stop(), memory_bytes
        self._changed = threading.Condition()
        self._waiting: list[tuple[Rank, int]] = []
        self._numbers = itertools.count()
        self._running = 0
        self._used_bytes = 0

    @contextlib.contextmanager
    def held(self, rank: Rank = (), memory_bytes: int = 0) -> Iterator[None]:
        """Wait for a slot and hold it; work that alone needs more memory than there is runs alone."""
        ticket = (rank, next(self._numbers))
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._fits(ticket, memory_bytes):
                    self._changed.wait(LOOK_S)
                    self.stop.check()
                self._running += 1
                self._used_bytes += memory_bytes
            finally:
                self._waiting.remove(ticket)
                # The next one in line may fit too.
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._used_bytes -= memory_bytes
                self._changed.notify_all()

    def _fits(self, ticket: tuple[Rank, int], memory_bytes: int) -> bool:
        if ticket != min(self._waiting) or self._running >= self.number:
            return False
        whole = self.memory_bytes
        return self._running == 0 or whole is None or self._used_bytes + memory_bytes <= whole


@contextlib.contextmanager
def locked(path: Path, stop: Stop | None = None, waits: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock between processes and threads; a wait for another ends when all must end, and is told by `waits`."""
    lock = FileLock(path)
    stop = stop or Stop()
    while True:
        stop.check()
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LOOK_S)
            break
        if waits:
            waits()
    try:
        yield
    finally:
        lock.release()


def usable_cores() -> int:
    """The number of logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
