"""Measure the pairs that a gate's decisions request, within the time budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bench.gating.pairs import MeasuredPair, Pairer
from bench.gating.scatter import relative
from bench.measure.warm_session import Member
from bench.progress import Progress, duration
from bench.records import PairKind

# Pairs of small models take 4 to 13 s on a virtual machine with 2 cores (docs/gate.md).
FIRST_GUESS_S = 5.0
"""Expected seconds of the first pair of a gate; after that the measured times are used."""
REPEATS = 2
"""How often a disturbed pair is measured again."""
PATIENCE = 6
"""After so many disturbed pairs in a row the machine counts as always busy: no pair is discarded until it is quiet."""


class Sides(Struct, frozen=True):
    """The two sides of a cell."""

    base: Member
    new: Member
    threads: int = 1
    """Threads of the new side: they tell its own load from that of others if the system does not report it."""
    in_sequence: bool = False
    """True if both do not fit into memory at once."""


class Processes:
    """A sampler that measures pairs until the time is used up, a side fails, or the user interrupts.

    `note` is called with each pair, `budget_s` is in seconds (None: no limit), and `clock` returns seconds.
    """

    def __init__(
        self,
        sides: Mapping[str, Sides],
        pairer: Pairer,
        note: Callable[[MeasuredPair], None],
        progress: Progress,
        budget_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sides, self.pairer, self.note, self.progress = sides, pairer, note, progress
        self.clock = clock
        self.end = None if budget_s is None else clock() + budget_s
        self.numbers: Counter[tuple[str, PairKind]] = Counter()
        self.took: dict[str, float] = {}
        self.failed: set[str] = set()
        self.interrupted = False
        self.out_of_time = False
        self.disturbed = 0
        """Disturbed pairs in a row."""

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The natural log of new over base of a fresh pair; None if there are no more pairs of this cell.

        A pair that other programs disturbed is discarded and measured again. Only the machine's state decides this,
        never the pair's value, so that neither side has an advantage. The gate does not wait for a machine that stays
        busy: the scatter of its pairs is judged instead.
        """
        measured = self._next(cell, kind)
        for _ in range(REPEATS):
            if measured is None or not self._is_set_aside(measured):
                break
            self._keep(MeasuredPair(replace(measured.pair, set_aside=True), measured.base, measured.new))
            measured = self._next(cell, kind)
        if measured is None:
            return None
        self._keep(measured)
        # The failure decides the cell by its support, so more pairs would tell nothing.
        if measured.pair.value is None:
            self.failed.add(cell)
        return measured.pair.value

    def _keep(self, measured: MeasuredPair) -> None:
        try:
            self.note(measured)
            self.progress.step(_line(measured))
        except KeyboardInterrupt:  # may come while a slow disk writes: the pair is complete, so it still counts
            self.interrupted = True

    def _next(self, cell: str, kind: PairKind) -> MeasuredPair | None:
        if self.interrupted or cell in self.failed or not self._has_time(cell):
            return None
        try:
            measured = self._make(cell, kind)
        except KeyboardInterrupt:
            self.interrupted = True
            return None
        self.took[cell] = measured.pair.seconds
        return measured

    def _is_set_aside(self, measured: MeasuredPair) -> bool:
        """Whether a pair has a value but was disturbed, on a machine that is not always busy."""
        threads = self.sides[measured.pair.cell].threads
        disturbed = measured.pair.value is not None and measured.disturbed(threads)
        # Pairs of all cells count together, since the load belongs to the machine.
        self.disturbed = self.disturbed + 1 if disturbed else 0
        return disturbed and self.disturbed <= PATIENCE

    def _make(self, cell: str, kind: PairKind) -> MeasuredPair:
        self.numbers[cell, kind] += 1
        number, sides = self.numbers[cell, kind], self.sides[cell]
        self.progress.detail(f"{kind} pair {number} of {cell}{self._left()}")
        # A null pair is the base twice: a difference between its sides comes from the machine or the measurement.
        new = Member(sides.new.name, sides.base.cells, sides.base.visitor) if kind == "null" else sides.new
        return self.pairer.pair(sides.base, new, kind, number, in_sequence=sides.in_sequence)

    def _has_time(self, cell: str) -> bool:
        """Whether one more pair of this cell ends within the budget."""
        # Before its first pair, the slowest pair of any cell so far stands for a cell.
        expected_s = self.took.get(cell, max(self.took.values(), default=FIRST_GUESS_S))
        # A pair is not begun if it would end after the budget: half a pair has no value.
        is_enough = self.end is None or self.clock() + expected_s <= self.end
        self.out_of_time = self.out_of_time or not is_enough
        return is_enough

    def _left(self) -> str:
        return "" if self.end is None else f"; at most {duration(max(0.0, self.end - self.clock()))} more"


def _line(measured: MeasuredPair) -> str:
    """`minilm/int8/cpu/b1: screen pair 2: +0.4 %`."""
    pair = measured.pair
    if pair.value is None:
        return f"{pair.cell}: {pair.kind} pair {pair.number} failed: {pair.failure}"
    aside = ", discarded: the CPU was busy" if pair.set_aside else ""
    return f"{pair.cell}: {pair.kind} pair {pair.number}: {100 * relative(pair.value):+.1f} %{aside}"


def too_large_for_two(peaks_bytes: Collection[int | None], memory_bytes: int) -> bool:
    """Whether two processes with these memory peaks need more than nine tenths of the memory; None is unknown."""
    known = [peak for peak in peaks_bytes if peak is not None]
    # A tenth is left to the rest of the system, as by the memory limit of a single worker.
    return bool(known) and 2 * max(known) > memory_bytes * 9 // 10
