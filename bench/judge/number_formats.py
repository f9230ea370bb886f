"""Gives the number format that a cell requests, and the one that its target computes in."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import Cell, Note, TargetFacts
from bench.shared.number_formats import coarsest, of_file

COARSER: dict[str, frozenset[str]] = {
    "fp32": frozenset({"tf32", "fp16", "bf16"}),
    "fp16": frozenset({"bf16"}),
}
"""Formats with fewer significant bits than the one requested: FP32 has 24, TF32 and FP16 have 11, BF16 has 8."""
# The probe in the worker writes this text and stored runs hold it, so it must not change. It is not in `COARSER`,
# because FP32 arithmetic is not coarser than the FP16 that was requested.
AROUND_FP32 = "fp32 between casts"


def number_format(cell: Cell) -> str:
    """The number format of the cell's recipe; the name of the precision where there is no recipe."""
    return cell.precision if cell.recipe is None else cell.recipe.number_format


def held(cell: Cell, build_notes: Iterable[Note] = ()) -> str:
    """The number format of what the cell runs: that of the model's own file, or the recipe's where it is coarser."""
    requested, own = number_format(cell), of_file(build_notes)
    # The recipe `fp32` leaves a file as it is.
    return own if own and requested == "fp32" else coarsest((requested, own or requested), default=requested)


def executed(cell: Cell, facts: TargetFacts | None, build_notes: Iterable[Note] = ()) -> str | None:
    """The format that the probe measured for what the cell runs; None where it was not probed (as INT8).

    Of a file that is quantized itself it is the file's: its operators compute with those integers.
    """
    requested, run = number_format(cell), held(cell, build_notes)
    probed = facts.executes if facts else ()
    return next((probe.format for probe in probed if probe.asked == run), None if run == requested else run)
