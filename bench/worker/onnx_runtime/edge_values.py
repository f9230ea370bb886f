"""Runs a session whose inputs or outputs are of types that NumPy lacks: the values are FP32 outside of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.shared import onnx_elements
from bench.worker import short_floats
from bench.worker.feeds import Array, Feed


def short_types(values: Sequence[Any]) -> dict[str, str]:
    """The inputs or outputs of a session that are short floats, by name, with ONNX's name of their type."""
    named = {value.name: value.type.removeprefix("tensor(").removesuffix(")") for value in values}
    return {name: kind for name, kind in named.items() if kind in short_floats.NAMES}


class ShortEdges:
    """The short floats among the inputs and outputs of a session; it is false where there are none."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.inputs = short_types(session.get_inputs())
        self.outputs = short_types(session.get_outputs())

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs)

    def bind(self, names: Sequence[str], feed: Feed) -> Callable[[], list[Any]]:
        """A call of the session. Values are converted before it, and read by `values` after it."""
        return partial(self._run, list(names), {name: self._value(name, array) for name, array in feed.items()})

    def _run(self, names: list[str], given: Mapping[str, ort.OrtValue]) -> list[Any]:
        found: list[Any] = self.session.run_with_ort_values(names, given)
        return found

    def _value(self, name: str, array: Array) -> ort.OrtValue:
        kind = self.inputs.get(name)
        if kind is None:
            return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        bits = short_floats.bits_of(array, kind)
        value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), onnx_elements.NUMBERS[kind])
        # An empty tensor has no bytes to copy, and its address may be null.
        if bits.size:
            ctypes.memmove(value.data_ptr(), bits.tobytes(), bits.nbytes)
        return value

    def values(self, names: Sequence[str], found: Sequence[Any]) -> list[Any]:
        """The outputs of a call as NumPy's arrays, short floats as FP32."""
        return [self._array(name, value) for name, value in zip(names, found, strict=True)]

    def _array(self, name: str, value: ort.OrtValue) -> Any:
        kind = self.outputs.get(name)
        if kind is None:
            return value.numpy()
        bits = np.frombuffer(
            ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()) if value.tensor_size_in_bytes() else b"",
            np.uint16 if kind == short_floats.BFLOAT16 else np.uint8,
        )
        return short_floats.values_of(bits, kind).reshape(value.shape())


def run(session: ort.InferenceSession, names: Sequence[str], feed: Feed) -> list[Any]:
    """The outputs of one call, short floats as FP32."""
    edges = ShortEdges(session)
    if not edges:
        outputs: list[Any] = session.run(names, feed)
        return outputs
    return edges.values(names, edges.bind(names, feed)())
