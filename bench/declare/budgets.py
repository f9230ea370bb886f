"""Defines the budgets: numbers of blocks and bursts, warm-up times, the resolution to reach, and the time for it."""

from bench.declare.suggest import nearest
from bench.errors import UsageError
from bench.records import Effort

MOST_MINUTES = 1440
"""A run is measured for a day at most, and so is a cell in its sustained run."""
TURNS = 16
BURST_S = 0.05
"""Many short bursts: other guests of a shared machine slow it for 0.1 to 5 s at a time, so the bursts of one second are
slowed together. Sixteen of 0.05 s take about as long as six of 0.15 s. Ratios of 15 turns scatter by 1.6 %, of
six by 5.2 % (docs/numbers.md). Both sides of a gate's pair have the same."""
BUDGETS = {
    # Two blocks at least: a single one has no scatter, so it gives numbers, but no interval.
    "quick": Effort(
        name="quick",
        min_rounds=2,
        max_rounds=12,
        half_width=0.05,
        warmup_calls=5,
        warmup_s=0.3,
        warmup_limit_s=1.5,
        burst_s=BURST_S,
        cell_limit_s=60.0,
        bursts=TURNS,
        minutes=8.0,
    ),
    "standard": Effort(
        name="standard",
        min_rounds=3,
        max_rounds=24,
        half_width=0.02,
        warmup_calls=10,
        warmup_s=1.0,
        warmup_limit_s=10.0,
        burst_s=BURST_S,
        cell_limit_s=60.0,
        bursts=TURNS,
        minutes=20.0,
    ),
    "thorough": Effort(
        name="thorough",
        min_rounds=6,
        max_rounds=48,
        half_width=0.01,
        warmup_calls=10,
        warmup_s=1.0,
        warmup_limit_s=10.0,
        burst_s=BURST_S,
        cell_limit_s=300.0,
        bursts=TURNS,
        minutes=60.0,
    ),
}

GATE = Effort(
    name="gate",
    # Two pairs screen a cell, and the last look at a suspect is after 80.
    min_rounds=2,
    max_rounds=80,
    half_width=None,
    warmup_calls=10,
    warmup_s=0.3,
    warmup_limit_s=3.0,
    burst_s=BURST_S,
    cell_limit_s=600.0,
    bursts=TURNS,
)
"""For each process of a pair: both sides have the same warm-up, and short bursts that alternate."""


def effort_named(name: str) -> Effort:
    """The effort of a budget. Raises `UsageError` for an unknown name."""
    if name not in BUDGETS:
        raise UsageError(f"unknown budget '{name}'", nearest(name, BUDGETS))
    return BUDGETS[name]
