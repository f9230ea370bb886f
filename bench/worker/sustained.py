"""A `Sustain` in; a warm call made on end, and each minute as it is over, in bounded size, out as `Lasted`."""

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
"""Between stretches of calls what they left is summed up, some milliseconds of each second at most."""
MAX_CALLS = 100_000
"""Calls of a minute that are kept while it lasts: a model of a microsecond would fill gigabytes."""
RECORDED_CALLS = 200
"""Calls of a minute that the record keeps."""

Take = Callable[[int], list[int]]
"""Calls on end for so many nanoseconds, one at least; the nanoseconds of each."""


def sustain(order: Sustain, channel: Channel) -> None:
    """Open the session, warm up as for a burst, then go on until the last minute ends.

    Answers are not checked here: the cell's rounds did that, and only what passed is sustained.
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
        channel.say(Lasted(minute))


def minutes(run_calls: Take, ends_s: Sequence[float], clock: timing.Clock = perf_counter_ns) -> Iterator[Minute]:
    """Each minute as it is over, from now on; a call as long as several of them ends them all.

    The collector is off while calls are made, and cleans up between stretches.
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
                gc.collect(0)
            yield sample.minute((now - before) / 1e9)
            before = now
    finally:
        gc.enable()


def generated_minutes(run: generation.Recorder, effort: Effort, ends_s: Sequence[float]) -> Iterator[Minute]:
    """The minutes of a model that generates, with the parts of its generations; it is warmed up first."""
    timing.warmed(run, effort, run.clock, slow_calls=generation.WARM_GENERATIONS)
    run.generations.clear()
    for minute in minutes(partial(generation.burst, run), ends_s, run.clock):
        steps = [step for generated in run.generations if (step := _step_ns(generated)) is not None]
        first = int(median(generated.first_ns for generated in run.generations))
        yield replace(minute, first_ns=first, token_ns=median(steps) if steps else None)
        run.generations.clear()


def _step_ns(generated: Generation) -> float | None:
    """The time of one later token of each sequence; None where there was but one, or the clock did not tick."""
    later, spent_ns = generated.tokens - 1, sum(generated.token_ns)
    return spent_ns / later if later > 0 and spent_ns > 0 else None


class MinuteCalls:
    """The calls of a minute, in bounded memory: every one, else every second, every fourth, …"""

    def __init__(self, limit: int = MAX_CALLS) -> None:
        self.limit = limit
        self.calls = 0
        self.step = 1
        self.samples: list[int] = []

    def add(self, samples: list[int]) -> None:
        """Some more calls."""
        self.samples += samples[-self.calls % self.step :: self.step]
        self.calls += len(samples)
        while len(self.samples) > self.limit:
            self.samples = self.samples[::2]
            self.step *= 2

    def minute(self, seconds: float) -> Minute:
        """What the record keeps of them."""
        p10, middle, p90 = (int(value) for value in np.percentile(self.samples, [10, 50, 90]))
        spaced = np.linspace(0, len(self.samples) - 1, min(RECORDED_CALLS, len(self.samples))).astype(int)
        sample = tuple(self.samples[place] for place in spaced.tolist())
        return Minute(seconds, self.calls, middle, p10, p90, sample)
