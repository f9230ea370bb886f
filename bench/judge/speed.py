"""Computes the speed of a cell from its timed rounds and those of its control."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

from bench.judge import bursts, statistics
from bench.judge.number_formats import number_format
from bench.judge.ratios import NO_RATIOS, Ratios
from bench.records import Cell, Interval, Observation, Speed

LEAST_BLOCKS = 3
"""Two values give an interval of 12.7 standard errors to either side, such as 1 to 150 ms, which tells nothing."""
Medians = Mapping[int, float]
"""The median call of each timed round in milliseconds, by the round's number."""


def round_medians(observations: Sequence[Observation]) -> dict[int, float]:
    """The median call of each timed round, in milliseconds; a round is one process, so it gives one value.

    A round without calls is left out, and so is one whose median call took 0 ns, because its clock is too coarse.
    """
    calls = {
        observation.round: observation.timing.samples_ns
        for observation in observations
        if observation.timing and observation.timing.samples_ns
    }
    medians = {number: bursts.typical_call(samples) for number, samples in calls.items()}
    return {number: value for number, value in medians.items() if value > 0}


def latency(medians: Medians) -> Interval | None:
    """The estimate of a cell's latency in milliseconds, from its blocks' medians; None without a block.

    It is the geometric mean of one median from each block. Progress lines and reports show the same estimate. Of fewer
    than `LEAST_BLOCKS` blocks it has no interval.
    """
    return over_blocks(logs(medians)) if medians else None


def over_blocks(values: Sequence[float]) -> Interval:
    """The geometric mean of one value a block, as logarithms, with its interval from `LEAST_BLOCKS` blocks on.

    Raises `ValueError` without a value.
    """
    whole = statistics.interval(values)
    return whole if len(values) >= LEAST_BLOCKS else Interval(whole.value, None, None)


def logs(medians: Medians) -> list[float]:
    """The natural logarithms of the rounds' medians, which `bench.judge.statistics` takes."""
    return [math.log(value) for value in medians.values()]


def controls(cells: Sequence[Cell], right: Container[str] | None = None) -> dict[str, Cell]:
    """The control of each cell, by the cell's id: same model, same workload, in FP32, else in the cell's precision.

    The plan alone decides, unless `right` holds the ids of the cells with right answers: where the planned control is
    not among them, the first of these that is takes its place: another control, then an FP32 cell of another baseline.
    Of two candidates the first in the plan is chosen. An emulated cell is never a control and has none, because its
    times mean nothing.
    """
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.excluded is None and not cell.emulated:
            places.setdefault((cell.model, cell.workload), []).append(cell)
    real = (cell for cell in cells if not cell.emulated)
    pairs = ((cell, _control(cell, places.get((cell.model, cell.workload), []), right)) for cell in real)
    return {cell.id: control for cell, control in pairs if control is not None}


def _control(cell: Cell, place: Sequence[Cell], right: Container[str] | None) -> Cell | None:
    named = [candidate for candidate in place if candidate.control]
    planned = _choose(cell, named)
    if right is None or planned is None or planned.id in right:
        return planned
    known = [candidate for candidate in place if candidate.id in right]
    # In FP32, because ratios to another precision in the same column would mean something else.
    full = (baseline for baseline in known if baseline.provider is None and number_format(baseline) == "fp32")
    return _choose(cell, [candidate for candidate in known if candidate.control]) or next(full, planned)


def _choose(cell: Cell, candidates: Sequence[Cell]) -> Cell | None:
    # By number format and not by name, because a matrix may call its FP32 precision anything.
    full = (candidate for candidate in candidates if number_format(candidate) == "fp32")
    alike = (candidate for candidate in candidates if candidate.precision == cell.precision)
    return next(full, None) or next(alike, None)


def speed(
    cell: Cell,
    observations: Sequence[Observation],
    medians: Medians,
    control: str | None = None,
    ratios: Ratios = NO_RATIOS,
) -> Speed:
    """The speed over the blocks of `observations` that are in `medians`. Raises `ValueError` if there is none.

    `ratios` holds those between the cells of the model. Without one to the cell `control`, where the two share no
    block or the control has no valid speed, there is no control. The control's own ratio is 1 by definition, with no
    width. An emulated cell has no resolvable difference.
    """
    calls = [
        _milliseconds(observation.timing.samples_ns)
        for observation in observations
        if observation.timing and observation.round in medians
    ]
    tails = statistics.percentiles(calls)
    whole = over_blocks(logs(medians))
    ratio = ratios.ratio(cell.id, control) if control else None
    return Speed(
        latency_ms=whole,
        p90_ms=tails[90],
        p95_ms=tails[95],
        p99_ms=tails[99],
        throughput={name: items_per_second(items, whole) for name, items in cell.rates.items()},
        ratio_to_control=ratio,
        control=control if ratio else None,
        resolvable=None if cell.emulated else _resolvable(cell.id, control if ratio else None, medians, ratios),
        rounds_ms=tuple(medians.values()),
    )


def _resolvable(cell: str, control: str | None, medians: Medians, ratios: Ratios) -> float | None:
    """The smallest resolvable relative difference, from the scatter of the ratios.

    Without ratios it is assumed that the other cell scatters as much: a difference of two has sqrt(2) of the scatter.
    """
    known = ratios.resolvable(cell, control, len(medians))
    return statistics.resolvable([math.sqrt(2) * value for value in logs(medians)]) if known is None else known


def _milliseconds(times_ns: Sequence[int]) -> Sequence[float]:
    return [time / 1e6 for time in times_ns]


def items_per_second(items: float, latency: Interval) -> Interval:
    """Items a second, from a latency in milliseconds; the high end of the latency is the low end of the rate."""

    def rate(milliseconds: float | None) -> float | None:
        return None if milliseconds is None else items * 1000 / milliseconds

    return Interval(items * 1000 / latency.value, rate(latency.high), rate(latency.low))
