"""Computes the comparisons between the cells of a run that people read: which pairs, and the ratio of each (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import combinations

from msgspec import Struct

from bench.judge import generation
from bench.judge.bursts import BlockTimes, block_times
from bench.judge.ratios import Ratios
from bench.judge.speed import controls
from bench.records import Cell, Comparison, Comparisons, Observation

Pairs = list[tuple[str, str]]
PartTimes = Callable[[Cell, Observation, bool], BlockTimes | None]


class ModelRatios(Struct, frozen=True):
    """The ratios between the cells of one model: of whole calls, and of the parts of a generation."""

    whole: Ratios
    prefill: Ratios
    decode: Ratios


def ratios_of(
    cells: Sequence[Cell], observations: Mapping[str, Sequence[Observation]], shared: bool
) -> dict[str, ModelRatios]:
    """The ratios of each model, between these cells, from their observations by id.

    Only cells with right answers belong here: the scatter of all of them is in the interval of each.
    """
    models: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        models[cell.model].append(cell)

    def ratios(members: Sequence[Cell], times: PartTimes) -> Ratios:
        return by_workload(
            (cell, {seen.round: found for seen in observations[cell.id] if (found := times(cell, seen, shared))})
            for cell in members
        )

    return {
        model: ModelRatios(
            whole=ratios(members, lambda _, seen, shared: block_times(seen, shared=shared)),
            prefill=ratios(members, generation.prefill_times),
            decode=ratios(members, generation.decode_times),
        )
        for model, members in models.items()
    }


def by_workload(times: Iterable[tuple[Cell, Mapping[int, BlockTimes]]]) -> Ratios:
    """The ratios between cells of one model, from the times of each by block; those without a time are left out."""
    workloads: dict[str, dict[str, Mapping[int, BlockTimes]]] = defaultdict(dict)
    for cell, blocks in times:
        if blocks:
            workloads[cell.workload][cell.id] = blocks
    return Ratios(workloads.values())


def pairs(cells: Sequence[Cell], right: Container[str]) -> Pairs:
    """The ids of the cells that people compare, each pair once, of those whose ids are in `right`.

    Each cell with its control, any two targets in one precision, and any two precisions of one target; always of the
    same model and workload. The control is the second of its pairs; else the order of the plan decides.
    """
    control = controls(cells, right)
    found: dict[frozenset[str], tuple[str, str]] = {}
    places: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.id not in right or cell.emulated:
            continue
        places[cell.model, cell.workload].append(cell)
        reference = control.get(cell.id)
        if reference is not None and reference.id != cell.id and reference.id in right:
            found[frozenset((cell.id, reference.id))] = (cell.id, reference.id)
    for place in places.values():
        for first, second in combinations(place, 2):
            if (first.precision == second.precision) != (first.target == second.target):
                found.setdefault(frozenset((first.id, second.id)), (first.id, second.id))
    return list(found.values())


def compared(named: Pairs, ratios: Ratios, half_width: float | None) -> tuple[Comparison, ...]:
    """The comparison of each pair of cells that some block held together."""
    known = ((pair, ratios.ratio(*pair)) for pair in named)
    return tuple(
        Comparison(*pair, ratio=ratio, decided=ratios.is_decided(*pair, half_width))
        for pair, ratio in known
        if ratio is not None
    )


def counted(named: Pairs, ratios: Ratios, half_width: float | None) -> Comparisons:
    """How many of these pairs there are, and how many are undecided.

    Two cells that were measured, and that no block held together, are not compared: more blocks would not change it.
    """
    possible = [pair for pair in named if ratios.ratio(*pair) or not ratios.cells.issuperset(pair)]
    return Comparisons(len(possible), sum(not ratios.is_decided(*pair, half_width) for pair in possible))
