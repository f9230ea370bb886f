"""Decide from pairs of base and new side which cells are slower, which are not, and which stay undecided (pure).

Every cell is screened with few pairs. Suspects are confirmed on fresh pairs, so that the noise that made a cell suspect
is not counted twice. Every gate also compares base with base: this null control shows whether the machine can be
trusted. `docs/gate.md` explains the rules. These were found by simulation (`nox -s calibrate`):

- The pairs of a screen are judged by their scatter. Two pairs that scatter by 10 % show nothing, so a cell gets 4, 8
  and 16 pairs, until they show a slowdown of 10 % with 99.5 % certainty. If 16 do not, the cell is inconclusive.
- A suspect is not cleared while a slowdown of 10 % is possible, even if its estimate is low.
- A suspect is cleared early if it is certainly below 2 %, or if its estimate is below 1 %.
- At the end, every suspect that may be slower by 2 % is inconclusive, even if its interval contains 0.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from bench.gating.rules import RULES, CellDecision, CollectedPairs, Decision, PairRequest, Rules, Sampler, Step
from bench.gating.scatter import own
from bench.gating.stages import ScreenState, confirm, control, null_pairs, null_requests, screen
from bench.records import NullControl, Pair, PairKind, note

__all__ = [
    "RULES",
    "CellDecision",
    "CollectedPairs",
    "Decision",
    "PairRequest",
    "Replay",
    "Rules",
    "Sampler",
    "Step",
    "gate",
    "step",
]


def step(cells: Sequence[str], collected: CollectedPairs, rules: Rules = RULES) -> Step:
    """The pairs that a gate needs next, or its decision if it needs none.

    The result depends on the collected pairs alone, not on the order of the cells or the number of calls.
    """
    # Sorted, since null pairs are spread over the cells by position.
    names = sorted(set(cells))
    counts = [null_pairs(len(names), rules)]
    # Only the first null pairs, so that the screen stays the same when suspects bring more of them.
    screened = screen(names, collected, collected.null[: counts[0]], rules)
    requests, decided = screened.requests, screened.decided
    # Confirming waits for the first null pairs: a biased machine would make every cell a suspect.
    if not null_requests(names, counts[0], collected):
        # Clear cases do not wait for the end of the screen, which may be the end of the time.
        suspects = screened.clear if screened.requests else screened.suspects
        others = len(screened.suspects) - len(suspects) + screened.undecided
        confirmed = confirm(suspects, collected, rules, others)
        requests, decided = (*requests, *confirmed.requests), decided | confirmed.decided
        # At each look the control has as many pairs as a suspect, as far as more of them show more.
        counts += [max(counts[0], min(look, rules.most_null_pairs)) for look in confirmed.looks]
    if not (rules.null_last and screened.requests):
        requests += null_requests(names, counts[-1], collected)
    null = _control(collected, counts, screened, requests, rules)
    # After a bad null control more pairs cannot help: no verdict of this machine counts.
    if null.fine and requests:
        return Step(requests)
    return Step(
        (), Decision(tuple(_apply_null_control(cell, decided.get(cell), collected, null) for cell in cells), null)
    )


def gate(cells: Sequence[str], sampler: Sampler, rules: Rules = RULES, seed: int = 0) -> Decision:
    """Collect pairs from a sampler until every cell is decided.

    Cells take turns in a random order, new in each turn, so that slow changes of the machine affect all cells equally.
    Raises `ValueError` if a pair is not finite.
    """
    rng, collected = random.Random(seed), CollectedPairs()
    while True:
        now = step(cells, collected, rules)
        if now.decision is not None:
            return now.decision
        for cell, kind in _turns(now.requests, rng):
            _collect_pair(sampler, cell, kind, collected)


class Replay:
    """A sampler that returns recorded pairs, to judge a gate's `pairs.jsonl` again.

    Failed and discarded pairs are left out: no verdict uses them.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.remaining: defaultdict[tuple[str, PairKind], list[float]] = defaultdict(list)
        # Reversed, since `pop` takes from the end.
        for pair in sorted(pairs, key=lambda pair: pair.number, reverse=True):
            if pair.value is not None and not pair.set_aside:
                self.remaining[pair.cell, pair.kind].append(pair.value)

    def pair(self, cell: str, kind: PairKind) -> float | None:
        """The next recorded pair of a cell and kind, None after the last."""
        remaining = self.remaining[cell, kind]
        return remaining.pop() if remaining else None


def _turns(requests: Sequence[PairRequest], rng: random.Random) -> Iterator[tuple[str, PairKind]]:
    """The requested pairs in the order to measure them: one pair of a cell in a turn, the turns drawn at random."""
    turns: list[list[tuple[str, PairKind]]] = [[] for _ in range(max(request.count for request in requests))]
    for request in requests:
        # A cell with fewer pairs than there are turns takes part in random ones, not only in the first.
        for number in sorted(rng.sample(range(len(turns)), request.count)):
            turns[number].append((request.cell, request.kind))
    for turn in turns:
        rng.shuffle(turn)
        yield from turn


def _collect_pair(sampler: Sampler, cell: str, kind: PairKind, collected: CollectedPairs) -> None:
    """Collect one pair of a cell, unless the cell has ended."""
    ended = collected.null_ended if kind == "null" else collected.ended
    if cell in ended:
        return
    value = sampler.pair(cell, kind)
    if value is None:
        ended.add(cell)
    elif not math.isfinite(value):
        raise ValueError(f"a pair of {cell} has the log ratio {value}, which is no number; a failed pair is None")
    elif kind == "null":
        collected.null.append(value)
    else:
        (collected.screen if kind == "screen" else collected.confirm).setdefault(cell, []).append(value)


def _control(
    collected: CollectedPairs,
    counts: Sequence[int],
    screened: ScreenState,
    requests: Sequence[PairRequest],
    rules: Rules,
) -> NullControl:
    """The first bad null control among those at complete counts, else the last one; fine if none is complete yet.

    If no more pairs are needed or possible, the pairs so far are used.
    """
    complete = sorted(
        {count for count in counts if count <= len(collected.null)} | (set() if requests else {len(collected.null)})
    )
    controls = [control(collected.null[:count], screened.scatter, screened.freedom, rules) for count in complete]
    # A control that was bad at any count stays bad: asking until it looks fine would defeat it.
    bad = [result for result in controls if not result.fine]
    return (bad or controls[-1:] or [NullControl(len(collected.null), None, True, "")])[0]


def _apply_null_control(
    cell: str, decided: CellDecision | None, collected: CollectedPairs, null: NullControl
) -> CellDecision:
    """Make a verdict inconclusive if the null control failed, or if the cell is not decided yet."""
    if decided is None:
        values = collected.screen.get(cell, [])
        change = own(values).change() if len(values) > 1 else None
        decided = CellDecision(cell, "inconclusive", (), "screen" if values else "", change, len(values), None)
    elif null.fine or decided.verdict == "inconclusive":
        return decided
    return replace(decided, verdict="inconclusive", reasons=(note("unvouched"), *null.reason_facts))
