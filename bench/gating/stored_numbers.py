"""Rounds of a base that cannot be run again, and fresh rounds of the new side in; what those may say out (pure).

Stored numbers are not paired with anything: what the machine did on another day is in the difference. So they warn, and
they fail a cell only where the whole interval lies above what a machine drifts by (see MEASUREMENT, "The gate").
"""

from __future__ import annotations

from bench.gating.decision import Rules
from bench.judge import statistics
from bench.judge.speed import Medians, logs
from bench.judge.stored_change import DRIFT, change
from bench.records import GateCell, GateVerdict, Interval

ROUNDS = 6
"""Fresh rounds of the new side: under six, an interval of a noisy machine says nothing at all."""


def stored(cell: str, base: Medians, new: Medians, why: str, rules: Rules) -> GateCell:
    """The verdict on one cell from stored medians; `why` says why its base was not run again."""
    found = change(logs(base), logs(new)) if base and new else None
    verdict, reason = _judged(found, rules)
    return GateCell(
        cell=cell,
        verdict=verdict,
        reason=f"{reason}; against stored numbers, as {why}",
        stage="stored",
        change=found,
        pairs=0,
        detectable=DRIFT if verdict == "pass" else None,
        base_ms=statistics.typical(base.values()),
        new_ms=statistics.typical(new.values()),
    )


def _judged(found: Interval | None, rules: Rules) -> tuple[GateVerdict, str]:
    if found is None or found.low is None or found.high is None:
        return "inconclusive", "too few rounds to tell"
    if found.low > DRIFT:
        return "regression", f"at least {found.low:.1%} slower, more than a machine drifts by"
    if found.low > 0 and found.value > rules.suspect:
        return "warning", f"looks {found.value:.1%} slower, which a machine's drift may explain"
    if found.high > DRIFT:
        return "inconclusive", f"a slowdown of {found.high:.0%} cannot be ruled out"
    return "pass", f"no slowdown over {DRIFT:.0%}"
