"""What a gate asks for and what it answers: the rules, the pairs so far, and a verdict for each cell."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct, field

from bench.gating import text
from bench.records import Interval, Note, NullControl, PairKind

PairVerdict = Literal["pass", "regression", "inconclusive"]


class Rules(Struct, frozen=True):
    """What a gate asks for; the figures are MEASUREMENT's, and `nox -s calibrate` shows what they are worth.

    Slowdowns are relative, 0.015 for 1.5 %; chances are shares, 0.01 for 1 %.
    """

    screen_pairs: int = 2
    suspect: float = 0.015
    """A cell whose screen comes out slower than this is looked at again, on fresh pairs."""
    looks: tuple[int, ...] = (6, 12, 24)
    """Fresh pairs of a suspect at which it may be decided."""
    q: float = 0.005
    """Chance of a false alarm in a gate, all looks together."""
    regression: float = 0.02
    """A slowdown below this fails no gate, however sure it is."""
    clear: float = 0.01
    """A suspect whose fresh pairs come out below this was none."""
    more_screening: tuple[int, ...] = (4, 8, 16)
    """Pairs at which a cell's screen is judged again where fewer could not have shown a slowdown of `hidden`."""
    hidden: float = 0.10
    """The slowdown that no pass may hide."""
    certainty: float = 0.995
    """The chance with which a screen must show a slowdown of `hidden`, so that it may pass a cell."""
    prior_pairs: float = 8.0
    """What the scatter of all cells weighs against a cell's own, in degrees of freedom."""
    outlying: float = 0.01
    """Chance that a cell which scatters as all do is taken for one that scatters more, and gets more pairs."""
    few_null_pairs: int = 6
    null_pairs: int = 12
    """Base against base before anything is confirmed; the few in gates under `many_cells`."""
    many_cells: int = 20
    null_chance: float = 0.001
    """Chance that a look at an honest machine's null pairs calls them biased."""
    null_bias: float = 0.005
    """A bias below this is no matter: it is half of what clears a suspect."""


RULES = Rules()


class Sampler(Protocol):
    """Whoever makes pairs: processes, a recording, or a simulation."""

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The natural log of new over base of the next fresh pair of a cell: above 0 is slower.

        None where there is no more to come, as the time is used up or a side fails; the cell is asked no more then.
        """
        ...


class Seen(Struct):
    """The pairs so far, as natural logs of new over base in the order they were made."""

    screen: dict[str, list[float]] = field(default_factory=dict)
    confirm: dict[str, list[float]] = field(default_factory=dict)
    null: list[float] = field(default_factory=list)
    """Of all cells together: base against base has no change in any of them."""
    ended: set[str] = field(default_factory=set)
    """Cells of which there is no more to come."""
    null_ended: set[str] = field(default_factory=set)
    """Cells whose base against base gives no more."""


class Want(Struct, frozen=True):
    """Pairs of one cell that a gate needs next."""

    cell: str
    kind: PairKind
    count: int


class Decided(Struct, frozen=True):
    """What the pairs of one cell say of its speed."""

    cell: str
    verdict: PairVerdict
    reasons: tuple[Note, ...]
    stage: Literal["screen", "confirm", ""]
    """What decided; empty where nothing was measured."""
    change: Interval | None
    """Relative change of the time of a call, with its 95 % interval: 0.031 is 3.1 % slower."""
    pairs: int
    """Pairs behind `change`: fresh ones only where the stage is `confirm`."""
    detectable: float | None
    """The smallest slowdown that as many pairs with this scatter would have led to a regression four times in five."""

    @property
    def reason(self) -> str:
        """Why, in words."""
        return text.joined(self.reasons)


class Decision(Struct, frozen=True):
    """What a whole gate says: one `Decided` for each cell, in the order given."""

    cells: tuple[Decided, ...]
    null: NullControl


class Step(Struct, frozen=True):
    """What is wanted next; where that is nothing, the decision."""

    wants: tuple[Want, ...]
    decision: Decision | None = None
