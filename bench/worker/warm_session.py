"""Keeps a checked and warm model in memory, and times some calls of one of its workloads for each `Burst` order.

A block runs several such workers, and orders bursts from them in turn. Changes of the machine's speed therefore affect
all of them in the same way.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter_ns, process_time_ns, sleep
from typing import Protocol, cast

from msgspec.structs import replace

from bench.records import Burst, Bursted, Failed, Generation, Held, Hold, Job, Profile, Timing, Visit
from bench.worker import families, feeds, generation, session_check, timing
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, Generator, Session, TextGenerator
from bench.worker.failures import failure_of
from bench.worker.memory import peak_rss_bytes
from bench.worker.profile import profile_session

LEAD_IN_NS = 10_000_000
"""Calls of this time are not timed: the other processes have used the caches, so the first calls are slower."""
LEAD_IN_CALLS = 2
SLOW_NS = 100_000_000
"""Calls of at least this time need no lead-in."""
MAX_CALLS = 5_000
"""The largest number of calls of a burst: more calls of a microsecond add no information, but fill files."""
IDLE_WINDOW_S = 0.004
IDLE_SHARE = 0.05
"""The process is idle when it used less than this share of a core in a window: a window is too short for 0.5 %."""
PR_SET_PDEATHSIG = 1
"""The option of Linux's `prctl` that names the signal for the death of the parent."""
IDLE_LIMIT_S = 0.02 if sys.platform == "linux" else 0.25
"""ONNX Runtime's threads spin for 60 ms after a call, those of Intel's OpenMP for 200 ms and PyTorch's for 5 ms. On
Linux the parent stops what still spins after this time, which is cheaper than to wait for its end."""


class Work(Protocol):
    """A workload that is kept warm."""

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Nanoseconds of each call, and for models that generate the step times; `mark` is called at the start."""
        ...

    @property
    def computes_here(self) -> bool:
        """Whether this process computes; False for the client of a server."""
        ...


class _Warm:
    """What stays in memory between the orders `Hold`, `Burst` and `Profile`."""

    def __init__(self) -> None:
        self.session: AnySession | None = None
        self.work: dict[str, Work] = {}
        self.peak = Peak()

    def clear(self) -> None:
        """Free the model, so that two models never take memory at the same time."""
        self.work.clear()
        self.session = None


class Peak:
    """The peak of the process's memory without what the checks of the answers add, whose outputs are the harness's."""

    def __init__(self, read: Callable[[], int] = peak_rss_bytes) -> None:
        self._read = read
        self._ignored = self._peak = 0

    def bytes(self) -> int:
        """The peak so far. What stays below the peak of a check is not seen."""
        now = self._read()
        if now > self._ignored:
            self._peak = now
        return self._peak

    def ignore(self) -> None:
        """Leave out what was added since the last reading."""
        self._ignored = self._read()


_warm = _Warm()


def hold(order: Hold, channel: Channel) -> None:
    """Free the previous model, then open, check and warm up each workload of the visit, and send `Held` for each.

    A workload that fails is told as `Failed`; the others go on.
    """
    free()
    _warm.peak = Peak()
    die_with_parent()
    visit = order.visit
    _warm.session = session_check.open_session(visit, channel)
    prepare = _generations if families.generates(visit.family) else _calls
    for job in visit.jobs:
        channel.stage("bind", job.workload)
        try:
            work, reply = prepare(visit, job, _warm.session, channel)
        except Exception as error:  # noqa: BLE001 - every error of a library becomes data
            # The reply holds one line of the error; the whole traceback goes to the log.
            traceback.print_exc()
            channel.say(Failed(failure_of(error, channel.stage_name), job.workload))
            continue
        _warm.work[job.workload] = work
        # What exists by now stays: a collection before each burst would walk through all of torch, for 0.1 s.
        gc.collect()
        gc.freeze()
        channel.say(replace(reply, idle=wait_until_idle()))


def burst(order: Burst, channel: Channel) -> Bursted:
    """Time one burst of a warm workload, with the garbage collector off, then wait until the process is idle."""
    work = _warm.work[order.workload]
    channel.stage("lead-in", order.workload)
    gc.collect()
    gc.disable()
    used_ns = 0

    def mark() -> None:
        # The parent reads energy counters at this mark and at the next: nothing but the burst may be between them.
        nonlocal used_ns
        channel.stage("burst", order.workload)
        used_ns = process_time_ns()

    try:
        samples, generations = work.burst(int(order.length_s * 1e9), mark)
        used_ns = process_time_ns() - used_ns
    finally:
        gc.enable()
    channel.stage("idle", order.workload)
    idle = wait_until_idle()
    return Bursted(
        workload=order.workload,
        samples_ns=tuple(samples),
        peak_rss_bytes=_warm.peak.bytes(),
        generations=generations,
        cpu_ns=used_ns if work.computes_here else None,
        idle=idle,
    )


def profile(order: Profile, channel: Channel) -> None:
    """Free the warm workloads, so that the profiling session has their memory, and profile some calls."""
    session = _warm.session
    placement = session.placement if session else None
    del session
    free()
    if placement is not None:
        profile_session(order.visit, placement, channel)


def free() -> None:
    """Free the session and the warm workloads."""
    _warm.clear()
    gc.unfreeze()


def wait_until_idle(limit_s: float = IDLE_LIMIT_S) -> bool:
    """Wait until the process uses no CPU, at most `limit_s` seconds; False if it still does.

    Threads that spin after a call would take a core from the burst of the next process.
    """
    end = monotonic() + limit_s
    while True:
        used_ns, began = process_time_ns(), perf_counter_ns()
        sleep(IDLE_WINDOW_S)
        quiet = process_time_ns() - used_ns < IDLE_SHARE * (perf_counter_ns() - began)
        # On a busy machine a spinning thread may get no CPU for a whole window.
        if quiet and not other_threads_run():
            return True
        if monotonic() >= end:
            return False


def other_threads_run() -> bool:
    """Whether another thread of this process runs or waits for a CPU; False where this cannot be read."""
    own = threading.get_native_id()
    for task in Path("/proc/self/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread has ended
            # The state comes after the name, which is in brackets and may contain spaces.
            state = task.read_text("utf-8", "replace").rpartition(")")[2].split()[0]
            if state == "R" and task.parent.name != str(own):
                return True
    return False


def die_with_parent() -> None:
    """Let the kernel end this process when its parent dies: a suspended process cannot see that. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class _Calls:
    """A workload of the task `forward`."""

    computes_here = True

    def __init__(self, call: Callable[[], object], typical_ns: int) -> None:
        self.call, self.typical_ns = call, typical_ns

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Make some calls that are not timed, then the burst."""
        if self.typical_ns < SLOW_NS:
            lead_in(self.call)
        mark()
        return timing.burst(self.call, length_ns, max_calls=MAX_CALLS), ()


class _Generations:
    """A workload that generates; each call is one generation."""

    def __init__(self, run: generation.Recorder, *, computes_here: bool) -> None:
        self.run, self._computes_here = run, computes_here

    @property
    def computes_here(self) -> bool:
        """Whether this process computes; False for the client of a server."""
        return self._computes_here

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Run whole generations; the prompt of each serves as its lead-in."""
        self.run.generations.clear()
        mark()
        return generation.burst(self.run, length_ns), tuple(self.run.generations)


def lead_in(call: Callable[[], object], clock: timing.Clock = perf_counter_ns) -> None:
    """Make calls for ten milliseconds, at least two, without timing them."""
    end, calls = clock() + LEAD_IN_NS, 0
    while calls < LEAD_IN_CALLS or clock() < end:
        call()
        calls += 1


def _calls(visit: Visit, job: Job, opened: AnySession, channel: Channel) -> tuple[Work, Held]:
    session = cast(Session, opened)
    batches, expected, facts = session_check.reference(Path(job.reference))
    call = session.bind(batches[0])
    channel.stage("time", job.workload)
    # Before the check, whose calls would hide what the first one costs.
    timed = timing.warmed(partial(timing.timed, call, perf_counter_ns), visit.effort)
    _warm.peak.bytes()
    channel.stage("parity", job.workload)
    checked = session_check.check(visit, session, batches, expected, facts)
    _warm.peak.ignore()
    typical = timed.warmup_ns[-1] if timed.warmup_ns else timed.first_call_ns
    return _Calls(call, typical), Held(job.workload, timed, checked)


def _generations(visit: Visit, job: Job, opened: AnySession, channel: Channel) -> tuple[Work, Held]:
    session = cast(Generator | TextGenerator, opened)
    folder = Path(job.reference)
    batches, facts = feeds.load(folder / "inputs.npz"), session_check.reference_facts(folder)
    run = generation.Recorder(session, batches[0], job.sizes["new"])
    channel.stage("time", job.workload)
    # The warm-up comes first, because the check needs the tokens of a generation.
    timed = _warm_generations(run, visit)
    _warm.peak.bytes()
    channel.stage("parity", job.workload)
    checked = session_check.check_generation(visit, session, batches, run, folder)
    _warm.peak.ignore()
    traits = replace(session.traits(job.sizes), parameters=facts.get("parameters"))
    work = _Generations(run, computes_here=traits.counted_by == "engine")
    return work, Held(job.workload, timed, checked, traits, session_check.transcript(run, facts))


def _warm_generations(run: generation.Recorder, visit: Visit) -> Timing:
    timed = timing.warmed(run, visit.effort, slow_calls=generation.WARM_GENERATIONS)
    return replace(timed, first_token_ns=run.generations[0].first_ns)
