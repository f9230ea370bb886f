"""Measure a pair: a block of two fresh processes of one cell, base and new, and their log ratio."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct

from bench.declare.budgets import BURST_S, TURNS
from bench.judge.bursts import block_log_ratio, turn_values
from bench.judge.flags import busy
from bench.measure.blocks import TURNS_S, Bursts, measure_block, measure_in_sequence
from bench.measure.observations import now
from bench.measure.warm_session import Member, WarmSession
from bench.records import Observation, Pair, PairKind


class MeasuredPair(Struct, frozen=True):
    """A pair, and one observation for each of its processes."""

    pair: Pair
    base: tuple[Observation, ...]
    new: tuple[Observation, ...]

    def disturbed(self, threads: int) -> bool:
        """Whether other programs used the processor during the bursts."""
        return any(busy(observation, threads) for observation in (*self.base, *self.new))


class Pairer:
    """Measures pairs. `shared` says that the machine has other guests."""

    def __init__(self, seed: int, *, shared: bool = False, burst_s: float = BURST_S) -> None:
        self.seed, self.shared, self.burst_s = seed, shared, burst_s

    def pair(
        self, base: Member, new: Member, kind: PairKind, number: int, *, in_sequence: bool = False
    ) -> MeasuredPair:
        """Measure one pair. If a side fails, the value is None, and the side's observation holds the failure."""
        cell = base.cells[0].id
        # Seeded by cell and number: the order of a pair does not depend on which other pairs were measured.
        rng = random.Random(f"{self.seed}/{cell}/{kind}/{number}")
        started = now()
        # Whole pairs are set aside, by the load during all of their bursts.
        bursts = Bursts(TURNS, self.burst_s, TURNS_S, all_or_none=True, set_aside=False)
        if in_sequence:
            first, second = rng.sample([base, new], 2)
            block = measure_in_sequence(first, second, number, bursts, rng)
        else:
            block = measure_block([base, new], number, bursts, rng)
        base_calls, new_calls = ([call for call in block.sessions if call.member is side] for side in (base, new))
        failed = next((call for call in block.sessions if call.failed), None)
        base_seen, new_seen = _observations(base_calls), _observations(new_calls)
        pair = Pair(
            cell=cell,
            kind=kind,
            number=number,
            started=started,
            value=None if failed else self._value(base_seen, new_seen),
            base_ms=self._typical(base_seen),
            new_ms=self._typical(new_seen),
            order="".join(session.member.name[0] for session, _ in block.order),
            way="in sequence" if in_sequence else "side by side",
            state=block.sessions[-1].state,
            failure=f"{failed.member.name}: {next(iter(failed.failures.values())).message}" if failed else "",
            seconds=block.seconds,
        )
        return MeasuredPair(pair, base_seen, new_seen)

    def _value(self, base: Sequence[Observation], new: Sequence[Observation]) -> float | None:
        """The natural log of new over base; None where the clock did not advance.

        In sequence, where each side has two processes, it is the mean of the two halves.
        """
        halves = [block_log_ratio(one, other, shared=self.shared) for one, other in zip(base, new, strict=True)]
        known = [half for half in halves if half is not None]
        return fmean(known) if len(known) == len(halves) > 0 else None

    def _typical(self, seen: Sequence[Observation]) -> tuple[float, ...]:
        """The typical call of each burst of a side, in milliseconds."""
        return tuple(ms for observation in seen for ms in turn_values(observation, shared=self.shared).values())


def _observations(calls: Sequence[WarmSession]) -> tuple[Observation, ...]:
    """An observation of each process; one that is warm counts without bursts too, for the support of its cell."""
    seen = [call.observation(call.first, answered=True) for call in calls]
    return tuple(observation for observation in seen if observation is not None)
