"""Work beside other work ends together, keeps its limits, and leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from bench.prepare import threads as module
from bench.prepare.threads import Slots, Stop, Stopped, Threads, locked, stop_of_thread


def test_a_block_ends_when_all_of_its_threads_have_ended_and_those_that_they_started():
    done: list[str] = []
    with Threads(Stop()) as threads:

        def first() -> str:
            threads.start(lambda: (time.sleep(0.05), done.append("second")))
            done.append("first")
            return "an answer"

        future = threads.start(first)
    assert done == ["first", "second"]
    assert future.result() == "an answer"


def test_the_error_of_one_thread_ends_the_others_and_is_raised():
    stop, waited = Stop(), []

    def waits() -> None:
        try:
            while True:
                stop.check()
                time.sleep(0.01)
        finally:
            waited.append("ended")

    def fails() -> None:
        raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="on fire"), Threads(stop) as threads:  # noqa: PT012 - the block is what is tested
        threads.start(waits)
        threads.start(fails)
    assert waited == ["ended"]


def test_a_thread_that_waits_for_one_that_failed_raises_what_that_one_raised():
    def fails() -> None:
        raise ValueError("a broken file")

    with pytest.raises(ValueError, match="a broken file"), Threads(Stop()) as threads:  # noqa: PT012
        inner = threads.start(fails)
        threads.start(inner.result)


def test_what_interrupts_the_block_kills_processes_and_ends_the_threads():
    stop = Stop()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def waits() -> None:
        with stop.ends(process.kill):
            process.wait()
            stop.check()

    with pytest.raises(KeyboardInterrupt), Threads(stop) as threads:  # noqa: PT012
        future = threads.start(waits)
        raise KeyboardInterrupt
    assert process.wait(5) != 0
    assert isinstance(future.exception(5), Stopped)


def test_what_begins_after_the_end_is_ended_at_once():
    stop, ended = Stop(), []
    stop.set()
    with stop.ends(lambda: ended.append("killed")):
        assert ended == ["killed"]
    with pytest.raises(Stopped):
        stop.check()


def test_a_thread_knows_its_stop():
    stop = Stop()
    with Threads(stop) as threads:
        assert threads.start(stop_of_thread).result() is stop
    assert stop_of_thread() is not stop


# --- limits -----------------------------------------------------------------------------------------------------------


def most_at_once(slots: Slots, needs: list[int]) -> int:
    """How many pieces of work with these needs of memory run at once."""
    running, most, lock = 0, 0, threading.Lock()

    def work(need: int) -> None:
        nonlocal running, most
        with slots.held(memory_bytes=need):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.03)
            with lock:
                running -= 1

    with Threads(slots.stop) as threads:
        for need in needs:
            threads.start(work, need)
    return most


@pytest.mark.parametrize(
    ("number", "memory", "needs", "most"),
    [
        (1, None, [1, 1, 1], 1),
        (2, None, [9, 9, 9], 2),
        (4, 10, [4, 4, 4, 4], 2),
        (4, 10, [99, 99, 99], 1),  # more than there is: alone, and not never
    ],
)
def test_as_many_run_at_once_as_slots_and_memory_allow(number, memory, needs, most):
    assert most_at_once(Slots(number, memory_bytes=memory), needs) == most


def test_the_lowest_rank_goes_first(monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    slots, order = Slots(1), []

    def work(rank: int) -> None:
        with slots.held((rank,)):
            order.append(rank)

    with Threads(slots.stop) as threads, slots.held():
        for rank in (2, 1, 3):
            threads.start(work, rank)
        while len(slots._waiting) < 3:
            time.sleep(0.01)
    assert order == [1, 2, 3]


def test_a_wait_for_a_slot_or_a_lock_ends_where_all_must_end(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    stop = Stop()
    slots = Slots(1, stop)

    def waits_for_slot() -> None:
        with slots.held():
            pytest.fail("the slot is taken")

    def waits_for_lock() -> None:
        with locked(tmp_path / "a.lock", stop):
            pytest.fail("the lock is taken")

    with FileLock(tmp_path / "a.lock"), slots.held():
        with Threads(stop) as threads:
            futures = [threads.start(waits_for_slot), threads.start(waits_for_lock)]
            time.sleep(0.1)
            stop.set()
        assert [type(future.exception()) for future in futures] == [Stopped, Stopped]
    # What was not taken is free again.
    with Slots(1).held(), locked(tmp_path / "a.lock"):
        pass


def test_a_wait_for_another_process_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    told = threading.Event()

    def needs() -> str:
        with locked(tmp_path / "a.lock", waits=told.set):
            return "free again"

    with Threads(Stop()) as threads:
        with FileLock(tmp_path / "a.lock"):
            future = threads.start(needs)
            assert told.wait(10)
        assert future.result() == "free again"
