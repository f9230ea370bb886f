"""The pairs of processes that a gate's decisions ask for, within its time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bench.gating.pairs import Made, Pairer
from bench.gating.scatter import relative
from bench.measure.warm_session import Side
from bench.progress import Progress, duration
from bench.records import PairKind

FIRST_GUESS_S = 5.0
"""What a pair of a small model takes; after the first pair of a cell its own time is known."""
REPEATS = 2
"""How often one pair is made again."""
PATIENCE = 6
"""After so many disturbed pairs in a row the machine is busy for good, and nothing is set aside until it is quiet."""


class Sides(Struct, frozen=True):
    """A cell as the base has it, and as it is now."""

    base: Side
    new: Side
    threads: int = 1
    """Of the new side, as the machine's load is judged by them where nothing better can be read."""
    in_sequence: bool = False
    """True where both do not fit into the memory at once."""


class Processes:
    """Makes the pairs that are asked for, until the time is used up, a side fails, or someone interrupts."""

    def __init__(
        self,
        sides: Mapping[str, Sides],
        pairer: Pairer,
        note: Callable[[Made], None],
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
        """Pairs in a row that others disturbed."""

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The log of new over base of a fresh pair; None where there will be no more of this cell.

        A pair that others disturbed is set aside and made again. Whether it is hangs on the machine's state alone,
        which favours no side. A machine that is never quiet is not waited for: its scatter is the gate's to judge.
        """
        made = self._next(cell, kind)
        for _ in range(REPEATS):
            if made is None or not self._is_set_aside(made):
                break
            self._keep(Made(replace(made.pair, set_aside=True), made.base, made.new))
            made = self._next(cell, kind)
        if made is None:
            return None
        self._keep(made)
        if made.pair.value is None:
            self.failed.add(cell)
        return made.pair.value

    def _keep(self, made: Made) -> None:
        try:
            self.note(made)
            self.progress.step(_line(made))
        except KeyboardInterrupt:  # writing to a slow disk takes long enough for it
            self.interrupted = True

    def _next(self, cell: str, kind: PairKind) -> Made | None:
        if self.interrupted or cell in self.failed or not self._has_time(cell):
            return None
        try:
            made = self._make(cell, kind)
        except KeyboardInterrupt:
            self.interrupted = True
            return None
        self.took[cell] = made.pair.seconds
        return made

    def _is_set_aside(self, made: Made) -> bool:
        """Whether others disturbed a pair that has a value, on a machine that is not busy for good."""
        threads = self.sides[made.pair.cell].threads
        disturbed = made.pair.value is not None and made.disturbed(threads)
        self.disturbed = self.disturbed + 1 if disturbed else 0
        return disturbed and self.disturbed <= PATIENCE

    def _make(self, cell: str, kind: PairKind) -> Made:
        self.numbers[cell, kind] += 1
        number, sides = self.numbers[cell, kind], self.sides[cell]
        self.progress.detail(f"{kind} pair {number} of {cell}{self._left()}")
        # A null pair is the base twice: whatever differs between its sides is the machine's doing, or ours.
        new = Side(sides.new.name, sides.base.cell, sides.base.visitor) if kind == "null" else sides.new
        return self.pairer.pair(sides.base, new, kind, number, in_sequence=sides.in_sequence)

    def _has_time(self, cell: str) -> bool:
        """Whether one more pair of this cell would end in time."""
        guess = self.took.get(cell, max(self.took.values(), default=FIRST_GUESS_S))
        fits = self.end is None or self.clock() + guess <= self.end
        self.out_of_time = self.out_of_time or not fits
        return fits

    def _left(self) -> str:
        return "" if self.end is None else f"; at most {duration(max(0.0, self.end - self.clock()))} more"


def _line(made: Made) -> str:
    """`minilm/int8/cpu/b1: screen pair 2: +0.4 %`."""
    pair = made.pair
    if pair.value is None:
        return f"{pair.cell}: {pair.kind} pair {pair.number} failed: {pair.failure}"
    aside = ", discarded: the CPU was busy" if pair.set_aside else ""
    return f"{pair.cell}: {pair.kind} pair {pair.number}: {100 * relative(pair.value):+.1f} %{aside}"


def too_large_for_two(peaks_bytes: Collection[int | None], memory_bytes: int) -> bool:
    """Whether two processes of these peaks do not fit at once into nine tenths of the memory."""
    known = [peak for peak in peaks_bytes if peak is not None]
    return bool(known) and 2 * max(known) > memory_bytes * 9 // 10
