"""Times calls: a warm-up until the times are steady, and bursts; gives the raw nanoseconds of each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns

from bench.records import Effort, Timing
from bench.shared.slopes import median_slope

Clock = Callable[[], int]
Call = Callable[[], object]

WINDOW_CALLS = 20
WINDOW_S = 0.25
"""A window of slow calls has fewer than 20 calls, but at least three: 20 calls of 0.4 s outlast a warm-up."""
MEDIAN_SHIFT = 0.015
DRIFT = 0.02
SLOW_CALL_NS = 500_000_000
SLOW_WARMUP_CALLS = 3
KEPT_WARMUP = 1000
"""The calls of a warm-up in the record; a model of a few microseconds makes a hundred times as many."""


def warmed(
    run: Callable[[], int], effort: Effort, clock: Clock = perf_counter_ns, slow_calls: int = SLOW_WARMUP_CALLS
) -> Timing:
    """Make the first call and the warm-up; gives a timing without samples. `run` makes a call and gives its time."""
    first = run()
    warmup, steady = warm_up(run, effort, clock, slow_calls)
    # The warm-up stays in the record, because it shows the cost of compilation and of the first calls.
    return Timing(first_call_ns=first, warmup_ns=tuple(warmup[:KEPT_WARMUP]), steady=steady, samples_ns=())


def timed(call: Call, clock: Clock) -> int:
    """Nanoseconds of one call."""
    start = clock()
    call()
    return clock() - start


def burst(call: Call, length_ns: int, clock: Clock = perf_counter_ns, max_calls: int | None = None) -> list[int]:
    """Make calls without pauses for at least `length_ns`, at least one and at most `max_calls`; gives nanoseconds.

    One reading of the clock ends a call and starts the next. The loop therefore adds one reading and one append to
    each call.
    """
    samples: list[int] = []
    # Looked up once: the time of this loop is added to every call.
    append = samples.append
    before = clock()
    end = before + length_ns
    while before < end or not samples:
        call()
        after = clock()
        append(after - before)
        before = after
        if len(samples) == max_calls:
            break
    return samples


def warm_up(
    run: Callable[[], int], effort: Effort, clock: Clock = perf_counter_ns, slow_calls: int = SLOW_WARMUP_CALLS
) -> tuple[list[int], bool]:
    """Call until the times are steady or the limit is reached; gives the nanoseconds, and whether it became steady.

    Calls over half a second are warm after `slow_calls` of them: each has so much work that its own start-up is a
    small part. The first call counts as one of them. It is made before this function, because it may compile for a
    minute, and uses none of the time limit.
    """
    samples: list[int] = []
    start = clock()
    limit_ns = int(effort.warmup_limit_s * 1e9)
    while True:
        samples.append(run())
        spent = clock() - start
        # Only the last calls are read: the minimum of a hundred thousand samples would take longer than a call.
        if len(samples) + 1 >= slow_calls and min(samples[-slow_calls:]) > SLOW_CALL_NS:
            return samples, True
        enough = len(samples) >= effort.warmup_calls and spent >= effort.warmup_s * 1e9
        if enough and is_steady(samples):
            return samples, True
        if spent >= limit_ns:
            return samples, False


def window(samples: Sequence[int]) -> int:
    """The number of calls of a window: 20, or as many as fit into a quarter of a second, but at least three."""
    recent = median(samples[-WINDOW_CALLS:])
    # A call may be shorter than one tick of the clock, and so take 0 ns.
    return max(3, min(WINDOW_CALLS, int(WINDOW_S * 1e9 / max(recent, 1))))


def is_steady(samples: Sequence[int]) -> bool:
    """Whether the last two windows have medians within 1.5 % and the Theil–Sen drift over both is under 2 %."""
    size = window(samples)
    if len(samples) < 2 * size:
        return False
    last = samples[-2 * size :]
    before, after = median(last[:size]), median(last[size:])
    # The medians show a step between the windows, the slope shows a slow drift through both.
    if abs(after / before - 1) > MEDIAN_SHIFT:
        return False
    return abs(median_slope(last) * len(last) / median(last)) < DRIFT
