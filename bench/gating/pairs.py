"""A pair of fresh processes of one cell, base and new, whose bursts alternate, and the log ratio of the two.

What the machine does falls on both processes alike, since their bursts follow one another within a second. Models too
big for two at once run in sequence: base, new, new, base, which still cancels a steady drift.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import mean, median

import numpy as np
from msgspec import Struct

from bench.judge.flags import busy
from bench.machine import state
from bench.measure.observations import now
from bench.measure.warm_session import Side, WarmSession
from bench.records import MachineState, Observation, Pair, PairKind

BURSTS = 6
"""Of each side in a pair: the median of six ratios is not moved by two bursts that were disturbed."""
BURST_S = 0.15
QUARTILE = 25.0

Processes = tuple[list[WarmSession], list[str]]
"""The processes of a pair, and which side each of their bursts was of."""
Typical = Callable[[Sequence[int]], float]
"""The call that stands for a burst, in milliseconds, from the calls of the burst in nanoseconds."""


class Made(Struct, frozen=True):
    """A pair, and an observation for each process of either side."""

    pair: Pair
    base: tuple[Observation, ...]
    new: tuple[Observation, ...]

    def disturbed(self, threads: int) -> bool:
        """Whether others used the processor while the sides burst."""
        return any(busy(seen, threads) for seen in (*self.base, *self.new))


def median_call(samples_ns: Sequence[int]) -> float:
    """The median call of a burst in milliseconds."""
    return float(np.median(samples_ns)) / 1e6


def quartile_call(samples_ns: Sequence[int]) -> float:
    """The 25th percentile of a burst in milliseconds: what a neighbour holds up is in the slower half."""
    return float(np.percentile(samples_ns, QUARTILE)) / 1e6


def value(base_ms: Sequence[float], new_ms: Sequence[float]) -> float:
    """The log of new over base of a pair: the median over its bursts, each base burst with the new one beside it."""
    return median(math.log(new / base) for base, new in zip(base_ms, new_ms, strict=True))


class Pairer:
    """Makes pairs; `typical` is what stands for a burst, chosen for the machine's kind before anything is measured."""

    def __init__(self, seed: int, typical: Typical = median_call, burst_s: float = BURST_S) -> None:
        self.seed, self.typical, self.burst_s = seed, typical, burst_s

    def pair(self, base: Side, new: Side, kind: PairKind, number: int, *, in_sequence: bool = False) -> Made:
        """One pair; where a side fails its value is None, and the failure is in that side's observation."""
        chance = random.Random(f"{self.seed}/{base.cell.id}/{kind}/{number}")
        started, start = now(), time.monotonic()
        make = self._in_sequence if in_sequence else self._side_by_side
        calls, order = make(base, new, number, chance)
        mine, theirs = ([call for call in calls if call.side is side] for side in (base, new))
        failed = next((call for call in calls if call.failure), None)
        pair = Pair(
            cell=base.cell.id,
            kind=kind,
            number=number,
            started=started,
            value=None if failed else _value(self._typical(mine), self._typical(theirs), in_sequence),
            base_ms=tuple(ms for process in self._typical(mine) for ms in process),
            new_ms=tuple(ms for process in self._typical(theirs) for ms in process),
            order="".join(order),
            way="in sequence" if in_sequence else "side by side",
            state=calls[-1].state,
            failure=f"{failed.side.name}: {failed.failure.message}" if failed and failed.failure else "",
            seconds=round(time.monotonic() - start, 3),
        )
        return Made(pair, *(tuple(call.observation() for call in side) for side in (mine, theirs)))

    def _typical(self, calls: Sequence[WarmSession]) -> list[list[float]]:
        """The typical call of each burst, by process."""
        return [[self.typical(burst) for burst in call.bursts] for call in calls]

    def _side_by_side(self, base: Side, new: Side, number: int, chance: random.Random) -> Processes:
        """Both processes at once: while one bursts the other sleeps. Who comes first is drawn anew each time."""
        order: list[str] = []
        with ExitStack() as stack:
            calls = [stack.enter_context(WarmSession(side, number)) for side in chance.sample([base, new], 2)]
            warm = [call.warm() for call in calls]  # both, so that both failures are seen
            with _Watch(calls):
                for _ in range(BURSTS if all(warm) else 0):
                    turn = chance.sample(calls, 2)
                    order += [call.side.name[0] for call in turn if call.burst(self.burst_s)]
        return calls, order

    def _in_sequence(self, base: Side, new: Side, number: int, chance: random.Random) -> Processes:
        """Four processes, one after another: base, new, new, base, or the other way round."""
        first, second = chance.sample([base, new], 2)
        calls: list[WarmSession] = []
        order: list[str] = []
        for side in (first, second, second, first):
            with WarmSession(side, number) as call:
                calls.append(call)
                if not call.warm():
                    break
                with _Watch([call]):
                    order += [side.name[0] for _ in range(BURSTS // 2) if call.burst(self.burst_s)]
        return calls, order


def _value(base: list[list[float]], new: list[list[float]], in_sequence: bool) -> float:
    """The pair's log ratio, from each process's bursts."""
    if not in_sequence:
        return value(base[0], new[0])
    return mean(math.log(median(ms)) for ms in new) - mean(math.log(median(ms)) for ms in base)


class _Watch:
    """What the machine does beside some workers, written into each of their calls when they have burst."""

    def __init__(self, calls: Sequence[WarmSession]) -> None:
        self.calls = calls

    def __enter__(self) -> None:
        self.before, self.used_s = state.snapshot(), self._cpu_s()

    def __exit__(self, *_: object) -> None:
        found: MachineState = state.since(self.before, max(0.0, self._cpu_s() - self.used_s))
        for call in self.calls:
            call.state = found

    def _cpu_s(self) -> float:
        return sum(call.worker.cpu_s() for call in self.calls)
