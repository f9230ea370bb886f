"""Turns what a model gives into named arrays that are stored without pickle: sequences, maps and texts too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from bench.worker.feeds import Array, Feed

KEYS = ".keys"
"""Ends the name of the array that holds the keys of a map."""


def arrays(outputs: Mapping[str, Any]) -> Feed:
    """The outputs as arrays: a sequence of tensors as `name[0]`, `name[1]` …, maps as their values and `name.keys`.

    Texts become fixed-width unicode, and an optional output without a value is empty. Raises TypeError for a type that
    ONNX does not have.
    """
    return {key: array for name, value in outputs.items() for key, array in _named(name, value).items()}


def _named(name: str, value: Any) -> Feed:
    if value is None:
        return {name: np.zeros(0, np.float32)}
    if isinstance(value, Mapping):
        return _maps(name, [value])
    if isinstance(value, np.ndarray) or np.isscalar(value):
        return {name: _array(name, np.asarray(value))}
    if not isinstance(value, Sequence):
        raise TypeError(f"output {name!r} is of the type {type(value).__name__}, which cannot be compared")
    if not value:
        return {name: np.zeros(0, np.float32)}
    if all(isinstance(entry, Mapping) for entry in value):
        return _maps(name, value)
    return {key: array for index, entry in enumerate(value) for key, array in _named(f"{name}[{index}]", entry).items()}


def _maps(name: str, maps: Sequence[Mapping[Any, Any]]) -> Feed:
    """A row of values for each map in the order of its sorted keys, and the keys; ragged rows are joined to one."""
    keys = [sorted(entry) for entry in maps]
    values = [[entry[key] for key in row] for entry, row in zip(maps, keys, strict=True)]
    if len({len(row) for row in keys}) > 1:
        keys, values = [list(chain(*keys))], [list(chain(*values))]
    return {name: np.asarray(values), name + KEYS: _array(name, np.asarray(keys))}


def _array(name: str, array: Array) -> Array:
    if array.dtype.kind != "O":
        return array
    # ONNX Runtime gives texts as an array of objects, which only pickle could store.
    if not all(isinstance(text, str) for text in array.ravel()):
        raise TypeError(f"output {name!r} holds objects that are no texts, and cannot be compared")
    return array.astype(np.str_)
