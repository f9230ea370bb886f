"""Adds what older runs of the same schema did not record."""

from __future__ import annotations

from msgspec.structs import replace

from bench.records.plan import Cell
from bench.records.seen import Run

# Recipes of GGUF ended with llama.cpp's name of a file type, whose digits are the bits of a weight.
GGUF_FORMATS = {
    "f32": "fp32",
    "f16": "fp16",
    "q8_0": "int8",
    "q6_k": "int6",
    "q5_k_m": "int5",
    "q4_k_m": "int4",
    "q4_0": "int4",
}


def upgraded(run: Run) -> Run:
    """The run, with the number format of every recipe; older runs have it only in the name of the recipe."""
    if all(cell.recipe is None or cell.recipe.number_format for cell in run.cells):
        return run
    return replace(run, cells=tuple(_with_number_format(cell) for cell in run.cells))


def _with_number_format(cell: Cell) -> Cell:
    if cell.recipe is None or cell.recipe.number_format:
        return cell
    # Names of recipes ended with the number format: `dynamic-int8`.
    word = cell.recipe.name.rsplit("-", 1)[-1]
    return replace(cell, recipe=replace(cell.recipe, number_format=GGUF_FORMATS.get(word, word)))
