"""Runs a warm model continuously, and sends a summary of bounded size for each minute."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import cast

import numpy as np
from msgspec.structs import replace

from bench.records import Effort, Generation, Lasted, Minute, Sustain
from bench.worker import families, feeds, generation, session_check, timing
from bench.worker.channel import Channel
from bench.worker.contracts import Generator, Session, TextGenerator

CHUNK_NS = 250_000_000
"""The calls of this time are made without a break; after it they are recorded, in a few milliseconds a second."""
MAX_CALLS = 100_000
"""The largest number of recorded calls of the current minute: calls of a microsecond would fill gigabytes."""
RECORDED_CALLS = 200
"""The number of single calls that the record of a minute holds."""

Take = Callable[[int], list[int]]
"""Makes calls continuously for a number of nanoseconds, at least one call; gives the nanoseconds of each."""


def sustain(order: Sustain, channel: Channel) -> None:
    """Open the session, warm up as for a burst, then run until the last minute ends, and send `Lasted` for each.

    Outputs are not checked here: the blocks of the cell have checked them, and only cells that passed come here.
    """
    session = session_check.open_session(order.visit, channel)
    job, effort = order.visit.jobs[0], order.visit.effort
    channel.stage("bind", job.workload)
    feed = feeds.load(Path(job.reference) / "inputs.npz")[0]
    channel.stage("time", job.workload)
    if families.generates(order.visit.family):
        run = generation.Recorder(cast(Generator | TextGenerator, session), feed, job.sizes["new"])
        finished_minutes = generated_minutes(run, effort, order.ends_s)
    else:
        call = cast(Session, session).bind(feed)
        timing.warmed(partial(timing.timed, call, perf_counter_ns), effort)
        finished_minutes = minutes(partial(timing.burst, call), order.ends_s)
    channel.stage("sustain", job.workload)
    for minute in finished_minutes:
        # At the end of each minute, so that a crash loses only the current one.
        channel.say(Lasted(minute))


def minutes(run_calls: Take, ends_s: Sequence[float], clock: timing.Clock = perf_counter_ns) -> Iterator[Minute]:
    """Yield the summary of each minute when it ends; a call that lasts several minutes ends all of them.

    `ends_s` are the ends of the minutes in seconds from now. The garbage collector is off during calls, and runs
    between chunks of calls.
    """
    start = before = clock()
    gc.disable()
    try:
        for end_ns in (start + int(end_s * 1e9) for end_s in ends_s):
            if before >= end_ns:
                continue
            sample = MinuteCalls()
            while (now := clock()) < end_ns or not sample.calls:
                sample.add(run_calls(max(1, min(CHUNK_NS, end_ns - now))))
                # With the collector off, the cycles of several minutes would accumulate.
                gc.collect(0)
            yield sample.minute((now - before) / 1e9)
            before = now
    finally:
        gc.enable()


def generated_minutes(run: generation.Recorder, effort: Effort, ends_s: Sequence[float]) -> Iterator[Minute]:
    """Warm up a model that generates, then yield its minutes with the first-token and step times."""
    timing.warmed(run, effort, run.clock, slow_calls=generation.WARM_GENERATIONS)
    run.generations.clear()
    for minute in minutes(partial(generation.burst, run), ends_s, run.clock):
        steps = [step for generated in run.generations if (step := _step_ns(generated)) is not None]
        first = int(median(generated.first_ns for generated in run.generations))
        yield replace(minute, first_ns=first, token_ns=median(steps) if steps else None)
        run.generations.clear()


def _step_ns(generated: Generation) -> float | None:
    """Nanoseconds of a token after the first; None where there is only one, or the clock did not advance."""
    later, spent_ns = generated.tokens - 1, sum(generated.token_ns)
    return spent_ns / later if later > 0 and spent_ns > 0 else None


class MinuteCalls:
    """The calls of a minute in bounded memory: every call, else every second, every fourth, …"""

    def __init__(self, limit: int = MAX_CALLS) -> None:
        self.limit = limit
        self.calls = 0
        self.step = 1
        self.samples: list[int] = []

    def add(self, samples: list[int]) -> None:
        """Add the nanoseconds of further calls."""
        # The start of the slice continues the spacing of the calls in earlier chunks.
        self.samples += samples[-self.calls % self.step :: self.step]
        self.calls += len(samples)
        while len(self.samples) > self.limit:
            # Every second sample, so that those that remain are spaced evenly over the whole minute.
            self.samples = self.samples[::2]
            self.step *= 2

    def minute(self, seconds: float) -> Minute:
        """The summary for the record: percentiles of all recorded calls, and an evenly spaced sample."""
        p10, middle, p90 = (int(value) for value in np.percentile(self.samples, [10, 50, 90]))
        spaced = np.linspace(0, len(self.samples) - 1, min(RECORDED_CALLS, len(self.samples))).astype(int)
        sample = tuple(self.samples[place] for place in spaced.tolist())
        return Minute(seconds, self.calls, middle, p10, p90, sample)
