"""The budgets by name: how many rounds, how long a warm-up, how narrow an interval."""

from bench.declare.nearest import nearest
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
    # Six at least, not five: stopping as soon as an interval looks narrow enough costs coverage, 93.0 % of the nominal
    # 95 % with five rounds and 93.7 % with six, at 3 % scatter between rounds (tests/unit/test_stats.py simulates it).
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
    ),
}


def effort_named(name: str) -> Effort:
    """The effort of a budget; `UsageError` for a name that is none."""
    if name not in BUDGETS:
        raise UsageError(f"unknown budget '{name}'", nearest(name, BUDGETS))
    return BUDGETS[name]
