"""Choose the cells of a recorded run and of a matrix that are compared, and give a verdict to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bench.declare.matrix import Matrix, parse
from bench.declare.plan import is_selected, plan, select
from bench.errors import BaselineError, MatrixError
from bench.gating import text
from bench.gating.cells import cell_row
from bench.judge.outcome import ANSWERED
from bench.records import Cell, GateCell, Outcome, Run, note


class CommonCell(Struct, frozen=True):
    """A cell that base and new matrix both have."""

    base: Cell
    new: Cell

    @property
    def id(self) -> str:
        """The cell's id, the same on both sides."""
        return self.base.id


class Choice(Struct, frozen=True):
    """The cells to judge, and the rows of the cells that are not judged."""

    both: tuple[CommonCell, ...]
    rest: tuple[GateCell, ...]


def choose(
    run: Run,
    recorded: Mapping[str, Outcome],
    matrix: Matrix,
    only: Sequence[str],
    skip: Sequence[str],
    *,
    with_optional: bool = False,
    absent: Mapping[str, str] | None = None,
) -> Choice:
    """Choose every cell that has a usable outcome in the base and is still in the new matrix.

    Optional cells that the base has measured are judged without being asked for; `with_optional` adds the rows of those
    that it has not. `recorded` holds the base's outcomes by cell id, `absent` the targets that are not on this machine.
    Raises `BaselineError` if there is no such cell.
    """
    base = [cell for cell in select(run.cells, only, skip) if cell.excluded is None]
    now = {cell.id: cell for cell in plan(matrix, with_optional=True)}
    both = [CommonCell(cell, now[cell.id]) for cell in base if cell.id in now and recorded[cell.id].status in ANSWERED]
    # `both` has cells that the new matrix excludes; `_left_out` gives them a row, since they must not vanish silently.
    judged = tuple(pair for pair in both if pair.new.excluded is None)
    if not judged:
        raise _nothing(run, base, recorded)
    rest = [row for cell in base if (row := _left_out(cell, now.get(cell.id), recorded[cell.id]))]
    # A cell that the base's run left out with `--only` is not new.
    known = _ids_of(run) | {cell.id for cell in run.cells}
    planned = plan(matrix, with_optional=with_optional, absent=absent)
    # Globs that match only cells of the base are ignored.
    selected = [cell for cell in planned if cell.excluded is None and is_selected(cell, only, skip)]
    added = [cell for cell in selected if cell.id not in known]
    return Choice(judged, (*rest, *(cell_row(cell.id, "added", note("new-cell")) for cell in added)))


def _ids_of(run: Run) -> set[str]:
    """The ids of all cells of the base's matrix; empty if it cannot be read."""
    try:
        # The matrix text in the record may come from a version with other keys.
        return {cell.id for cell in plan(parse(run.matrix_text), with_optional=True)}
    except MatrixError:
        return set()


def _left_out(cell: Cell, now: Cell | None, recorded: Outcome) -> GateCell | None:
    """The row of a cell that is not judged; None if it is judged."""
    if recorded.status not in ANSWERED:
        reason = note("no-valid-speed", status=recorded.status, reason=text.outcome_reason(recorded))
        return cell_row(cell.id, "not-judged", reason, base_status=recorded.status)
    if now is not None and now.excluded is None:
        return None
    why = note("missing-cell") if now is None else note("excluded-now", rule=now.excluded)
    remedy = note("skip-or-new-baseline", cell=cell.id)
    return cell_row(cell.id, "gone", why, remedy=remedy, base_status=recorded.status)


def _nothing(run: Run, base: Sequence[Cell], recorded: Mapping[str, Outcome]) -> BaselineError:
    answered = [cell for cell in base if recorded[cell.id].status in ANSWERED]
    if not answered:
        first = f"{base[0].id}: {text.outcome_reason(recorded[base[0].id])}" if base else "every cell is excluded"
        return BaselineError(f"the baseline {run.name} has no cell with a valid speed; {first}", "record a new one")
    message = f"the baseline {run.name} holds other cells than the matrix: it has '{answered[0].id}', for one"
    return BaselineError(message, "name the matrix that it was made with, or record a new one")
