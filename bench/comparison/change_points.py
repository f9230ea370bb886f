"""Find change points in a series of values, one for each run of one machine. They are advisory, not verdicts.

PELT (Killick, Fearnhead and Eckley, 2012; the library ruptures) minimizes the sum of squared distances from the segment
means plus a penalty for each segment. The penalty is `PENALTY` x variance x ln(runs). The variance comes from the
differences of neighbouring runs (von Neumann, 1941), which a single step hardly changes.

In simulations of independent Gaussian runs without a step, 0.7 % of series of 10 runs show one, 0.5 % of 12, 0.2 % of
20 and under 0.1 % of 30. A step in the middle of five times the scatter is found, to within one run, in 92 % (10 runs)
to 100 % (20 runs) of series; a step of three times the scatter in 51 % to 90 %. If the level drifts by half of the
scatter each day, as on a shared machine, a tenth of the series of 12 runs and half of those of 40 show a step.
Therefore change points are advisory.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

MIN_RUNS = 10
"""With eight runs, one step in five is missed even if it is five times the scatter."""
MIN_SEGMENT = 3
"""Minimum number of runs on either side of a step: one or two unusual runs are not a new level."""
PENALTY = 7.0
"""Chosen by the simulation above; with 4, one in 27 series of ten runs shows a step (Schwarz's criterion is 2)."""
SMALLEST_SCATTER = 0.005
"""Lower limit of the standard deviation, as a log ratio: a closer agreement of runs is chance or rounding."""
SMALLEST_STEP = 0.02
"""Smaller steps are not reported; the gate uses the same limit for a regression."""


class Step(Struct, frozen=True):
    """A change point of a series."""

    at: int
    """Index of the first value after the step."""
    change: float
    """Relative change of the geometric mean from one segment to the next: 0.05 is 5 % more."""
    before: int
    after: int
    """Number of runs in the segment on either side."""


def is_available() -> bool:
    """Whether the library ruptures is installed: it has no release for Python 3.14 yet."""
    return importlib.util.find_spec("ruptures") is not None


def steps(logs: Sequence[float]) -> tuple[Step, ...]:
    """The change points of a series of natural logarithms; none for under `MIN_RUNS` values or without ruptures."""
    if len(logs) < MIN_RUNS or not is_available() or not all(map(math.isfinite, logs)):
        return ()
    # Not at the top of the file, because ruptures is missing on some versions of Python.
    import ruptures

    series = np.asarray(logs, dtype=np.float64)
    penalty = PENALTY * _variance(series) * math.log(len(series))
    # With a linear kernel this is PELT over squared distances from the mean, in C: Pelt(model="l2") takes 8 s for 1000.
    search = ruptures.KernelCPD(kernel="linear", min_size=MIN_SEGMENT).fit(series.reshape(-1, 1))
    ends = [int(end) for end in search.predict(pen=penalty)]
    # The last end is that of the series and no step; the shortest list, `ends[1:]`, leaves it out.
    candidates = [_step(series, start, at, end) for start, at, end in zip([0, *ends], ends, ends[1:], strict=False)]
    return tuple(step for step in candidates if abs(step.change) >= SMALLEST_STEP)


def _variance(series: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    # The difference of two independent runs has twice the variance of one run.
    return max(float(np.mean(np.diff(series) ** 2)) / 2, SMALLEST_SCATTER**2)


def _step(series: np.ndarray[tuple[int, ...], np.dtype[np.float64]], start: int, at: int, end: int) -> Step:
    shift = float(series[at:end].mean() - series[start:at].mean())
    # Cut before exp overflows: only a damaged file holds such values.
    return Step(at, math.expm1(min(shift, 700.0)), at - start, end - at)
