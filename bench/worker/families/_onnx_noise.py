"""Makes seeded noise for the inputs of an ONNX file, and names the integers that had to be guessed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.worker.families._onnx_graph import Input
from bench.worker.families._onnx_integers import Values
from bench.worker.families._onnx_sizes import Sizes
from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal


@dataclass(frozen=True)
class Noise:
    """Noise for inputs of these sizes; `known` holds what the graph accepts at each integer input."""

    sizes: Sizes
    known: Mapping[str, Values]

    def feed(self, seed: int, without: Collection[str] = ()) -> Feed:
        """One batch. Raises Refusal for an input that cannot be made up."""
        generator = np.random.Generator(np.random.PCG64(seed))
        return {value.name: self._array(value, generator) for value in self.sizes.inputs if value.name not in without}

    def guesses(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """The integers whose range the graph does not show: `sr=16000`, `flags=0 or 1`."""
        values = (value for value in self.sizes.inputs if value.name not in without)
        return tuple(f"{value.name}={guess}" for value in values if (guess := self._guess(value)) is not None)

    def _array(self, value: Input, generator: np.random.Generator) -> Array:
        shape = self.sizes.shape(value)
        dtype = _made_up(value)
        if dtype.kind in "fc":
            return np.asarray(generator.standard_normal(shape), dtype)
        # A mask with random values would hide parts of the input.
        if _is_mask(value):
            return np.ones(shape, dtype)
        fixed = self._fixed(value)
        if fixed is not None:
            return np.full(shape, fixed, dtype)
        low, high = self._range(value)
        return np.asarray(generator.integers(low, high, shape), dtype)

    def _fixed(self, value: Input) -> int | None:
        """The single value of an input whose values decide how much is computed; None for one that may have many."""
        known = self.known.get(value.name, Values())
        if known.asks is not None:
            raise _asks(value, known.asks)
        if known.full is not None:
            return self._length(value, known.full)
        if any(axis.size != 1 for axis in value.axes or ()):
            return None
        # One number, as a sample rate or a switch: the same in each call, so that each call takes the same branch.
        if known.equals is not None and known.equals >= known.low:
            return known.equals
        return known.high - 1 if known.high is not None else max(known.low, 1)

    def _length(self, value: Input, sequence: str) -> int:
        lengths = [self.sizes.shape(each)[0] for each in self.sizes.inputs if each.name == sequence and each.axes]
        if not lengths:
            raise _asks(value, "a recurrent layer")
        return lengths[0]

    def _range(self, value: Input) -> tuple[int, int]:
        known = self.known.get(value.name, Values())
        dtype = _made_up(value)
        if known.high is None:
            pixels = dtype == np.uint8 and len(value.axes or ()) >= 3
            return known.low, max(256 if pixels else 2, known.low + 1)
        most = 2 if dtype.kind == "b" else int(np.iinfo(dtype).max) + 1
        return known.low, max(min(known.high, most), known.low + 1)

    def _guess(self, value: Input) -> str | None:
        if value.dtype is None or np.dtype(value.dtype).kind not in "iub" or _is_mask(value):
            return None
        fixed = self._fixed(value)
        if fixed is not None:
            return str(bool(fixed)).lower() if np.dtype(value.dtype).kind == "b" else str(fixed)
        if self.known.get(value.name, Values()).high is not None:
            return None
        low, high = self._range(value)
        if np.dtype(value.dtype).kind == "b":
            return "true or false"
        return f"{low} or {low + 1}" if high == low + 2 else f"{low} to {high - 1}"


def _is_mask(value: Input) -> bool:
    return "mask" in value.name.lower()


def _made_up(value: Input) -> np.dtype[Any]:
    if value.dtype is None:
        message = f"input {value.name!r} is of type {value.kind}, which cannot be made up"
        raise Refusal(
            "unsupported", message, 'give real inputs: inputs = "path:FILE.npz" in the model\'s table', "inputs"
        )
    return np.dtype(value.dtype)


def _asks(value: Input, operator: str) -> Refusal:
    message = f"input {value.name!r} is a size, an axis or a position for {operator}, which cannot be made up"
    example = f'inputs = {{ values = {{ "{value.name}" = … }} }}'
    remedy = f'give its value in the model\'s table, {example}, or real inputs: inputs = "path:FILE.npz"'
    return Refusal("unsupported", message, remedy, "inputs")
