"""A `Hold` in: a call, checked and warm, is kept; each `Burst` after it times some of its calls, as `Bursted`.

Two such workers, one of a base and one of what is new, are told to burst in turn, so that whatever the machine does
meanwhile falls on both alike.
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
"""The other process has used the caches and woken its threads: what the first calls cost is not the model's."""
LEAD_IN_CALLS = 2
SLOW_NS = 100_000_000
"""A call this long is its own lead-in."""
MAX_CALLS = 5_000
"""A model of a microsecond tells nothing more by more calls, and each is a number in a file."""

_warm_work: list[Work] = []


class Work(Protocol):
    """A call that is kept warm."""

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Nanoseconds of each call, and for models that generate the parts of each; `mark` is called as it begins."""
        ...


def hold(order: Hold, channel: Channel) -> None:
    """Open, check, warm up; what was held before is let go."""
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
    """One burst with the collector off; what the burst itself does not need is done before it."""
    work = _warm_work[0]
    gc.collect()
    gc.disable()
    try:
        # The parent reads energy counters at this mark and at the answer, so nothing else may come between them.
        samples, generations = work.burst(int(order.length_s * 1e9), partial(channel.stage, "burst"))
    finally:
        gc.enable()
    return Bursted(tuple(samples), peak_rss_bytes(), generations)


class _Calls:
    """A model whose call gives its whole answer."""

    def __init__(self, call: Callable[[], object], typical_ns: int) -> None:
        self.call, self.typical_ns = call, typical_ns

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Some calls that are not timed, then the burst."""
        if self.typical_ns < SLOW_NS:
            lead_in(self.call)
        mark()
        return timing.burst(self.call, length_ns, max_calls=MAX_CALLS), ()


class _Generations:
    """A model that generates: each call is one generation."""

    def __init__(self, run: generation.Recorder) -> None:
        self.run = run

    def burst(self, length_ns: int, mark: Callable[[], None]) -> tuple[list[int], tuple[Generation, ...]]:
        """Whole generations; their prompt is their lead-in."""
        self.run.generations.clear()
        mark()
        return generation.burst(self.run, length_ns), tuple(self.run.generations)


def lead_in(call: Callable[[], object], clock: timing.Clock = perf_counter_ns) -> None:
    """Call for ten milliseconds, twice at least."""
    end, calls = clock() + LEAD_IN_NS, 0
    while calls < LEAD_IN_CALLS or clock() < end:
        call()
        calls += 1


def _calls(visit: Visit, job: Job, opened: AnySession, channel: Channel) -> tuple[Work, Held]:
    session = cast(Session, opened)
    batches, expected, by = session_check.reference(Path(job.reference))
    channel.stage("parity", job.workload)
    checked = session_check.check(visit, session, batches, expected, by)
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
    timed = _warm_generations(run, visit)
    channel.stage("parity", job.workload)
    checked = session_check.check_generation(visit, session, batches, run, folder)
    traits = replace(session.traits(job.sizes), parameters=facts.get("parameters"))
    return _Generations(run), Held(timed, checked, traits, session_check.transcript(run, facts))


def _warm_generations(run: generation.Recorder, visit: Visit) -> Timing:
    timed = timing.warmed(run, visit.effort, slow_calls=generation.WARM_GENERATIONS)
    return replace(timed, first_token_ns=run.generations[0].first_ns)
