"""Times the generations of one workload, and records the times of the steps of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from bench.records import Generation
from bench.worker.contracts import Generator, Stream, TextGenerator
from bench.worker.feeds import Array, Feed

Clock = Callable[[], int]

WARM_GENERATIONS = 2
"""The first, which may compile, and one more: each slow generation has dozens of steps that call the same kernels."""


@dataclass
class Recorder:
    """Runs generations, and records the step times of each and the tokens of the last."""

    session: Generator | TextGenerator
    feed: Feed
    new: int
    clock: Clock = perf_counter_ns
    generations: list[Generation] = field(default_factory=list)
    tokens: Array | None = None
    """The tokens of the last generation: int64 of (batch, new); None where the engine has no token ids."""

    def __call__(self) -> int:
        """Run one generation; gives its nanoseconds from the prompt to the last token."""
        stream = self.session.begin(self.feed, self.new)
        steps, times = _run(stream, self.clock)
        self.tokens = np.stack(steps, axis=1) if steps and all(step is not None for step in steps) else None
        self.generations.append(_parts(stream, times))
        return self.generations[-1].total_ns


def _run(stream: Stream, clock: Clock) -> tuple[list[Any], list[int]]:
    """The tokens of every step and its nanoseconds; the clock is read once a step."""
    steps: list[Any] = []
    times: list[int] = []
    before = clock()
    for step in stream:
        after = clock()
        times.append(after - before)
        steps.append(step)
        # The clock is read once a step: between two readings the loop's own time would be lost from the total.
        before = after
    return steps, times


def _parts(stream: Stream, times: list[int]) -> Generation:
    if not times:
        raise RuntimeError("the engine generated nothing")
    counted = stream.tokens
    return Generation(
        first_ns=times[0],
        token_ns=tuple(times[1:]),
        # Counted and not taken from the request: a server may end early, or send several tokens at once.
        tokens=len(times) if counted is None else counted,
        prompt_tokens=stream.prompt_tokens,
        encode_ns=stream.encode_ns,
    )


def burst(run: Recorder, length_ns: int) -> list[int]:
    """Run generations until their total time is at least `length_ns`, but at least one; gives their nanoseconds."""
    samples: list[int] = []
    while not samples or sum(samples) < length_ns:
        samples.append(run())
    return samples
