"""What was decided of a cell, and from which pairs, in; one plain sentence out."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gating.rules import Rules
from bench.records import Interval


def percent(share: float) -> str:
    """`5.1 %`; no figures after the point from a hundred up."""
    figure = f"{100 * share:.0f}" if abs(share) >= 0.9995 else f"{100 * share:.1f}"
    return f"{'0.0' if figure == '-0.0' else figure} %"


def limit(share: float) -> str:
    """A figure of the rules as it was written: `2 %`, `1.5 %`."""
    return f"{100 * share:g} %"


def of(count: int, what: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def with_ends(change: Interval) -> str:
    """`5.1 % (4.2 to 6.0 %)`."""
    if change.low is None or change.high is None:
        return percent(change.value)
    return f"{percent(change.value)} ({percent(change.low).removesuffix(' %')} to {percent(change.high)})"


def not_slower(change: Interval, pairs: int, fresh: bool) -> str:
    """The cell passes, as its pairs show no slowdown."""
    return f"no slowdown shown: {with_ends(change)} in {of(pairs, 'fresh pair' if fresh else 'pair')}"


def slower(change: Interval, values: Sequence[float]) -> str:
    """The cell is slower."""
    above = sum(value > 0 for value in values)
    return f"{above} of {of(len(values), 'fresh pair')} slower: {with_ends(change)}"


def too_little(change: Interval, pairs: int, rules: Rules) -> str:
    """The cell passes though it may be slower: by less than fails a gate."""
    return f"not slower by {limit(rules.regression)} or more: {with_ends(change)} in {of(pairs, 'fresh pair')}"


def undecided(change: Interval, pairs: int, rules: Rules) -> str:
    """The last look is over, and cannot tell."""
    if change.value > rules.regression:
        return f"looks slower by {with_ends(change)}, but {of(pairs, 'fresh pair')} are not sure enough of it"
    return (
        f"{of(pairs, 'fresh pair')} cannot tell {with_ends(change)} from none, "
        f"nor from the {limit(rules.regression)} that fail a gate"
    )


def hidden(scatter: float, pairs: int, rules: Rules) -> str:
    """The screen of a cell is over, and shows too little."""
    return f"{of(pairs, 'pair')} that scatter by {percent(scatter)} each could hide a slowdown of {limit(rules.hidden)}"


def ended(pairs: int, wanted: int, kind: str) -> str:
    """No more pairs came: the time was used up, or a side failed."""
    return f"only {pairs} of {of(wanted, f'{kind} pair')} could be made"


def unvouched(reason: str) -> str:
    """The null control takes back what was decided."""
    return f"the null control does not vouch for this machine: {reason}"
