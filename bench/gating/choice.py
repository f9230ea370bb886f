"""A recorded run and a matrix in; which cells are judged against each other, and what becomes of the others, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.declare.matrix import Matrix
from bench.declare.plan import plan, select
from bench.errors import BaselineError
from bench.judge.outcome import ANSWERED
from bench.records import Cell, GateCell, Outcome, Run

EVERY = ("*",)
"""A base may have been measured with `--only`, so its optional cells are asked for as well."""


class Both(Struct, frozen=True):
    """A cell as the base has it, and as it is now."""

    base: Cell
    new: Cell

    @property
    def id(self) -> str:
        """The id that both have."""
        return self.base.id


class Choice(Struct, frozen=True):
    """The cells to judge, and the rows of those that are not."""

    both: tuple[Both, ...]
    rest: tuple[GateCell, ...]


def choose(
    run: Run, recorded: Mapping[str, Outcome], matrix: Matrix, only: Sequence[str], skip: Sequence[str]
) -> Choice:
    """Every cell that the base answered and the new matrix still has is judged; `BaselineError` where there is none.

    `recorded` holds the base's outcomes by cell.
    """
    base = [cell for cell in select(run.cells, only, skip) if cell.excluded is None]
    now = {cell.id: cell for cell in plan(matrix, EVERY)}
    both = [Both(cell, now[cell.id]) for cell in base if cell.id in now and recorded[cell.id].status in ANSWERED]
    judged = tuple(pair for pair in both if pair.new.excluded is None)
    if not judged:
        raise _nothing(run, base, recorded)
    rest = [row for cell in base if (row := _left_out(cell, now.get(cell.id), recorded[cell.id]))]
    known = {cell.id for cell in base}
    added = [cell for cell in _planned(matrix, only, skip) if cell.id not in known]
    return Choice(judged, (*rest, *(GateCell(cell.id, "added", "the base has no such cell") for cell in added)))


def _planned(matrix: Matrix, only: Sequence[str], skip: Sequence[str]) -> list[Cell]:
    """What a plain run of the new matrix would measure; a glob that is the base's alone asks it for nothing."""
    everything = plan(matrix, only=only if only and _match(matrix, only) else ())
    known = _match(matrix, skip)
    return [cell for cell in select(everything, (), known) if cell.excluded is None]


def _match(matrix: Matrix, globs: Sequence[str]) -> tuple[str, ...]:
    from bench.declare.matrix import matches

    cells = plan(matrix, EVERY)
    return tuple(glob for glob in globs if any(matches(glob, cell.id) for cell in cells))


def _left_out(cell: Cell, now: Cell | None, recorded: Outcome) -> GateCell | None:
    """The row of a cell that is not judged; None for one that is."""
    if recorded.status not in ANSWERED:
        reason = f"the base has no valid speed: {recorded.status}: {recorded.reason}"
        return GateCell(cell.id, "not-judged", reason, base_status=recorded.status)
    if now is not None and now.excluded is None:
        return None
    why = f"a rule leaves it out: {now.excluded}" if now is not None else "the new matrix has no such cell"
    remedy = f"leave it out with --skip '{cell.id}', or record a new baseline"
    return GateCell(cell.id, "gone", f"the base measured it; {why}", remedy, base_status=recorded.status)


def _nothing(run: Run, base: Sequence[Cell], recorded: Mapping[str, Outcome]) -> BaselineError:
    answered = [cell for cell in base if recorded[cell.id].status in ANSWERED]
    if not answered:
        told = f"{base[0].id}: {recorded[base[0].id].reason}" if base else "every cell is excluded"
        return BaselineError(f"the baseline {run.name} has no cell with a valid speed; {told}", "record a new one")
    message = f"the baseline {run.name} holds other cells than the matrix: it has '{answered[0].id}', for one"
    return BaselineError(message, "name the matrix that it was made with, or record a new one")
