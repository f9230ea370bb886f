"""Hold the rules of a gate, the pairs collected so far, and the decisions on its cells."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct, field

from bench.gating import text
from bench.records import Interval, Note, NullControl, PairKind

PairVerdict = Literal["pass", "regression", "inconclusive"]


class Rules(Struct, frozen=True):
    """The thresholds of a gate's decisions; `nox -s calibrate` measures the error rates that they give.

    Slowdowns are relative (0.015 is 1.5 %), and probabilities are shares (0.01 is 1 %).
    """

    screen_pairs: int = 2
    suspect: float = 0.015
    """A cell that is slower than this in its screen is measured again with fresh pairs."""
    # Each look has an equal share of `q`. The first is early for clear cases, and the last three are for the few
    # suspects that 24 pairs cannot decide: in simulations they cost less than (6, 12, 24), and leave far fewer open.
    looks: tuple[int, ...] = (3, 6, 12, 24, 36, 54, 80)
    """Numbers of fresh pairs at which a suspect may be decided, while time is left (looks of a sequential test)."""
    usual_look: int = 24
    """The look that `detectable` is computed for: few gates have the time for later ones."""
    q: float = 0.005
    """Probability of a false alarm in a gate, over all looks."""
    regression: float = 0.02
    """A slowdown below this never fails a gate, even if it is certain."""
    clear: float = 0.01
    """A suspect whose fresh pairs show less than this is cleared."""
    under_certainty: float = 0.95
    """The certainty with which a suspect is cleared as slower by less than `regression`."""
    more_screening: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Numbers of pairs at which a screen is judged again, if fewer pairs cannot show a slowdown of `hidden`."""
    hidden: float = 0.10
    """A cell passes only if its pairs can show this slowdown."""
    certainty: float = 0.995
    """The probability with which a screen must show a slowdown of `hidden`, before it may pass a cell."""
    prior_pairs: float = 8.0
    """The weight of the pooled scatter against a cell's own scatter, in degrees of freedom."""
    outlying: float = 0.01
    """Probability that a cell with ordinary scatter is treated as noisier than the others, and gets more pairs."""
    few_null_pairs: int = 6
    null_pairs: int = 12
    """Null pairs, base against base, before anything is confirmed; gates under `many_cells` need `few_null_pairs`."""
    most_null_pairs: int = 24
    """Suspects bring as many null pairs as they have fresh ones, up to this."""
    null_last: bool = False
    """Whether null pairs wait for the screen: only where the time is too short for both."""
    many_cells: int = 20
    null_chance: float = 0.001
    """Probability that the null pairs of an unbiased machine are called biased at one look."""
    task_loss: float = 0.5
    """A loss of the task metric up to this never fails a gate: in points, of a perplexity in percent."""
    null_bias: float = 0.005
    """A bias below this is ignored: it is half of `clear`."""


RULES = Rules()


class Sampler(Protocol):
    """Where pairs come from: processes, a recording or a simulation."""

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The natural log of new over base of the next fresh pair of a cell; above 0 is slower.

        None if there are no more pairs, because the time is used up or a side fails. The cell is not requested again.
        """
        ...


# Not frozen, because `gate` adds each pair as it comes.
class CollectedPairs(Struct):
    """The pairs so far, as natural logs of new over base, in the order of measurement."""

    screen: dict[str, list[float]] = field(default_factory=dict)
    confirm: dict[str, list[float]] = field(default_factory=dict)
    null: list[float] = field(default_factory=list)
    """Null pairs of all cells together: base against base has no change in any cell."""
    ended: set[str] = field(default_factory=set)
    """Cells that give no more pairs."""
    null_ended: set[str] = field(default_factory=set)
    """Cells that give no more null pairs."""


class PairRequest(Struct, frozen=True):
    """Pairs of one cell that a gate needs next."""

    cell: str
    kind: PairKind
    count: int


class CellDecision(Struct, frozen=True):
    """The decision on the speed of one cell."""

    cell: str
    verdict: PairVerdict
    reasons: tuple[Note, ...]
    stage: Literal["screen", "confirm", ""]
    """The stage that decided; empty if nothing was measured."""
    change: Interval | None
    """Relative change of the time of a call, with its 95 % interval: 0.031 is 3.1 % slower."""
    pairs: int
    """Number of pairs behind `change`; fresh pairs only if the stage is `confirm`."""
    detectable: float | None
    """The smallest slowdown that as many pairs with this scatter detect with 80 % power."""

    @property
    def reason(self) -> str:
        """The reasons in words."""
        return text.joined(self.reasons)


class Decision(Struct, frozen=True):
    """The decision of a whole gate: one `CellDecision` for each cell, in the order given."""

    cells: tuple[CellDecision, ...]
    null: NullControl


class Step(Struct, frozen=True):
    """The pairs to measure next; if there are none, the decision."""

    requests: tuple[PairRequest, ...]
    decision: Decision | None = None
