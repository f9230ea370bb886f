"""Decide what is done for a baseline that somebody else made: what the user's own matrix does too, or trusted acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import matrix as matrices
from bench.declare.matrix import Matrix
from bench.declare.plan import plan
from bench.declare.requirements import exact, is_exact, names_package
from bench.declare.targets import Runtime, with_bases
from bench.errors import BaselineError, MatrixError
from bench.gating.acts import Act, acts, beyond
from bench.gating.choice import Choice, CommonCell
from bench.gating.remeasured_base import has_packages
from bench.prepare.artifact_builder import runtimes_for
from bench.records import Cell, Note, Run, RuntimeRecord, note
from bench.report.escaping import line

FLAG = "--trust-baseline"
NOT_OWN = "was not made by you on this machine with this cache, or was changed"
LONGEST = 12
"""How many acts an error names; the list before it names all."""


class Foreign(Struct, frozen=True):
    """The part of a baseline's matrix that is measured, with runtimes that may be made."""

    matrix: Matrix | None
    """None where it cannot be read; then nothing of the baseline is measured, and stored numbers are compared."""
    choice: Choice
    """The cells, as the baseline's own matrix plans them: the record may say something else."""
    notes: tuple[Note, ...]
    reason: Note | None = None
    """Why there is no matrix."""


def admitted(
    run: Run, choice: Choice, own: Matrix, cache: Path, say: Callable[[str], None], *, trusted: bool
) -> Foreign:
    """What of a baseline of somebody else is measured again.

    Without `trusted`, nothing is done for it that the user's own matrix does not do. With it, `say` gets the list of
    all that is done beyond. Raises `BaselineError` for what is not admitted.
    """
    try:
        # The place is the user's: the same relative path must be the same file.
        matrix = matrices.parse(run.matrix_text, own.place)
    except MatrixError as error:
        # Not read again anywhere else: what was not looked at here is never done.
        return Foreign(None, choice, (), note("base-matrix-unreadable", text=error.message))
    choice = _as_planned(run, choice, matrix)
    # Limits of time and memory are the user's, too.
    part = replace(_used(matrix, [both.base for both in choice.both]), measure=own.measure)
    if trusted:
        part = replace(part, runtimes=with_bases(_pinned(part.runtimes, run, cache)))
    more = beyond(acts(part), own)
    does = "its matrix does nothing that yours does not" if not more else "this is what its matrix does beyond yours:"
    say(f"the baseline {line(run.name)} {NOT_OWN}; {does}")
    for act in more:
        say(f"  {line(str(act))}{'' if act.allowed else ', which is never done for it'}")
    if refused := [act for act in more if not (trusted and act.allowed)]:
        raise _refusal(run, refused, trusted=trusted)
    fact = note("trusted-baseline", acts=tuple(map(str, more))) if trusted else note("foreign-baseline")
    return Foreign(part, choice, (fact,))


def _refusal(run: Run, refused: list[Act], *, trusted: bool) -> BaselineError:
    shown = "; ".join(map(str, refused[:LONGEST]))
    rest = f"; and {len(refused) - LONGEST} more" if len(refused) > LONGEST else ""
    begin = f"the baseline {run.name} {NOT_OWN}, and"
    if trusted:
        message = f"{begin} its matrix does what no baseline of somebody else may: {shown}{rest}"
        return BaselineError(message, "record a baseline here, with a matrix that you have read")
    hint = f"record a baseline here; or add {FLAG} if you trust it, which allows exact versions of packages and no code"
    if not all(act.allowed for act in refused):
        hint = "record a baseline here, with a matrix that you have read"
    return BaselineError(f"{begin} its matrix does more than yours: {shown}{rest}", hint)


def _as_planned(run: Run, choice: Choice, matrix: Matrix) -> Choice:
    planned = {cell.id: cell for cell in plan(matrix, with_optional=True)}
    both = tuple(CommonCell(planned[pair.id], pair.new) for pair in choice.both if pair.id in planned)
    if len(both) < len(choice.both):
        missing = next(pair.id for pair in choice.both if pair.id not in planned)
        message = f"the baseline {run.name} has the cell '{missing}', which its own matrix does not plan"
        raise BaselineError(message, "record a new one")
    return replace(choice, both=both)


def _used(matrix: Matrix, cells: Iterable[Cell]) -> Matrix:
    """The matrix with the models, the targets and the runtimes that these cells need, and no others."""
    cells = list(cells)
    names = {name for cell in cells for name in (cell.runtime, *runtimes_for(cell))}
    names |= {matrix.runtimes[name].extends for name in names if matrix.runtimes[name].extends}
    return replace(
        matrix,
        models={name: matrix.models[name] for name in dict.fromkeys(cell.model for cell in cells)},
        precisions={name: matrix.precisions[name] for name in dict.fromkeys(cell.precision for cell in cells)},
        targets={name: matrix.targets[name] for name in dict.fromkeys(cell.target for cell in cells)},
        runtimes={name: runtime for name, runtime in matrix.runtimes.items() if name in names},
    )


def _pinned(runtimes: dict[str, Runtime], run: Run, cache: Path) -> dict[str, Runtime]:
    """The runtimes with the exact versions that the run recorded."""
    return {name: _exact(runtime, run.runtimes.get(name), cache) for name, runtime in runtimes.items()}


def _exact(runtime: Runtime, recorded: RuntimeRecord | None, cache: Path) -> Runtime:
    # What is started, or installed from an address or a path, has no version to pin; it stays in the list.
    if recorded is None or runtime.python or runtime.unavailable or not all(map(names_package, runtime.requires)):
        return runtime
    if all(map(is_exact, runtime.requires)) and has_packages(runtime, recorded, cache):
        return runtime
    # A package whose name or version is something else stays too: it is then refused by name.
    pins = (exact(name, version) or f"{name}=={version}" for name, version in recorded.packages.items())
    return replace(runtime, requires=tuple(pins))
