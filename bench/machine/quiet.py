"""Tells whether other programs keep this machine too busy for times to be measured on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from bench.machine.state import since, snapshot

MOST_OTHER_PERCENT = 15.0
"""The share of all cores that others may use: above it, figures scatter visibly on machines with few cores."""
GLANCE_S, LOOK_S = 0.3, 1.0
"""The length of the first look, and of a second where the first saw something: an update check lasts for a moment."""


class Busyness(Struct, frozen=True):
    """What other programs, and other machines of the same host, take of this machine; None for what cannot be read."""

    cores: float
    load_1min: float | None = None
    other_percent: float | None = None
    """Of all cores' time."""
    steal_percent: float | None = None

    @property
    def taken_percent(self) -> float:
        """The share of all cores' time that this machine does not have for itself."""
        return (self.other_percent or 0.0) + (self.steal_percent or 0.0)

    @property
    def is_busy(self) -> bool:
        """Whether figures would scatter. The load is no criterion: after a preparation it is this program's own."""
        return self.taken_percent > MOST_OTHER_PERCENT


def look(cores: float, sleep: Callable[[float], None] = time.sleep) -> Busyness:
    """Look for a moment at what others use, and longer where that is much; nothing of this program may run then."""
    seen = _sample(cores, GLANCE_S, sleep)
    return _sample(cores, LOOK_S, sleep) if seen.is_busy else seen


def _sample(cores: float, seconds: float, sleep: Callable[[float], None]) -> Busyness:
    before, own_s = snapshot(), time.process_time()
    sleep(seconds)
    state = since(before, time.process_time() - own_s)
    return Busyness(cores, state.load_1min, state.other_cpu_percent, state.steal_percent)
