"""Warm workloads in this process, of an engine whose calls do what the test wants: what is timed, and what is told."""

from __future__ import annotations

import gc
import hashlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builders import a_parity
from msgspec.structs import replace
from workers import HASTE, a_visit

from bench.records import Burst, Bursted, Failed, Held, Hold, Parity, Placement, Profile, Reply, Stage, Traits, Visit
from bench.worker import session_check, warm_session
from bench.worker.warm_session import LEAD_IN_CALLS, LEAD_IN_NS, Peak, lead_in, wait_until_idle

MS = 1_000_000
RIGHT = {batch: np.arange(batch * 10, dtype=np.float32).reshape(batch, 10) + batch for batch in (1, 4)}
"""The answers that the references of `a_visit` hold."""


class Channel:
    """Keeps the replies."""

    def __init__(self) -> None:
        self.said: list[Reply] = []
        self.stage_name = "start"

    def stage(self, name: str, workload: str | None = None) -> None:
        self.stage_name = name
        self.said.append(Stage(name, workload))

    def say(self, reply: Reply) -> None:
        self.said.append(reply)

    def held(self) -> dict[str, Held]:
        return {reply.workload: reply for reply in self.said if isinstance(reply, Held)}


class Session:
    """Calls `work` with the number of each call of the process, and answers rightly; `begun` are the calls so far."""

    threads, versions, notes, device, complaint = 1, {}, (), None, ""

    def __init__(self, work: Callable[[int], object], placement: Placement | None = None) -> None:
        self.work, self.placement = work, placement
        self.begun = 0

    def bind(self, feed: dict[str, np.ndarray]) -> Callable[[], object]:
        def call() -> object:
            self.begun += 1
            self.work(self.begun)
            return {"logits": RIGHT[len(feed["pixel_values"])]}

        return call

    def outputs(self, result: Any) -> Any:
        return result


@pytest.fixture
def opens(monkeypatch) -> Iterator[Callable[[Any], Any]]:
    """Lets the next order open the session given; frees it after the test."""
    waiting: list[Any] = []

    def opening(session: Any) -> Any:
        waiting.append(session)
        return session

    # Taken out of the list, so that the worker's reference to the session is the only one.
    monkeypatch.setattr(session_check, "open_session", lambda *_: waiting.pop())
    monkeypatch.setattr(warm_session, "die_with_parent", lambda: None)
    yield opening
    warm_session.free()


@pytest.fixture
def held(tmp_path, opens):
    """Holds a session whose calls do some work; gives the channel."""

    def hold(work: Callable[[int], object] = lambda _: None, **said: Any) -> Channel:
        opens(Session(work))
        channel = Channel()
        warm_session.hold(Hold(a_visit(tmp_path, **said)), channel)
        return channel

    return hold


def burst(length_s: float = 0.02, workload: str = "b1", channel: Channel | None = None) -> Bursted:
    return warm_session.burst(Burst(workload, length_s), channel or Channel())


# --- what holding tells -----------------------------------------------------------------------------------------------


def test_each_workload_of_a_hold_is_answered_by_its_name(held):
    channel = held(batches=(1, 4))
    assert list(channel.held()) == ["b1", "b4"]
    assert all(reply.parity.cosine == 1.0 for reply in channel.held().values())
    assert [burst(0.001, workload).workload for workload in ("b4", "b1", "b4")] == ["b4", "b1", "b4"]


def test_a_workload_that_fails_is_told_by_name_and_the_others_go_on(tmp_path, opens, capsys):
    class OneFails(Session):
        def bind(self, feed):
            if len(feed["pixel_values"]) == 1:
                raise RuntimeError("no batch of one\nsecond line")
            return super().bind(feed)

    opens(OneFails(lambda _: None))
    channel = Channel()
    warm_session.hold(Hold(a_visit(tmp_path, batches=(1, 4))), channel)
    (failed,) = (reply for reply in channel.said if isinstance(reply, Failed))
    assert (failed.workload, failed.failure.stage, failed.failure.kind) == ("b1", "bind", "RuntimeError")
    assert "second line" in capsys.readouterr().err, "the log has the whole error"
    assert list(channel.held()) == ["b4"]
    assert burst(0.001, "b4").samples_ns
    with pytest.raises(KeyError):
        burst(0.001, "b1")


def test_the_first_call_that_is_told_is_the_first_of_the_process(held):
    """The check of the answers makes calls too: made before the first timed call, they would hide what it costs."""
    channel = held(lambda number: time.sleep(0.05 if number == 1 else 0.0))
    timing = channel.held()["b1"].timing
    assert timing.first_call_ns >= 50 * MS
    assert timing.warmup_ns
    assert max(timing.warmup_ns) < 50 * MS
    assert timing.samples_ns == ()


def test_a_second_hold_frees_the_first_session(tmp_path, opens):
    first = opens(Session(lambda _: None))
    warm_session.hold(Hold(a_visit(tmp_path, batches=(1, 4))), Channel())
    gone = weakref.ref(first)
    del first
    opens(Session(lambda _: None))
    warm_session.hold(Hold(a_visit(tmp_path)), Channel())
    gc.collect()
    assert gone() is None
    with pytest.raises(KeyError):
        burst(workload="b4")


# --- bursts -----------------------------------------------------------------------------------------------------------


def test_a_burst_lasts_its_time_and_tells_the_marks_around_it(held):
    held(lambda _: time.sleep(0.002))
    channel = Channel()
    bursted = burst(0.02, channel=channel)
    assert sum(bursted.samples_ns) >= 20 * MS
    assert min(bursted.samples_ns) >= 2 * MS * 0.95
    assert channel.said == [Stage("lead-in", "b1"), Stage("burst", "b1"), Stage("idle", "b1")]


def test_the_lead_in_comes_before_the_mark_and_is_not_timed(opens, tmp_path):
    session = opens(Session(lambda _: time.sleep(0.001)))
    warm_session.hold(Hold(a_visit(tmp_path)), Channel())
    before, marks = session.begun, []

    class Marking(Channel):
        def stage(self, name: str, workload: str | None = None) -> None:
            marks.append(session.begun)
            time.sleep(0.05)  # belongs to no call

    bursted = burst(0.02, channel=Marking())
    entered, started, ended = marks
    assert entered == before
    assert started - before >= LEAD_IN_CALLS
    assert ended - started == len(bursted.samples_ns), "nothing but the timed calls is between the marks"
    assert min(bursted.samples_ns) < 50 * MS


def test_a_call_of_a_tenth_of_a_second_has_no_lead_in(opens, tmp_path):
    session = opens(Session(lambda _: time.sleep(0.11)))
    warm_session.hold(Hold(a_visit(tmp_path)), Channel())
    before = session.begun
    assert len(burst(0.01).samples_ns) == 1 == session.begun - before


@pytest.mark.parametrize(("call_ns", "calls"), [(1 * MS, 10), (4 * MS, 3), (50 * MS, 2), (1000, 10_000)])
def test_a_lead_in_takes_ten_milliseconds_and_two_calls_at_least(call_ns, calls):
    now, made = [0], count()

    def call() -> None:
        now[0] += call_ns
        next(made)

    lead_in(call, lambda: now[0])
    assert next(made) == calls
    assert now[0] >= LEAD_IN_NS


def test_a_burst_of_very_short_calls_ends_at_the_largest_number(held, monkeypatch):
    monkeypatch.setattr(warm_session, "MAX_CALLS", 5)
    held()
    assert len(burst(1.0).samples_ns) == 5


def test_the_collector_is_off_during_a_burst_and_only_then(held):
    states: list[bool] = []
    held(lambda _: states.append(gc.isenabled()))
    assert set(states) == {True}
    states.clear()
    burst(0.001)
    assert set(states) == {False}
    assert gc.isenabled()


def test_the_collector_works_again_after_a_call_that_failed_in_a_burst(held):
    failing = threading.Event()

    def work(_: int) -> None:
        if failing.is_set():
            raise RuntimeError("in the burst")

    held(work)
    failing.set()
    with pytest.raises(RuntimeError, match="in the burst"):
        burst()
    assert gc.isenabled()


def test_what_a_burst_leaves_behind_is_cleaned_up_before_the_next(held):
    class Litter:
        """Refers to itself, so that only the collector frees it."""

        def __init__(self) -> None:
            self.me = self

    alive: list[weakref.ref[Litter]] = []
    held(lambda _: alive.append(weakref.ref(Litter())))
    burst(0.001)
    made = len(alive)
    burst(0.001)
    assert not any(litter() for litter in alive[:made])


# --- CPU time ---------------------------------------------------------------------------------------------------------


def spin_ns(length_ns: int) -> None:
    """Use so much CPU time in this thread: a wait by the wall clock uses less on a busy machine."""
    end = time.thread_time_ns() + length_ns
    while time.thread_time_ns() < end:
        pass


def test_the_cpu_time_is_that_of_the_timed_calls(held):
    held(lambda _: spin_ns(2 * MS))
    bursted = burst(0.03)
    calls = len(bursted.samples_ns)
    # The lead-in of five calls is not in it, nor the wait until the process is idle.
    assert 2 * MS * calls <= bursted.cpu_ns < 2.2 * MS * calls + 4 * MS


def test_calls_that_sleep_use_no_cpu_time(held):
    held(lambda _: time.sleep(0.005))
    bursted = burst(0.05)
    assert bursted.cpu_ns < 0.2 * sum(bursted.samples_ns)


def test_the_cpu_time_of_all_threads_counts(held):
    def work(_: int) -> None:
        threads = [threading.Thread(target=spin_ns, args=(2 * MS,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    held(work)
    bursted = burst(0.03)
    assert bursted.cpu_ns >= 2 * 2 * MS * len(bursted.samples_ns)


# --- idle -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spinner() -> Iterator[Callable[[float], None]]:
    """Starts a real thread that spins for some seconds, as those of a library do after a call."""
    stop, started = threading.Event(), []

    def spin(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stop.is_set():
            pass

    def start(seconds: float) -> None:
        started.append(threading.Thread(target=spin, args=(seconds,), daemon=True))
        started[-1].start()

    yield start
    stop.set()
    for thread in started:
        thread.join()


def test_a_process_whose_threads_go_on_spinning_is_not_idle(held, spinner):
    channel = held(lambda number: spinner(60.0) if number == 1 else time.sleep(0.001))
    assert channel.held()["b1"].idle is False
    started = time.monotonic()
    assert burst(0.001).idle is False
    assert time.monotonic() - started < 30, "it does not wait for ever"


def test_a_process_is_idle_when_its_threads_have_stopped(held):
    channel = held(lambda _: time.sleep(0.001))
    assert channel.held()["b1"].idle is True
    assert burst(0.001).idle is True


@pytest.mark.skipif(sys.platform != "linux", reason="not on this system: the states of threads are read on Linux only")
def test_a_thread_that_waits_for_a_processor_is_not_idle(monkeypatch):
    """As on a busy machine, where it gets no CPU time while it is looked at."""
    monkeypatch.setattr(warm_session, "process_time_ns", lambda: 0)
    assert wait_until_idle(limit_s=20.0)
    # It releases the interpreter's lock, as a native thread does.
    thread = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"", 2_000_000))
    thread.start()
    assert not wait_until_idle(limit_s=0.05)
    thread.join()
    assert wait_until_idle(limit_s=20.0)


def test_the_end_of_spinning_is_waited_for(spinner):
    spinner(0.1)
    started = time.monotonic()
    assert wait_until_idle(limit_s=20.0)
    assert time.monotonic() - started >= 0.09


# --- models that generate ---------------------------------------------------------------------------------------------


class Stream:
    """Three steps of a millisecond."""

    encode_ns = prompt_tokens = tokens = None

    def __iter__(self) -> Iterator[np.ndarray]:
        for number in range(3):
            spin_ns(MS)
            yield np.array([number])


class Generator(Session):
    """Generates three tokens; `counted_by` says who computes."""

    def __init__(self, counted_by: str) -> None:
        super().__init__(lambda _: None)
        self.counted_by = counted_by

    def begin(self, feed: Any, new: int) -> Stream:
        self.begun += 1
        return Stream()

    def traits(self, sizes: dict[str, int]) -> Traits:
        return Traits(sampling="greedy", counted_by=self.counted_by)


@pytest.fixture
def generating(tmp_path, opens, monkeypatch):
    """Holds a model that generates; gives the session and the channel."""
    monkeypatch.setattr(session_check, "check_generation", lambda *_: a_parity())
    monkeypatch.setattr(warm_session.families, "generates", lambda _: True)

    def hold(counted_by: str = "engine") -> tuple[Generator, Channel]:
        session, channel = opens(Generator(counted_by)), Channel()
        visit = a_visit(tmp_path)
        jobs = tuple(replace(job, sizes={"new": 3}) for job in visit.jobs)
        warm_session.hold(Hold(replace(visit, jobs=jobs, effort=replace(HASTE, warmup_limit_s=0.0))), channel)
        return session, channel

    return hold


def test_the_samples_are_the_generations_of_the_burst_and_no_others(generating):
    session, channel = generating()
    timing, before = channel.held()["b1"].timing, session.begun
    assert before == 1 + len(timing.warmup_ns)
    assert timing.first_call_ns >= 3 * MS
    assert MS <= timing.first_token_ns < timing.first_call_ns
    assert timing.generations == ()
    for _ in range(2):
        bursted = burst(0.01)
        assert [one.total_ns for one in bursted.generations] == list(bursted.samples_ns)
        assert len(bursted.samples_ns) == session.begun - before
        before = session.begun


def test_cpu_time_is_none_where_a_server_computes(generating):
    generating("chunks")
    assert burst(0.01).cpu_ns is None
    generating("server")
    assert burst(0.01).cpu_ns is None
    generating("engine")
    bursted = burst(0.01)
    assert bursted.cpu_ns >= 3 * MS * len(bursted.samples_ns)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_peak_leaves_out_what_a_check_adds():
    seen = iter([100, 300, 300, 300, 350])
    peak = Peak(lambda: next(seen))
    assert peak.bytes() == 100
    peak.ignore()
    assert [peak.bytes() for _ in range(3)] == [100, 100, 350]


def test_the_outputs_that_a_check_needs_are_not_the_models_memory(held, monkeypatch):
    high_water = [100]
    monkeypatch.setattr(warm_session, "Peak", lambda: Peak(lambda: high_water[0]))

    def checked(*_: Any) -> Parity:
        high_water[0] = max(high_water[0], 300)
        return a_parity()

    monkeypatch.setattr(session_check, "check", checked)
    held()
    assert burst(0.001).peak_rss_bytes == 100
    high_water[0] = 350
    assert burst(0.001).peak_rss_bytes == 350


# --- profile ----------------------------------------------------------------------------------------------------------

ON_TWO = Placement({"E": {"MatMul": 1}, "CPUExecutionProvider": {"Relu": 1}}, "assignment-info")


def test_a_profile_finds_the_warm_session_freed(tmp_path, opens, monkeypatch):
    gone: list[bool] = []
    session = opens(Session(lambda _: None, ON_TWO))
    opened = weakref.ref(session)

    def profile_session(visit: Visit, placement: Placement, channel: Channel) -> None:
        gc.collect()
        gone.append(opened() is None)
        assert placement == ON_TWO

    monkeypatch.setattr(warm_session, "profile_session", profile_session)
    order = Hold(a_visit(tmp_path, profile=True))
    warm_session.hold(order, Channel())
    del session
    warm_session.profile(Profile(order.visit), Channel())
    assert gone == [True]
    with pytest.raises(KeyError):
        burst()


@pytest.mark.parametrize("nodes", [{"E": {"MatMul": 2}}, {"E": {"MatMul": 2}, "CPUExecutionProvider": {}}])
def test_a_session_on_one_provider_has_nothing_to_profile(tmp_path, opens, monkeypatch, nodes):
    profiling = SimpleNamespace(MANIFEST=SimpleNamespace(profiles=True))
    monkeypatch.setattr("bench.worker.profile.engines.named", lambda _: profiling)
    opens(Session(lambda _: None, Placement(nodes, "assignment-info")))
    order, channel = Hold(a_visit(tmp_path, profile=True)), Channel()
    warm_session.hold(order, Channel())
    warm_session.profile(Profile(order.visit), channel)
    assert channel.said == []


def test_a_session_without_a_placement_has_nothing_to_profile(held, tmp_path):
    held()
    channel = Channel()
    warm_session.profile(Profile(a_visit(tmp_path, profile=True)), channel)
    assert channel.said == []
