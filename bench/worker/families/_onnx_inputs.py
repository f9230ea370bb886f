"""Makes the batches of an ONNX file: the user's data, checked against the graph, else noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.records import InputOptions, Note, Source, note
from bench.shared.dimensions import is_sum
from bench.worker.families import _input_files, _input_samples, _onnx_graph, _onnx_integers, _onnx_sizes
from bench.worker.families._input_files import Data, refused
from bench.worker.families._onnx_graph import Input
from bench.worker.families._onnx_noise import Noise
from bench.worker.families._onnx_sizes import Sizes
from bench.worker.feeds import Array, Feed

if TYPE_CHECKING:
    import onnx

CHECKED_SAMPLES = 8
"""Samples of noise that are checked."""
CALIBRATION_SAMPLES = 32
MOST_CHECKED = 64
"""Samples of the user's data that are checked: their reference is kept whole."""


@dataclass(frozen=True)
class OnnxInputs:
    """The inputs of one workload; `inputs` is the user's data, or None."""

    source: Source
    workload: Mapping[str, int]
    inputs: str | None
    read: Data | None = None
    """The data where it is read already."""

    def every(self) -> tuple[list[Feed], int]:
        """Every sample of the data in batches, the last of which is filled, and how many samples there are."""
        if self.data is None or self.data.batches:
            raise refused("labelled samples are whole batches", "give an array of samples for each input")
        count = _count(self.sizes, self._arrays)
        return self._cut(range(count), self.sizes.samples), count

    def checked(self) -> list[Feed]:
        """The batches that are checked, the first of which is timed. Raises Refusal for inputs that do not fit."""
        if self.data is None:
            count = max(2, -(-CHECKED_SAMPLES // self.sizes.samples))
            return [self._complete({}, index) for index in range(count)]
        if self.data.batches:
            return [self._complete(batch, index) for index, batch in enumerate(self.data.batches)]
        return self._cut(self._split[0], self.sizes.samples)

    def calibration(self) -> list[Feed]:
        """Batches of one sample, or of as many as the file fixes: other noise, or the last third of the data."""
        if self.data is None:
            # Seeds that `checked` does not use.
            return [self._complete({}, 1000 + index) for index in range(CALIBRATION_SAMPLES)]
        if self.data.batches:
            return self.checked()
        return self._cut(self._split[1], self.sizes.samples)

    def one_sample_of(self, workloads: Sequence[Mapping[str, int]]) -> list[OnnxInputs]:
        """The same inputs with the sizes of each workload, without its batch; as they are where there is none."""
        samples = {"batch", *self.sizes.axis.names}
        sizes = [{name: size for name, size in each.items() if name not in samples} for each in workloads]
        different = [each for index, each in enumerate(sizes) if each not in sizes[:index]]
        return [replace(self, workload=each) for each in different] or [self]

    def notes(self) -> tuple[Note, ...]:
        """What a reader must know: what is noise or guessed, and which samples a call counts."""
        noise = tuple(value.name for value in self.sizes.inputs if value.name not in self._given)
        everything = len(noise) == len(self.sizes.inputs)
        assumed = tuple(f"{name}={size}" for name, size in self.sizes.assumed.items())
        guesses = self._noise.guesses(without=self._given)
        axis = self.sizes.axis
        return (
            *((note("noise"),) if everything else ()),
            *((note("noise-for", inputs=noise),) if noise and not everything else ()),
            *((note("assumed-sizes", sizes=assumed),) if assumed else ()),
            *((note("guessed-integers", inputs=guesses),) if guesses else ()),
            *self._samples_note(axis.text, axis.guessed and self.sizes.samples > 1),
        )

    def _samples_note(self, axis: str, guessed: bool) -> tuple[Note, ...]:
        samples = self.sizes.samples
        if guessed:
            return (note("guessed-samples", samples=samples, axis=axis or "the fixed first axis"),)
        return (note("counted-samples", samples=samples, axis=axis),)

    def output_axes(self) -> dict[str, int | None]:
        """The position of the samples in each output that is a tensor; None where the graph does not show it."""
        return {value.name: self._output_axis(value) for value in _onnx_graph.outputs(self._model)}

    def _output_axis(self, value: Input) -> int | None:
        axis = self.sizes.axis
        named = [place for place, own in enumerate(value.axes or ()) if own.size is None and own.name in axis.names]
        # Of a fixed size that the user names: an output has it once, or it cannot be told which one it is.
        fixed = [place for place, own in enumerate(value.axes or ()) if axis.places and own.size == axis.fixed]
        return named[0] if named else fixed[0] if len(fixed) == 1 else None

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def options(self) -> InputOptions:
        """How the matrix wants inputs to be made."""
        return self.source.inputs

    @cached_property
    def data(self) -> Data | None:
        """The user's data."""
        return self.read or (_input_files.read(Path(self.inputs)) if self.inputs else None)

    @cached_property
    def sizes(self) -> Sizes:
        """The sizes of the workload, completed by those of the data."""
        sizes = self._resolved(self.workload)
        if self.data is None:
            return sizes
        batches = self.data.batches or (self._arrays,)
        bound = _bound(sizes, batches[0], whole=bool(self.data.batches), place=self.data.path.name)
        for name, size in bound.items():
            if sizes.given.get(name, size) != size:
                message = (
                    f"{self.data.path.name} has {name} = {size}, and the workload has {name} = {sizes.given[name]}"
                )
                raise refused(message, "give data of this size, or leave the size out of the workload")
        samples = _samples_of(sizes, batches[0]) if self.data.batches else None
        asked = self.workload.get("batch")
        if samples and asked is not None and samples != asked:
            message = (
                f"the batches of {self.data.path.name} hold {samples} samples, and the workload has batch = {asked}"
            )
            raise refused(message, f"write batch = {samples} in the workload")
        return self._resolved({**self.workload, **bound, **({"batch": samples} if samples else {})})

    def _resolved(self, workload: Mapping[str, int]) -> Sizes:
        model = self._model
        return _onnx_sizes.resolve(_onnx_graph.inputs(model), _onnx_graph.outputs(model), workload, self.options)

    @cached_property
    def _model(self) -> onnx.ModelProto:
        return _onnx_graph.read(Path(self.source.path))

    @cached_property
    def _arrays(self) -> Feed:
        """All samples of the data by input."""
        assert self.data is not None
        sizes = self._resolved(self.workload)
        given = {**sizes.given}
        arrays = _input_samples.samples(self.data, sizes.inputs, self.options, given)
        _check(sizes, arrays, self.data.path.name)
        return arrays

    @cached_property
    def _given(self) -> frozenset[str]:
        """The inputs that the user gives."""
        if self.data is None:
            return frozenset(self.options.values)
        named = self.data.batches[0] if self.data.batches else self._arrays
        return frozenset(named) | frozenset(self.options.values)

    @cached_property
    def _noise(self) -> Noise:
        integers = [
            value.name
            for value in self.sizes.inputs
            if value.name not in self._given and value.dtype is not None and np.dtype(value.dtype).kind in "iub"
        ]
        return Noise(self.sizes, _onnx_integers.ranges(self._model, integers))

    # --- batches ------------------------------------------------------------------------------------------------------

    def _complete(self, own: Feed, seed: int) -> Feed:
        """A batch with the values of the matrix, and noise for what nobody gives; in the order of the graph."""
        values = {name: self._value(name) for name in self.options.values if name not in own}
        feed = {**self._noise.feed(seed, without={*own, *values}), **values, **own}
        if own:
            assert self.data is not None
            _check_batch(self.sizes, own, self.data.path.name)
        return {value.name: feed[value.name] for value in self.sizes.inputs}

    def _value(self, name: str) -> Array:
        """An input's value from the matrix: one number for all elements, or a list of its shape."""
        value = next((each for each in self.sizes.inputs if each.name == name), None)
        if value is None:
            there = ", ".join(each.name for each in self.sizes.inputs)
            raise refused(f"inputs.values has {name!r}, and no input has this name", f"there are: {there}")
        content = np.asarray(self.options.values[name])
        kind = "U" if value.kind == "STRING" else "fiub" if value.dtype is not None else ""
        whole = value.dtype is None or np.dtype(value.dtype).kind not in "iub" or content.dtype.kind in "iub"
        if content.dtype.kind not in kind or not whole:
            raise refused(f"inputs.values.{name} is of another type than the input, {value.kind}", "give such a value")
        shape = self.sizes.shape(value)
        try:
            spread = np.broadcast_to(content, shape)
        except ValueError:
            message = f"inputs.values.{name} has the shape {list(content.shape)}, and the input takes {list(shape)}"
            raise refused(message, "give one number, or a list of this shape") from None
        return np.array(spread, value.dtype)

    @cached_property
    def _split(self) -> tuple[range, range]:
        """The samples to check and to calibrate with: two thirds, and the last third; all for both if there are few."""
        count = _count(self.sizes, self._arrays)
        cut = 2 * count // 3
        if count < 3:
            return range(count), range(count)
        return range(min(cut, MOST_CHECKED)), range(cut, min(count, cut + CALIBRATION_SAMPLES))

    def _cut(self, chosen: range, samples: int) -> list[Feed]:
        """Batches of these samples; the last one is filled with the first samples."""
        starts = range(0, len(chosen), samples)
        rows = [[chosen[(start + row) % len(chosen)] for row in range(samples)] for start in starts]
        return [self._complete(self._rows(row), index) for index, row in enumerate(rows)]

    def _rows(self, rows: list[int]) -> Feed:
        return {value.name: _take(self.sizes, value, self._arrays[value.name], rows) for value in self._own_inputs()}

    def _own_inputs(self) -> list[Input]:
        return [value for value in self.sizes.inputs if value.name in self._arrays]


def _take(sizes: Sizes, value: Input, array: Array, rows: list[int]) -> Array:
    """The rows as one batch, with the samples along the input's own sample axis."""
    rank, place = len(value.axes or ()), sizes.position(value)
    if array.ndim == rank and place is None:
        return array
    chosen = array[rows]
    if array.ndim == rank + 1:
        # Each sample has all dimensions of the input: one of them is its batch of one.
        return np.ascontiguousarray(chosen[0] if place is None else np.concatenate(list(chosen), axis=place))
    return np.ascontiguousarray(np.moveaxis(chosen, 0, place or 0))


def _count(sizes: Sizes, arrays: Feed) -> int:
    """The samples of the data."""
    counts = [
        len(arrays[value.name]) for value in sizes.inputs if value.name in arrays and _has_samples(sizes, value, arrays)
    ]
    return counts[0] if counts else 1


def _has_samples(sizes: Sizes, value: Input, arrays: Feed) -> bool:
    return arrays[value.name].ndim > len(value.axes or ()) or sizes.position(value) is not None


# --- checks -----------------------------------------------------------------------------------------------------------


def _check(sizes: Sizes, arrays: Feed, place: str) -> None:
    """Raise Refusal for samples of another name, type, rank, size or count than the graph's inputs, and for NaN."""
    _check_names(sizes, arrays, place)
    counts: dict[str, int] = {}
    for value in sizes.inputs:
        if value.name not in arrays:
            continue
        array, axes = arrays[value.name], value.axes or ()
        _check_values(value, array, place)
        if array.ndim not in (len(axes), len(axes) + 1):
            message = (
                f"{value.name!r} in {place} has the shape {list(array.shape)}, and the input takes {value.shape_text}"
            )
            raise refused(message, "give an array of the input's dimensions, with the samples along the first")
        if _has_samples(sizes, value, arrays):
            counts[value.name] = len(array)
        if array.ndim == len(axes) + 1 and sizes.position(value) is None and sizes.samples != 1:
            message = f"{value.name!r} has one value for all samples of a call, and {place} has one for each"
            raise refused(message, "write batch = 1, or give one value")
        _check_shape(sizes, value, _shape_of_sample(sizes, value, array), place)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise refused(f"the inputs in {place} have different numbers of samples: {listed}", "give each as many")
    if 0 in counts.values():
        raise refused(f"{place} holds no sample", "give at least one")


def _check_batch(sizes: Sizes, feed: Feed, place: str) -> None:
    """Raise Refusal for a whole batch that the graph does not take."""
    _check_names(sizes, feed, place)
    for value in sizes.inputs:
        if value.name in feed:
            _check_values(value, feed[value.name], place)
            if feed[value.name].shape != sizes.shape(value):
                shapes = f"{list(feed[value.name].shape)}, and a call takes {list(sizes.shape(value))}"
                raise refused(f"{value.name!r} in {place} has the shape {shapes}", "give all batches the same shape")


def _check_names(sizes: Sizes, arrays: Feed, place: str) -> None:
    names = {value.name for value in sizes.inputs}
    for name in arrays:
        if name not in names:
            raise refused(
                f"{place} holds {name!r}, and no input has this name", f"there are: {', '.join(sorted(names))}"
            )


def _check_values(value: Input, array: Array, place: str) -> None:
    wanted = "U" if value.kind == "STRING" else np.dtype(value.dtype) if value.dtype is not None else None
    own = array.dtype.kind if value.kind == "STRING" else array.dtype
    if own != wanted:
        numbers = value.dtype is not None and array.dtype.kind in "fiub"
        ways = (
            f'save it as {np.dtype(value.dtype)}, or write type = "{np.dtype(value.dtype)}" in inputs'
            if numbers
            else "give this type"
        )
        raise refused(f"{value.name!r} in {place} is of type {array.dtype}, and the input takes {value.kind}", ways)
    if array.dtype.kind == "f" and np.isnan(array).any():
        where = [int(index) for index in np.argwhere(np.isnan(array))[0]]
        raise refused(f"{value.name!r} in {place} holds a NaN, at {where}", "replace it, or leave the sample out")


def _check_shape(sizes: Sizes, value: Input, shape: tuple[int, ...], place: str) -> None:
    for position, (axis, size) in enumerate(zip(value.axes or (), shape, strict=True)):
        if axis.size is not None and size != axis.size and position != sizes.position(value):
            dimension = f"{size} values in dimension {position}"
            message = f"{value.name!r} in {place} has {dimension}, and the input takes {value.shape_text}"
            raise refused(message, "give the data the size that the file fixes")


def _shape_of_sample(sizes: Sizes, value: Input, array: Array) -> tuple[int, ...]:
    """The shape that the input has for these samples; the size along the sample axis means nothing."""
    place = sizes.position(value)
    if array.ndim == len(value.axes or ()) + 1:
        return tuple(array.shape[1:])
    if place is None:
        return tuple(array.shape)
    rest = list(array.shape[1:])
    return (*rest[:place], 1, *rest[place:])


def _bound(sizes: Sizes, arrays: Feed, *, whole: bool, place: str) -> dict[str, int]:
    """The sizes of symbolic dimensions that the data fixes, without the sample axis unless batches are whole."""
    bound: dict[str, int] = {}
    for value in sizes.inputs:
        array = arrays.get(value.name)
        if array is None:
            continue
        if whole and array.ndim != len(value.axes or ()):
            message = (
                f"{value.name!r} in {place} has the shape {list(array.shape)}, and the input takes {value.shape_text}"
            )
            raise refused(message, "give whole batches, of the input's own dimensions")
        shape = tuple(array.shape) if whole else _shape_of_sample(sizes, value, array)
        for position, (axis, size) in enumerate(zip(value.axes or (), shape, strict=True)):
            if axis.size is not None or (position == sizes.position(value) and not whole):
                continue
            if axis.name in sizes.axis.names or is_sum(axis.name):
                continue
            if bound.setdefault(axis.name, size) != size:
                message = f"{place} has {axis.name} = {bound[axis.name]} in one input and {size} in {value.name!r}"
                raise refused(message, "give both the same size: the file gives it one name")
    return bound


def _samples_of(sizes: Sizes, batch: Feed) -> int | None:
    """The samples of a whole batch."""
    for value in sizes.inputs:
        place = sizes.position(value)
        if place is not None and value.name in batch:
            return int(batch[value.name].shape[place])
    return None
