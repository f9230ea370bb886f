"""Keeps a checked and warm model in memory, and times some of its calls for each `Burst` order.

The gate runs two such workers, one for the base and one for the new version, and orders bursts from them in turn.
Changes of the machine's speed therefore affect both in the same way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol, cast

from msgspec.structs import replace

from bench.records import Burst, Bursted, Generation, Held, Hold, Job, Timing, Visit
from bench.worker import families, feeds, generation, session_check, timing
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, Generator, Session, TextGenerator
from bench.worker.memory import peak_rss_bytes

LEAD_IN_NS = 10_000_000
"""Calls of this time are not timed: the other process has used the caches, so the first calls are slower."""
LEAD_IN_CALLS = 2
SLOW_NS = 100_000_000
"""Calls of at least this time need no lead-in."""
MAX_CALLS = 5_000
"""The largest number of calls of a burst: more calls of a microsecond add no information, but fill files."""

# Global, because the model must stay warm between the orders `Hold` and `Burst`.
_warm_work: list[Work] = []


class Work(Protocol):
    """A model that is kept warm."""

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Nanoseconds of each call, and for models that generate the step times; `mark` is called at the start."""
        ...


def hold(order: Hold, channel: Channel) -> None:
    """Free the previous model, then open, check and warm up the visit's model, and send `Held`."""
    # First, so that two models never take memory at the same time.
    _warm_work.clear()
    visit = order.visit
    session = session_check.open_session(visit, channel)
    job = visit.jobs[0]
    channel.stage("bind", job.workload)
    prepare = _generations if families.generates(visit.family) else _calls
    work, ready_reply = prepare(visit, job, session, channel)
    _warm_work.append(work)
    channel.say(ready_reply)


def burst(order: Burst, channel: Channel) -> Bursted:
    """Time one burst of the warm model, with the garbage collector off."""
    work = _warm_work[0]
    gc.collect()
    gc.disable()
    try:
        # The parent reads energy counters at this mark and at the reply: nothing but the burst may be between them.
        samples, generations = work.burst(int(order.length_s * 1e9), partial(channel.stage, "burst"))
    finally:
        gc.enable()
    return Bursted(tuple(samples), peak_rss_bytes(), generations)


class _Calls:
    """A model of the task `forward`."""

    def __init__(self, call: Callable[[], object], typical_ns: int) -> None:
        self.call, self.typical_ns = call, typical_ns

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Make some calls that are not timed, then the burst."""
        if self.typical_ns < SLOW_NS:
            lead_in(self.call)
        mark()
        return timing.burst(self.call, length_ns, max_calls=MAX_CALLS), ()


class _Generations:
    """A model that generates; each call is one generation."""

    def __init__(self, run: generation.Recorder) -> None:
        self.run = run

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
    channel.stage("parity", job.workload)
    checked = session_check.check(visit, session, batches, expected, facts)
    call = session.bind(batches[0])
    channel.stage("time", job.workload)
    timed = timing.warmed(partial(timing.timed, call, perf_counter_ns), visit.effort)
    typical = timed.warmup_ns[-1] if timed.warmup_ns else timed.first_call_ns
    return _Calls(call, typical), Held(timed, checked)


def _generations(visit: Visit, job: Job, opened: AnySession, channel: Channel) -> tuple[Work, Held]:
    session = cast(Generator | TextGenerator, opened)
    folder = Path(job.reference)
    batches, facts = feeds.load(folder / "inputs.npz"), session_check.reference_facts(folder)
    run = generation.Recorder(session, batches[0], job.sizes["new"])
    channel.stage("time", job.workload)
    # The warm-up comes first, because the check needs the tokens of a generation.
    timed = _warm_generations(run, visit)
    channel.stage("parity", job.workload)
    checked = session_check.check_generation(visit, session, batches, run, folder)
    traits = replace(session.traits(job.sizes), parameters=facts.get("parameters"))
    return _Generations(run), Held(timed, checked, traits, session_check.transcript(run, facts))


def _warm_generations(run: generation.Recorder, visit: Visit) -> Timing:
    timed = timing.warmed(run, visit.effort, slow_calls=generation.WARM_GENERATIONS)
    return replace(timed, first_token_ns=run.generations[0].first_ns)
