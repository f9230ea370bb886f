"""Measure a pair: a block of two fresh processes of one cell, base and new, and their log ratio."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import mean, median

import numpy as np
from msgspec import Struct

from bench.judge.flags import busy
from bench.measure.blocks import Bursts, measure_block, measure_in_sequence
from bench.measure.observations import now
from bench.measure.warm_session import Member, WarmSession
from bench.records import Observation, Pair, PairKind

BURSTS = 6
"""Bursts of each side in a pair: two disturbed bursts hardly move the median of six ratios."""
# Short, so that a change of the machine's speed affects neighbouring bursts alike. Their ratio varies by 0.8 %, that of
# processes one after another by 1.9 % (docs/decisions/0002-paired-bursts.md).
BURST_S = 0.15
"""Seconds of a burst."""
# Between identical processes the 25th percentile varies by 2.9 % and the median by 4.4 % (a VM with 2 cores).
QUARTILE = 25.0

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

    def pair(
        self, base: Member, new: Member, kind: PairKind, number: int, *, in_sequence: bool = False
    ) -> MeasuredPair:
        """Measure one pair. If a side fails, the value is None, and the side's observation holds the failure."""
        cell = base.cells[0].id
        # Seeded by cell and number: the order of a pair does not depend on which other pairs were measured.
        rng = random.Random(f"{self.seed}/{cell}/{kind}/{number}")
        started = now()
        # Whole pairs are set aside, by the load during all of their bursts.
        bursts = Bursts(BURSTS, self.burst_s, all_or_none=True, set_aside=False)
        if in_sequence:
            first, second = rng.sample([base, new], 2)
            block = measure_in_sequence(first, second, number, bursts, rng)
        else:
            block = measure_block([base, new], number, bursts, rng)
        base_calls, new_calls = ([call for call in block.sessions if call.member is side] for side in (base, new))
        failed = next((call for call in block.sessions if call.failed), None)
        pair = Pair(
            cell=cell,
            kind=kind,
            number=number,
            started=started,
            value=None if failed else _value(self._typical(base_calls), self._typical(new_calls), in_sequence),
            base_ms=tuple(ms for process in self._typical(base_calls) for ms in process),
            new_ms=tuple(ms for process in self._typical(new_calls) for ms in process),
            order="".join(session.member.name[0] for session, _ in block.order),
            way="in sequence" if in_sequence else "side by side",
            state=block.sessions[-1].state,
            failure=f"{failed.member.name}: {next(iter(failed.failures.values())).message}" if failed else "",
            seconds=block.seconds,
        )
        return MeasuredPair(pair, *(tuple(_observations(side)) for side in (base_calls, new_calls)))

    def _typical(self, calls: Sequence[WarmSession]) -> list[list[float]]:
        """The typical call of each burst, by process."""
        return [
            [self.typical(burst.reply.samples_ns) for burst in call.bursts.get(call.first.id, [])] for call in calls
        ]


def _observations(calls: Sequence[WarmSession]) -> list[Observation]:
    """An observation of each process; one that is warm counts without bursts too, for the support of its cell."""
    seen = [call.observation(call.first, answered=True) for call in calls]
    return [observation for observation in seen if observation is not None]


def _value(base: list[list[float]], new: list[list[float]], in_sequence: bool) -> float:
    """The pair's natural log ratio from the typical calls of each process's bursts."""
    if not in_sequence:
        return value(base[0], new[0])
    return mean(math.log(median(ms)) for ms in new) - mean(math.log(median(ms)) for ms in base)
