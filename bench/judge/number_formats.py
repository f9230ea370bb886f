"""Gives the number format that a cell requests, and the one that its target computes in."""

from __future__ import annotations

from bench.records import Cell, TargetFacts

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


def executed(cell: Cell, facts: TargetFacts | None) -> str | None:
    """The format that the probe measured for the cell's number format; None where it was not probed (as INT8)."""
    requested = number_format(cell)
    probed = facts.executes if facts else ()
    return next((probe.format for probe in probed if probe.asked == requested), None)
