"""A recorded run and a matrix in; which cells are judged against each other, and what becomes of the others, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.declare.matrix import Matrix, matches, parse
from bench.declare.plan import plan, select
from bench.errors import BaselineError, MatrixError
from bench.judge.outcome import ANSWERED
from bench.records import Cell, GateCell, Outcome, Run
from bench.report import text

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
    known = _ids_of(run) | {cell.id for cell in run.cells}
    added = [cell for cell in _planned(matrix, only, skip) if cell.id not in known]
    return Choice(judged, (*rest, *(GateCell(cell.id, "added", "the base has no such cell") for cell in added)))


def _ids_of(run: Run) -> set[str]:
    """Every cell of the base's own matrix: one that its run left out with `--only` is not added by anything."""
    try:
        return {cell.id for cell in plan(parse(run.matrix_text), EVERY)}
    except MatrixError:
        return set()


def _planned(matrix: Matrix, only: Sequence[str], skip: Sequence[str]) -> list[Cell]:
    """What a plain run of the new matrix would measure of what was asked for; globs may be meant for the base alone."""
    cells = [cell for cell in plan(matrix, only if only and _any(matrix, only) else ()) if cell.excluded is None]
    return [cell for cell in cells if not any(matches(glob, cell.id) for glob in skip)]


def _any(matrix: Matrix, globs: Sequence[str]) -> bool:
    """Whether every glob matches a cell of the matrix, so that it may be asked for them."""
    cells = plan(matrix, EVERY)
    return all(any(matches(glob, cell.id) for cell in cells) for glob in globs)


def _left_out(cell: Cell, now: Cell | None, recorded: Outcome) -> GateCell | None:
    """The row of a cell that is not judged; None for one that is."""
    if recorded.status not in ANSWERED:
        reason = f"the base has no valid speed: {recorded.status}: {text.reason(recorded)}"
        return GateCell(cell.id, "not-judged", reason, base_status=recorded.status)
    if now is not None and now.excluded is None:
        return None
    why = f"a rule leaves it out: {now.excluded}" if now is not None else "the new matrix has no such cell"
    remedy = f"leave it out with --skip '{cell.id}', or record a new baseline"
    return GateCell(cell.id, "gone", f"the base measured it; {why}", remedy, base_status=recorded.status)


def _nothing(run: Run, base: Sequence[Cell], recorded: Mapping[str, Outcome]) -> BaselineError:
    answered = [cell for cell in base if recorded[cell.id].status in ANSWERED]
    if not answered:
        told = f"{base[0].id}: {text.reason(recorded[base[0].id])}" if base else "every cell is excluded"
        return BaselineError(f"the baseline {run.name} has no cell with a valid speed; {told}", "record a new one")
    message = f"the baseline {run.name} holds other cells than the matrix: it has '{answered[0].id}', for one"
    return BaselineError(message, "name the matrix that it was made with, or record a new one")
