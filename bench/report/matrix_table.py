"""Builds the compatibility matrix of a run: an entry for each model, precision and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Cell, Outcome, Run, Status, Weights
from bench.report import text


@dataclass(frozen=True, slots=True)
class MatrixEntry:
    """One entry of the matrix: the outcomes of all its workloads, and the cells that were not reached."""

    target: str
    outcomes: tuple[Outcome, ...]
    unreached: tuple[Cell, ...]

    @property
    def planned(self) -> bool:
        """False if the plan of the run has no such combination."""
        return bool(self.outcomes or self.unreached)

    @property
    def size(self) -> int:
        """How many workloads were planned for this entry."""
        return len(self.outcomes) + len(self.unreached)

    @property
    def tally(self) -> tuple[tuple[Status, int], ...]:
        """Each status of the entry with its count, in the order of `STATUSES`."""
        return tally(self.outcomes)

    @property
    def headline(self) -> Outcome | None:
        """The first workload's outcome, whose speed the entry shows; None where workloads differ in status."""
        if self.unreached or len(self.tally) != 1 or self.outcomes[0].speed is None:
            return None
        return self.outcomes[0]

    @property
    def computed_in(self) -> str | None:
        """The number format that the target really computes in, if it differs from the requested one; else None."""
        return next((number_format for outcome in self.outcomes if (number_format := text.computed_in(outcome))), None)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The row of one model in one precision, with an entry for each column."""

    model: str
    precision: str
    label: str
    """What the row is called: the precision, or the number format of the user's own file."""
    recipe: str
    weights: Weights | None
    entries: tuple[MatrixEntry, ...]

    @property
    def excluded(self) -> bool:
        """Whether rules of the matrix exclude the whole row, so that it has nothing to show."""
        statuses = [outcome.status for entry in self.entries for outcome in entry.outcomes]
        return bool(statuses) and set(statuses) == {"excluded"} and not any(entry.unreached for entry in self.entries)


def rows(
    run: Run, cells: Sequence[Cell], outcomes: Sequence[Outcome], unreached: Sequence[Cell], columns: Sequence[str]
) -> tuple[MatrixRow, ...]:
    """A row for each model and precision of the cells, with an entry for each target among the columns."""
    reached: dict[tuple[str, str, str], list[Outcome]] = {}
    missed: dict[tuple[str, str, str], list[Cell]] = {}
    for outcome in outcomes:
        reached.setdefault(place(outcome.cell), []).append(outcome)
    for cell in unreached:
        missed.setdefault(place(cell), []).append(cell)
    table = []
    for model, precision in sorted_pairs(cells):
        places = [(model, precision, target) for target in columns]
        entries = tuple(MatrixEntry(p[2], tuple(reached.get(p, ())), tuple(missed.get(p, ()))) for p in places)
        alike = [cell for cell in cells if (cell.model, cell.precision) == (model, precision)]
        # Not those of excluded cells, which nothing was made with.
        own = next((o.file_format for entry in entries for o in entry.outcomes if o.file_format), None)
        recipes = dict.fromkeys(text.recipe(cell, own) for cell in alike if cell.excluded is None)
        behind = text.weights_behind(run, [outcome for entry in entries for outcome in entry.outcomes], model)
        label = text.precision(alike[0], own)
        table.append(MatrixRow(model, precision, label, ", ".join(filter(None, recipes)), behind, entries))
    return tuple(table)


def sorted_pairs(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Every model and precision in the plan's order, the precisions of one model together."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    pairs = dict.fromkeys((cell.model, cell.precision) for cell in cells)
    # The sort is stable: within a model the precisions stay in the order of the plan.
    return sorted(pairs, key=lambda pair: models.index(pair[0]))


def place(cell: Cell) -> tuple[str, str, str]:
    """The model, precision and target of a cell, which identify its entry."""
    return cell.model, cell.precision, cell.target


def tally(outcomes: Sequence[Outcome]) -> tuple[tuple[Status, int], ...]:
    """Each status with its count, in the order of `STATUSES`."""
    counts = Counter(outcome.status for outcome in outcomes)
    return tuple((status, counts[status]) for status in text.STATUSES if counts[status])
