"""Computes the times of a cell in a block from its bursts, and the log ratio of two cells of one block (pure).

A run and a gate share these functions: a pair of a gate is a block of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from msgspec import Struct

from bench.records import Machine, Observation, Timing

MEDIAN = 50.0
# Between identical processes the 25th percentile varies by 2.9 % and the median by 4.4 % (a VM with 2 cores).
QUARTILE = 25.0
"""On shared machines: calls that another guest delays are in the slower half of a burst."""
FAST = 10.0
"""On shared machines, the percentile of all calls of a block that two cells are compared by: what the machine does when
other guests leave it alone. Guests slow a third of the calls by 20 to 40 %, for 0.1 to 5 s. Over 12 turns the
ratio of these percentiles scatters by 2.1 %, the median over the turns by 3.7 % (docs/numbers.md)."""
LEAST_CALLS = 10
"""With fewer calls in a block, the 10th percentile is the fastest call, or nearly."""
NS_PER_MS = 1e6


class BlockTimes(Struct, frozen=True):
    """The times of a cell in one block, in milliseconds."""

    whole: float
    """The median of all calls."""
    turns: Mapping[int, float]
    """The typical call of each turn; empty where the bursts of cells did not alternate, as in older runs."""
    fast: float | None = None
    """The `FAST` percentile of all calls on a shared machine; None elsewhere, and for fewer than `LEAST_CALLS`."""

    def log_ratio(self, theirs: BlockTimes) -> float:
        """The log of theirs over ours, as 0.69 where ours is twice as fast.

        On a shared machine it is that of the fast calls, else the median over the turns that both have. Without such a
        turn it is the log of the medians of all calls.
        """
        both = [turn for turn in self.turns if turn in theirs.turns]
        if not both:
            return math.log(theirs.whole) - math.log(self.whole)
        # The turns alternate, so that both have fast calls wherever the machine is left alone for a second.
        if self.fast is not None and theirs.fast is not None:
            return math.log(theirs.fast) - math.log(self.fast)
        # Of the logarithms, so that twice as slow and twice as fast are equally far from 0.
        return median(math.log(theirs.turns[turn]) - math.log(self.turns[turn]) for turn in both)


def is_shared(machine: Machine) -> bool:
    """Whether other guests may use the processor, so that the slower half of a burst's calls may be their doing."""
    return machine.hypervisor is not None or machine.container is not None


def typical_call(samples_ns: Sequence[float], quantile: float = MEDIAN) -> float:
    """The typical call of a burst, in milliseconds, from all its calls in nanoseconds; at least one."""
    return float(np.percentile(samples_ns, quantile)) / NS_PER_MS


def turn_values(observation: Observation, *, shared: bool = False) -> dict[int, float]:
    """The typical call of each turn of a block, in milliseconds; empty where the bursts have no turns.

    `shared` says that the machine has other guests.
    """
    timing = observation.timing
    return _turns(timing.samples_ns, timing, shared) if timing else {}


def block_times(observation: Observation, *, shared: bool = False) -> BlockTimes | None:
    """The times of a cell in one block; None without a call, or where the clock did not advance."""
    timing = observation.timing
    return times_of(timing.samples_ns, timing, shared=shared) if timing else None


def times_of(parts_ns: Sequence[float | None], timing: Timing, *, shared: bool = False) -> BlockTimes | None:
    """The times of a part of each call, such as its prefill, in nanoseconds and in the order of the timing's samples.

    Calls without the part, or with 0 because the clock did not advance, are left out; None if none is left.
    """
    known = [time for time in parts_ns if time is not None and time > 0]
    if not known:
        return None
    whole = typical_call(known)
    # A clock that is too coarse gives 0 for most calls.
    if whole <= 0:
        return None
    fast = typical_call(known, FAST) if shared and len(known) >= LEAST_CALLS else None
    return BlockTimes(whole, _turns(parts_ns, timing, shared), fast)


def block_log_ratio(ours: Observation, theirs: Observation, *, shared: bool = False) -> float | None:
    """The log of theirs over ours in one block: above 0, ours is faster; None where a side has no time."""
    first, second = block_times(ours, shared=shared), block_times(theirs, shared=shared)
    return first.log_ratio(second) if first and second else None


def _turns(parts_ns: Sequence[float | None], timing: Timing, shared: bool) -> dict[int, float]:
    counts, numbers = timing.burst_calls, timing.turns
    # A damaged file may hold calls that belong to no burst.
    if len(numbers) != len(counts) or sum(counts) != len(parts_ns):
        return {}
    calls: dict[int, list[float]] = {}
    first = 0
    for count, number in zip(counts, numbers, strict=True):
        known = [time for time in parts_ns[first : first + count] if time is not None and time > 0]
        calls.setdefault(number, []).extend(known)
        first += count
    # Chosen by the kind of machine, never by the times.
    quantile = QUARTILE if shared else MEDIAN
    return {number: typical_call(times, quantile) for number, times in calls.items() if times}
