"""Where a series of values, one a run of one machine, steps to another level: advisory, and no verdict.

PELT (Killick, Fearnhead and Eckley, 2012; the library ruptures) finds the segments whose squared distances from their
own means, and a penalty for each segment, add up to the least. The penalty is `PENALTY` x variance x ln(runs), with the
variance of the runs taken from the differences of neighbours (von Neumann, 1941), which a single step hardly touches.

Simulated with independent Gaussian runs, 0.7 % of series of 10 runs without a step show one, 0.5 % of 12, 0.2 % of 20
and under 0.1 % of 30. A step in the middle is found within one run in 92 % (10 runs) to 100 % (20) of series where it
is five times the runs' scatter, in 51 % to 90 % where it is three times. Where the level itself wanders by half of
the runs' scatter a day, as on a machine shared with others, one series of 12 runs in ten shows a step, and every
second one of 40: hence advisory.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

MIN_RUNS = 10
"""With eight, one step in five is missed even where it is five times the scatter."""
MIN_SEGMENT = 3
"""Runs on either side of a step: one odd run, or two, is no new level."""
PENALTY = 7.0
"""Found by the simulation above; with 4 (Schwarz's criterion is 2), one series of ten runs in 27 shows a step."""
SMALLEST_SCATTER = 0.005
"""Of a log: runs that agree better than half a percent do so by chance, or by rounding."""
SMALLEST_STEP = 0.02
"""Steps of less are no news: it is what the gate calls a regression."""


class Step(Struct, frozen=True):
    """Where a series steps to another level."""

    at: int
    """The place in the series of the first value after it."""
    change: float
    """Relative change of the geometric mean of one segment to the next: 0.05 is 5 % more."""
    before: int
    after: int
    """Runs of the segments on either side."""


def is_available() -> bool:
    """Whether the library is here: it has no release for Python 3.14 yet."""
    return importlib.util.find_spec("ruptures") is not None


def steps(logs: Sequence[float]) -> tuple[Step, ...]:
    """The steps of a series of natural logarithms; none in under `MIN_RUNS` values, or without the library."""
    if len(logs) < MIN_RUNS or not is_available() or not all(map(math.isfinite, logs)):
        return ()
    import ruptures

    series = np.asarray(logs, dtype=np.float64)
    penalty = PENALTY * _variance(series) * math.log(len(series))
    # With a linear kernel this is PELT over squared distances from the mean, in C: Pelt(model="l2") takes 8 s for 1000.
    search = ruptures.KernelCPD(kernel="linear", min_size=MIN_SEGMENT).fit(series.reshape(-1, 1))
    ends = [int(end) for end in search.predict(pen=penalty)]
    candidates = [_step(series, start, at, end) for start, at, end in zip([0, *ends], ends, ends[1:], strict=False)]
    return tuple(step for step in candidates if abs(step.change) >= SMALLEST_STEP)


def _variance(series: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return max(float(np.mean(np.diff(series) ** 2)) / 2, SMALLEST_SCATTER**2)


def _step(series: np.ndarray[tuple[int, ...], np.dtype[np.float64]], start: int, at: int, end: int) -> Step:
    shift = float(series[at:end].mean() - series[start:at].mean())
    return Step(at, math.expm1(min(shift, 700.0)), at - start, end - at)
