"""Measure a pair: two fresh processes of one cell, base and new, whose bursts alternate, and their log ratio.

A change of the machine's speed affects both processes equally, since their bursts are less than a second apart. If two
processes do not fit into memory, four run in sequence: base, new, new, base. This order still cancels a steady drift.
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
"""Bursts of each side in a pair: two disturbed bursts hardly move the median of six ratios."""
# Short, so that a change of the machine's speed affects neighbouring bursts alike. Their ratio varies by 0.8 %, that of
# processes one after another by 1.9 % (docs/decisions/0002-paired-bursts.md).
BURST_S = 0.15
"""Seconds of a burst."""
# Between identical processes the 25th percentile varies by 2.9 % and the median by 4.4 % (a VM with 2 cores).
QUARTILE = 25.0

Processes = tuple[list[WarmSession], list[str]]
"""The processes of a pair, and the side of each burst in the order of time."""
Typical = Callable[[Sequence[int]], float]
"""Computes the typical call of a burst in milliseconds from all its calls in nanoseconds."""


class MeasuredPair(Struct, frozen=True):
    """A pair, and one observation for each of its processes."""

    pair: Pair
    base: tuple[Observation, ...]
    new: tuple[Observation, ...]

    def disturbed(self, threads: int) -> bool:
        """Whether other programs used the processor during the bursts."""
        return any(busy(observation, threads) for observation in (*self.base, *self.new))


def median_call(samples_ns: Sequence[int]) -> float:
    """The median call of a burst in milliseconds."""
    return float(np.median(samples_ns)) / 1e6


def quartile_call(samples_ns: Sequence[int]) -> float:
    """The 25th percentile of a burst in milliseconds: calls delayed by another guest are in the slower half."""
    return float(np.percentile(samples_ns, QUARTILE)) / 1e6


def value(base_ms: Sequence[float], new_ms: Sequence[float]) -> float:
    """The natural log of new over base: the median over the bursts, each of base with the neighbouring one of new."""
    # Of the logarithms, so that twice as slow and twice as fast are equally far from 0.
    return median(math.log(new / base) for base, new in zip(base_ms, new_ms, strict=True))


class Pairer:
    """Measures pairs. `typical` computes the typical call of a burst; the kind of machine decides which is used."""

    def __init__(self, seed: int, typical: Typical = median_call, burst_s: float = BURST_S) -> None:
        self.seed, self.typical, self.burst_s = seed, typical, burst_s

    def pair(self, base: Side, new: Side, kind: PairKind, number: int, *, in_sequence: bool = False) -> MeasuredPair:
        """Measure one pair. If a side fails, the value is None, and the side's observation holds the failure."""
        rng = random.Random(f"{self.seed}/{base.cell.id}/{kind}/{number}")
        # Seeded by cell and number: the order of a pair does not depend on which other pairs were measured.
        started, start = now(), time.monotonic()
        make = self._in_sequence if in_sequence else self._side_by_side
        calls, order = make(base, new, number, rng)
        base_calls, new_calls = ([call for call in calls if call.side is side] for side in (base, new))
        failed = next((call for call in calls if call.failure), None)
        pair = Pair(
            cell=base.cell.id,
            kind=kind,
            number=number,
            started=started,
            value=None if failed else _value(self._typical(base_calls), self._typical(new_calls), in_sequence),
            base_ms=tuple(ms for process in self._typical(base_calls) for ms in process),
            new_ms=tuple(ms for process in self._typical(new_calls) for ms in process),
            order="".join(order),
            way="in sequence" if in_sequence else "side by side",
            state=calls[-1].state,
            failure=f"{failed.side.name}: {failed.failure.message}" if failed and failed.failure else "",
            seconds=round(time.monotonic() - start, 3),
        )
        return MeasuredPair(pair, *(tuple(call.observation() for call in side) for side in (base_calls, new_calls)))

    def _typical(self, calls: Sequence[WarmSession]) -> list[list[float]]:
        """The typical call of each burst, by process."""
        return [[self.typical(burst) for burst in call.bursts] for call in calls]

    def _side_by_side(self, base: Side, new: Side, number: int, rng: random.Random) -> Processes:
        """Run both processes at once: one sleeps during the burst of the other. The order is random in each turn."""
        order: list[str] = []
        with ExitStack() as stack:
            calls = [stack.enter_context(WarmSession(side, number)) for side in rng.sample([base, new], 2)]
            # A list, not a generator: `all` would stop at the first side that fails, and miss the other's failure.
            warm = [call.warm() for call in calls]
            # Around the bursts alone: load while both sides start does not disturb their ratio.
            with _Watch(calls):
                # If one side fails, no ratio can be computed, so the other side does not burst either.
                for _ in range(BURSTS if all(warm) else 0):
                    # Drawn anew in each turn, so that neither side always runs after the other.
                    turn = rng.sample(calls, 2)
                    order += [call.side.name[0] for call in turn if call.burst(self.burst_s)]
        return calls, order

    def _in_sequence(self, base: Side, new: Side, number: int, rng: random.Random) -> Processes:
        """Run four processes one after another: base, new, new, base, or new, base, base, new."""
        first, second = rng.sample([base, new], 2)
        calls: list[WarmSession] = []
        order: list[str] = []
        # The symmetric order gives both sides the same mean position in time.
        for side in (first, second, second, first):
            with WarmSession(side, number) as call:
                calls.append(call)
                # Without this process the pair has no value, so the remaining ones are not started.
                if not call.warm():
                    break
                with _Watch([call]):
                    # Each side has two processes in this order, so half the bursts give each side six.
                    order += [side.name[0] for _ in range(BURSTS // 2) if call.burst(self.burst_s)]
        return calls, order


def _value(base: list[list[float]], new: list[list[float]], in_sequence: bool) -> float:
    """The pair's natural log ratio from the typical calls of each process's bursts."""
    if not in_sequence:
        return value(base[0], new[0])
    return mean(math.log(median(ms)) for ms in new) - mean(math.log(median(ms)) for ms in base)


class _Watch:
    """Records the state of the machine during the bursts of some workers.

    The processor time of the workers themselves is subtracted, so that only the load of others counts.
    """

    def __init__(self, calls: Sequence[WarmSession]) -> None:
        self.calls = calls

    def __enter__(self) -> None:
        self.before, self.used_s = state.snapshot(), self._cpu_s()

    def __exit__(self, *_: object) -> None:
        machine_state: MachineState = state.since(self.before, max(0.0, self._cpu_s() - self.used_s))
        for call in self.calls:
            call.state = machine_state

    def _cpu_s(self) -> float:
        return sum(call.worker.cpu_s() for call in self.calls)
