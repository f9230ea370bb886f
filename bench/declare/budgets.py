"""Defines the budgets: numbers of rounds and bursts, warm-up times, and the width of the interval to reach."""

from bench.declare.suggest import nearest
from bench.errors import UsageError
from bench.records import Effort

BUDGETS = {
    "quick": Effort(
        name="quick",
        min_rounds=3,
        max_rounds=3,
        half_width=None,
        warmup_calls=5,
        warmup_s=0.3,
        warmup_limit_s=1.5,
        burst_s=0.25,
        cell_limit_s=60.0,
    ),
    # Five bursts, so that a visit of a small model spends 40 % of its time in them: what comes before them, a second of
    # warm-up above all, takes six times as long as one (`nox -s overhead` measures it).
    # Six rounds at least, not five: stopping as soon as an interval looks narrow enough costs coverage, 93.0 % of the
    # nominal 95 % with five rounds and 93.7 % with six, at 3 % scatter between rounds (tests/unit/test_stats.py).
    "standard": Effort(
        name="standard",
        min_rounds=6,
        max_rounds=10,
        half_width=0.02,
        warmup_calls=10,
        warmup_s=1.0,
        warmup_limit_s=10.0,
        burst_s=0.25,
        cell_limit_s=60.0,
        bursts=5,
    ),
    "thorough": Effort(
        name="thorough",
        min_rounds=10,
        max_rounds=20,
        half_width=0.01,
        warmup_calls=10,
        warmup_s=1.0,
        warmup_limit_s=10.0,
        burst_s=0.25,
        cell_limit_s=300.0,
        bursts=5,
    ),
}

GATE = Effort(
    name="gate",
    # Two pairs screen a cell, and the last look at a suspect is after 24.
    min_rounds=2,
    max_rounds=24,
    half_width=None,
    warmup_calls=10,
    warmup_s=0.3,
    warmup_limit_s=3.0,
    # Short, because the sides alternate: so the ratio of two processes scatters by 0.8 %, one after the other by 1.9 %.
    burst_s=0.15,
    cell_limit_s=600.0,
)
"""For each process of a pair: both sides have the same warm-up, and short bursts that alternate."""


def effort_named(name: str) -> Effort:
    """The effort of a budget. Raises `UsageError` for an unknown name."""
    if name not in BUDGETS:
        raise UsageError(f"unknown budget '{name}'", nearest(name, BUDGETS))
    return BUDGETS[name]
