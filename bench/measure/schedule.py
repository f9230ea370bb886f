"""Decides which model gets the next block, and when a run has enough of them (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bench.records import Effort


class ModelProgress(Struct, frozen=True):
    """What the blocks of a model have shown so far."""

    blocks: int
    total: int
    """Comparisons between its cells that people read."""
    undecided: int
    block_s: float
    """Seconds of its last block; 0 before the first."""
    compared: int = 0
    """How many of `total` are comparisons; a cell without any counts as one that is undecided."""
    waiting: int = 0
    """Groups of cells that no block has held so far."""


def next_model(progress: Mapping[str, ModelProgress], effort: Effort, left_s: float) -> str | None:
    """The model that gets the next block; None if nothing is undecided, or no block fits into the time left."""
    for model, state in progress.items():
        if state.waiting:
            return model
    fits = {model: state for model, state in progress.items() if state.block_s <= left_s and state.total}
    # The longest block first: what is left of the time has room for short ones.
    for model, state in sorted(fits.items(), key=lambda item: (item[1].blocks, -item[1].block_s)):
        if state.blocks < effort.min_rounds:
            return model
    open_models = {
        model: state for model, state in fits.items() if state.undecided and state.blocks < effort.max_rounds
    }
    if not open_models:
        return None
    return max(open_models, key=lambda model: open_models[model].undecided / max(open_models[model].block_s, 1e-9))
