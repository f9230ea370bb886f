"""Computes the speed of a cell from its timed rounds and those of its control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bench.judge import statistics
from bench.judge.number_formats import number_format
from bench.records import Cell, Interval, Observation, Speed

Medians = Mapping[int, float]
"""The median call of each timed round in milliseconds, by the round's number."""


def round_medians(observations: Sequence[Observation]) -> dict[int, float]:
    """The median call of each timed round, in milliseconds; a round is one process, so it gives one value.

    A round without calls is left out, and so is one whose median call took 0 ns, because its clock is too coarse.
    """
    bursts = {
        observation.round: observation.timing.samples_ns
        for observation in observations
        if observation.timing and observation.timing.samples_ns
    }
    medians = {number: float(np.median(samples)) / 1e6 for number, samples in bursts.items()}
    return {number: value for number, value in medians.items() if value > 0}


def latency(medians: Medians) -> Interval | None:
    """The estimate of a cell's latency in milliseconds, from its rounds' medians; None without a round.

    It is the geometric mean of one median from each round. Progress lines and reports show the same estimate.
    """
    return statistics.interval(logs(medians)) if medians else None


def logs(medians: Medians) -> list[float]:
    """The natural logarithms of the rounds' medians, which `bench.judge.statistics` takes."""
    return [math.log(value) for value in medians.values()]


def controls(cells: Sequence[Cell]) -> dict[str, Cell]:
    """The control of each cell, by the cell's id: same model, same workload, in FP32, else in the cell's precision.

    The plan alone decides, not the measurements: if the FP32 control fails, a ratio against another precision in the
    same column would mean something else. Of two candidates the first in the plan is chosen. An emulated cell is never
    a control and has none, because its times mean nothing.
    """
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.control and cell.excluded is None and not cell.emulated:
            places.setdefault((cell.model, cell.workload), []).append(cell)
    real = (cell for cell in cells if not cell.emulated)
    pairs = ((cell, _choose(cell, places.get((cell.model, cell.workload), []))) for cell in real)
    return {cell.id: control for cell, control in pairs if control is not None}


def _choose(cell: Cell, candidates: Sequence[Cell]) -> Cell | None:
    # By number format and not by name, because a matrix may call its FP32 precision anything.
    full = (candidate for candidate in candidates if number_format(candidate) == "fp32")
    alike = (candidate for candidate in candidates if candidate.precision == cell.precision)
    return next(full, None) or next(alike, None)


def speed(
    cell: Cell, observations: Sequence[Observation], medians: Medians, control: str | None, reference: Medians | None
) -> Speed:
    """The speed over the rounds of `observations` that are in `medians`. Raises `ValueError` if there is none.

    `reference` holds the medians of the cell `control` in milliseconds. It is None where the control has no valid
    speed; then, and where the two share no round, there is no ratio and no control. The control's own ratio is 1 by
    definition, with no width. An emulated cell has no resolvable difference.
    """
    bursts = [
        _milliseconds(observation.timing.samples_ns)
        for observation in observations
        if observation.timing and observation.round in medians
    ]
    tails = statistics.percentiles(bursts)
    whole = statistics.interval(logs(medians))
    # A pair needs the same round on both sides, because only then the state of the machine cancels.
    paired = [] if reference is None or control == cell.id else statistics.paired_logs(medians, reference)
    ratio = Interval(1.0, 1.0, 1.0) if control == cell.id else statistics.interval(paired) if paired else None
    return Speed(
        latency_ms=whole,
        p90_ms=tails[90],
        p95_ms=tails[95],
        p99_ms=tails[99],
        throughput={name: items_per_second(items, whole) for name, items in cell.rates.items()},
        ratio_to_control=ratio,
        control=control if ratio else None,
        resolvable=None if cell.emulated else _resolvable(paired, medians),
        rounds_ms=tuple(medians.values()),
    )


def _resolvable(paired: Sequence[float], medians: Medians) -> float | None:
    """The smallest resolvable relative difference, from the scatter of the ratios.

    Without ratios it is assumed that the other cell scatters as much: a difference of two has sqrt(2) of the scatter.
    """
    if len(paired) >= 2:
        return statistics.resolvable(paired)
    return statistics.resolvable([math.sqrt(2) * value for value in logs(medians)])


def _milliseconds(times_ns: Sequence[int]) -> Sequence[float]:
    return [time / 1e6 for time in times_ns]


def items_per_second(items: float, latency: Interval) -> Interval:
    """Items a second, from a latency in milliseconds; the high end of the latency is the low end of the rate."""

    def rate(milliseconds: float | None) -> float | None:
        return None if milliseconds is None else items * 1000 / milliseconds

    return Interval(items * 1000 / latency.value, rate(latency.high), rate(latency.low))
