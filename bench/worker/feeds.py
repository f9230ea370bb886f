"""Writes and reads batches of named arrays as one `.npz` file, without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feed = dict[str, Array]
"""One batch: the arrays of a model's inputs, or of its outputs, by name."""


def save(path: Path, batches: Sequence[Feed]) -> None:
    """Write `batches` under the keys `0/input_ids`, `0/attention_mask`, `1/input_ids` …"""
    arrays = {f"{index}/{name}": array for index, batch in enumerate(batches) for name, array in batch.items()}
    # A file handle, because numpy appends `.npz` to a path that lacks it.
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path) -> list[Feed]:
    """Read the batches that `save` wrote; ValueError names a file of another structure."""
    batches: dict[int, Feed] = {}
    # Pickle could run code from a file of unknown origin.
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            index, slash, name = key.partition("/")
            if not (slash and name and index.isdecimal()):
                raise ValueError(f"{path.name} holds {key!r} where a key like '0/input_ids' was expected")
            batches.setdefault(int(index), {})[name] = arrays[key]
    if sorted(batches) != list(range(len(batches))):
        raise ValueError(f"{path.name} lacks a batch between 0 and {max(batches)}")
    return [batches[index] for index in range(len(batches))]
