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
    few = {model: state for model, state in fits.items() if state.blocks < effort.min_rounds}
    least = min((state.blocks for state in few.values()), default=0)
    open_models = {model: state for model, state in few.items() if state.blocks == least} or {
        model: state for model, state in fits.items() if state.undecided and state.blocks < effort.max_rounds
    }
    if not open_models:
        return None
    # Where a second tells most. Where the time does not suffice for all, a model whose block takes long comes last.
    return max(open_models, key=lambda model: _worth(open_models[model]))


def _worth(state: ModelProgress) -> float:
    """Undecided comparisons for each second of a block."""
    return max(state.undecided, 1) / max(state.block_s, 1e-9)
