"""What pairs of a base and a new side decide: which cells are slower, which are not, which cannot be told (pure).

Every cell is screened with few pairs; suspects are confirmed on fresh ones, so that what made a cell suspect by chance
is not counted against it twice. Base against base, in every gate, says whether the machine may be believed at all. The
rules are MEASUREMENT's ("The gate"), and these that its simulation taught beside them:

- A screen's pairs are judged by their scatter. Two that scatter by 10 % show nothing, so a cell gets 4, 8 and 16 pairs
  until a slowdown of 10 % would be seen with 99.5 % certainty; where even 16 would not show it, it is inconclusive.
- A suspect is not cleared while a slowdown of 10 % is possible, however low its estimate is.
- A suspect that is surely under the 2 % is cleared early as well as one that looks to be under 1 %.
- At the end, every suspect that may be slower by 2 % is inconclusive: whether its interval holds 0 does not help it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from bench.gating.rules import RULES, Decided, Decision, Rules, Sampler, Seen, Step, Want
from bench.gating.scatter import own
from bench.gating.stages import Screened, confirm, control, null_pairs, null_wants, screen
from bench.records import NullControl, Pair, PairKind, note

__all__ = ["RULES", "Decided", "Decision", "Replay", "Rules", "Sampler", "Seen", "Step", "Want", "gate", "step"]


def step(cells: Sequence[str], seen: Seen, rules: Rules = RULES) -> Step:
    """What is wanted next of a gate that has seen so much; where nothing is, what it decides.

    The answer hangs on the pairs alone: neither on the order of the cells, nor on how often this is asked.
    """
    names = sorted(set(cells))
    counts = [null_pairs(len(names), rules)]
    screened = screen(names, seen, seen.null[: counts[0]], rules)
    wants, decided = screened.wants, screened.decided
    if not wants and not null_wants(names, counts[0], seen):
        confirmed = confirm(screened.suspects, seen, rules)
        wants, decided = confirmed.wants, decided | confirmed.decided
        counts += [max(counts[0], look) for look in confirmed.looks]
    wants += null_wants(names, counts[-1], seen)
    null = _control(seen, counts, screened, wants, rules)
    if null.fine and wants:
        return Step(wants)
    return Step((), Decision(tuple(_vouched(cell, decided.get(cell), seen, null) for cell in cells), null))


def gate(cells: Sequence[str], sampler: Sampler, rules: Rules = RULES, seed: int = 0) -> Decision:
    """Ask a sampler for pairs until every cell is decided; `ValueError` if a pair is not finite.

    Cells take turns, in an order drawn anew for each turn, so that whatever the machine does falls on all alike.
    """
    chance, seen = random.Random(seed), Seen()
    while True:
        now = step(cells, seen, rules)
        if now.decision is not None:
            return now.decision
        for cell, kind in _turns(now.wants, chance):
            _ask(sampler, cell, kind, seen)


class Replay:
    """A sampler over recorded pairs, so that a gate's `pairs.jsonl` can be judged again.

    A pair that failed has no value, and one that was set aside is in no verdict.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.left: defaultdict[tuple[str, PairKind], list[float]] = defaultdict(list)
        for pair in sorted(pairs, key=lambda pair: pair.number, reverse=True):
            if pair.value is not None and not pair.set_aside:
                self.left[pair.cell, pair.kind].append(pair.value)

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The next recorded pair of a cell and kind, None after the last."""
        left = self.left[cell, kind]
        return left.pop() if left else None


def _turns(wants: Sequence[Want], chance: random.Random) -> Iterator[tuple[str, PairKind]]:
    """Every pair that is wanted, turn by turn; single pairs, as those of the null control are, fall on any turn."""
    turns: list[list[tuple[str, PairKind]]] = [[] for _ in range(max(want.count for want in wants))]
    for want in wants:
        for number in sorted(chance.sample(range(len(turns)), want.count)):
            turns[number].append((want.cell, want.kind))
    for turn in turns:
        chance.shuffle(turn)
        yield from turn


def _ask(sampler: Sampler, cell: str, kind: PairKind, seen: Seen) -> None:
    """One pair, unless the cell has given its last."""
    ended = seen.null_ended if kind == "null" else seen.ended
    if cell in ended:
        return
    value = sampler.pair(cell, kind)
    if value is None:
        ended.add(cell)
    elif not math.isfinite(value):
        raise ValueError(f"a pair of {cell} has the log ratio {value}, which is no number; a failed pair is None")
    elif kind == "null":
        seen.null.append(value)
    else:
        (seen.screen if kind == "screen" else seen.confirm).setdefault(cell, []).append(value)


def _control(seen: Seen, counts: Sequence[int], screened: Screened, wants: Sequence[Want], rules: Rules) -> NullControl:
    """The null control at each count that is complete, the first that is bad or else the last; open ones count as fine.

    Where nothing more is wanted, or can be had, the pairs so far must do.
    """
    complete = sorted({count for count in counts if count <= len(seen.null)} | (set() if wants else {len(seen.null)}))
    controls = [control(seen.null[:count], screened.scatter, screened.freedom, rules) for count in complete]
    bad = [found for found in controls if not found.fine]
    return (bad or controls[-1:] or [NullControl(len(seen.null), None, True, "")])[0]


def _vouched(cell: str, decided: Decided | None, seen: Seen, null: NullControl) -> Decided:
    """A verdict as the null control leaves it: what it does not vouch for is inconclusive."""
    if decided is None:
        values = seen.screen.get(cell, [])
        change = own(values).change() if len(values) > 1 else None
        decided = Decided(cell, "inconclusive", (), "screen" if values else "", change, len(values), None)
    elif null.fine or decided.verdict == "inconclusive":
        return decided
    return replace(decided, verdict="inconclusive", reasons=(note("unvouched"), *null.reason_facts))
