"""Pairs of a base and a new side in, verdicts out: who is slower, who is not, and who cannot be told (pure)."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from bench.records import Interval, NullControl, PairKind


class Rules(Struct, frozen=True):
    """What a gate asks for; the figures are MEASUREMENT's, and `nox -s calibrate` shows what they are worth."""

    screen_pairs: int = 2
    suspect: float = 0.015
    looks: tuple[int, ...] = (6, 12, 24)
    q: float = 0.005
    regression: float = 0.02
    clear: float = 0.01


class Sampler(Protocol):
    """Whoever makes pairs: processes, a recording, or a simulation."""

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The natural log of new over base of the next fresh pair of a cell: above 0 is slower.

        None where there is no more to come, as the time is used up or a side fails; the cell is asked no more then.
        """
        ...


class Decided(Struct, frozen=True):
    """What the pairs of one cell say of its speed."""

    cell: str
    verdict: Literal["pass", "regression", "inconclusive"]
    reason: str
    stage: Literal["screen", "confirm", ""]
    change: Interval | None
    """Relative change of the time of a call, with its 95 % interval: 0.031 is 3.1 % slower."""
    pairs: int
    detectable: float | None


class Decision(Struct, frozen=True):
    """What a whole gate says: one `Decided` for each cell, in the order given."""

    cells: tuple[Decided, ...]
    null: NullControl
