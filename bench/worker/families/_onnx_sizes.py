"""Resolves the dimensions of an ONNX file's inputs: given sizes, default sizes, sums of both, and the sample axis."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.records import InputOptions
from bench.shared.dimensions import default_size, expression, is_sum, terms
from bench.worker.families._onnx_graph import Axis, Input
from bench.worker.refusal import Refusal

PICTURE_SIDE = 224
CHANNELS = (1, 3, 4)

LETTERS = re.compile(r"b|bs|bsz|n", re.IGNORECASE)
"""Short names of dimensions that count samples, beside those that contain `batch`."""
# Where such a dimension stands first, a call holds one sample: its steps, points or pixels are no samples.
NO_SAMPLES = re.compile(r"seq|time|step|len|frame|token|height|width|channel|point|past|^(t|s|l|h|w|c)$", re.IGNORECASE)
"""Names of first dimensions that do not count samples."""
SIZE_LIMIT = 2**31 - 1

Value = Mapping[str, int]


@dataclass(frozen=True)
class SampleAxis:
    """The symbolic dimensions that count samples, or the fixed first size that all inputs and outputs share."""

    names: tuple[str, ...] = ()
    fixed: int | None = None
    guessed: bool = False
    places: tuple[tuple[str, int], ...] = ()
    """Fixed dimensions that the user names, as input and position."""

    @property
    def text(self) -> str:
        """The axis for readers: its name or names."""
        return ", ".join(self.names) or ", ".join(f"{name}[{position}]" for name, position in self.places)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a workload, for these inputs."""

    inputs: tuple[Input, ...]
    given: dict[str, int]
    """The workload's sizes by the names of dimensions; without `batch`."""
    axis: SampleAxis
    asked: int | None
    """The samples that the workload asks for; None leaves them open."""

    @cached_property
    def samples(self) -> int:
        """The samples of one call."""
        if self.axis.fixed is not None:
            return self.axis.fixed
        named = next((self.given[name] for name in self.axis.names if name in self.given), None)
        return named or self.asked or 1

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The names of all symbolic dimensions, and the terms of those that are sums or products."""
        return frozenset(_symbols(self.inputs, self.given))

    def size(self, axis: Axis) -> int:
        """The size of a dimension. Raises Refusal for a sum or product that is no size."""
        if axis.size is not None:
            return axis.size
        size = self.value(axis.name)
        if not 0 < size <= SIZE_LIMIT:
            message = f"the dimension {axis.name!r} would be {size}"
            raise Refusal("unsupported", message, "give its terms other sizes in the workload", "sizes")
        return size

    def value(self, name: str) -> int:
        """The size of a symbolic dimension: given, computed from its terms, that of a batch, or a default."""
        if name in self.given:
            return self.given[name]
        if name in self.axis.names:
            return self.samples
        tree = expression(name, self.symbols | self.given.keys())
        if tree is not None:
            return _compute(tree, {term: self.value(term) for term in terms(tree)})
        return PICTURE_SIDE if name in self._sides else default_size(name)

    def shape(self, value: Input) -> tuple[int, ...]:
        """The shape of an input."""
        return tuple(self.size(axis) for axis in value.axes or ())

    def position(self, value: Input) -> int | None:
        """The position of the sample axis in an input; None for an input that all samples share."""
        for name, position in self.axis.places:
            if name == value.name:
                return position
        for position, axis in enumerate(value.axes or ()):
            if axis.size is None and axis.name in self.axis.names:
                return position
        first = value.axes[0].size if value.axes else None
        return 0 if first is not None and first == self.axis.fixed and not self.axis.places else None

    @cached_property
    def _sides(self) -> frozenset[str]:
        """The symbolic sides of pictures: dimensions beside 1, 3 or 4 channels."""
        layouts = [axes for value in self.inputs if len(axes := value.axes or ()) == 4]
        first = [axis.name for axes in layouts if axes[1].size in CHANNELS for axis in axes[2:]]
        last = [axis.name for axes in layouts if axes[3].size in CHANNELS for axis in axes[1:3]]
        return frozenset(first + last)

    @property
    def assumed(self) -> dict[str, int]:
        """The default sizes that stand in for sizes that nobody gives, by the names of their dimensions."""
        names = (axis.name for value in self.inputs for axis in value.axes or () if axis.size is None)
        free = dict.fromkeys(term for name in names for term in self._leaves(name))
        known = {*self.given, *self.axis.names}
        return {name: self.value(name) for name in free if name not in known}

    def _leaves(self, name: str) -> list[str]:
        tree = None if name in self.given else expression(name, self.symbols | self.given.keys())
        return [name] if tree is None else [leaf for term in terms(tree) for leaf in self._leaves(term)]


def resolve(
    inputs: Iterable[Input], outputs: Iterable[Input], workload: Mapping[str, int], options: InputOptions
) -> Sizes:
    """The sizes of a workload. Raises Refusal for sizes that the file does not have, or that contradict one another."""
    shaped = tuple(_with_shape(value, options) for value in inputs)
    given = {name: size for name, size in workload.items() if name != "batch"}
    symbols = _symbols(shaped, given)
    asked = workload.get("batch")
    for name in given:
        if name not in symbols:
            raise Refusal("unsupported", f"no input has a symbolic dimension {name!r}", _there_are(symbols), "sizes")
    axis = _sample_axis(shaped, tuple(outputs), options.batch_axis)
    sizes = Sizes(shaped, given, axis, asked)
    _check_batch(sizes)
    return sizes


def _with_shape(value: Input, options: InputOptions) -> Input:
    """The input with the shape that the user gives. Raises Refusal for one without a shape."""
    shape = options.shapes.get(value.name)
    if shape is not None:
        if value.axes is not None and len(value.axes) != len(shape):
            message = f"inputs.shapes gives {value.name!r} {len(shape)} dimensions; the file has {value.shape_text}"
            raise Refusal("unsupported", message, "give as many as the file has", "shape")
        own = value.axes or (None,) * len(shape)
        axes = tuple(_axis(value.name, place, size, own[place]) for place, size in enumerate(shape))
        return Input(value.name, value.kind, value.dtype, axes)
    if value.axes is None:
        message = f"input {value.name!r} has no shape in the file"
        remedy = f'give it one in the model\'s table: inputs = {{ shapes = {{ "{value.name}" = ["batch", 64] }} }}'
        raise Refusal("unsupported", message, f"{remedy}, a name or a size for each dimension", "shape")
    return value


def _axis(name: str, position: int, size: int | str, own: Axis | None) -> Axis:
    if own is not None and own.size is not None and size != own.size:
        message = f"inputs.shapes gives dimension {position} of {name!r} as {size}, and the file fixes it to {own.size}"
        raise Refusal("unsupported", message, "leave the shape out, or export the file with a symbolic size", "shape")
    return Axis(f"{name}[{position}]", size, named=False) if isinstance(size, int) else Axis(size, None)


def _sample_axis(inputs: tuple[Input, ...], outputs: tuple[Input, ...], named: str) -> SampleAxis:
    """The axis that the user names, else dimensions with the name of a batch, else a symbolic first dimension."""
    if named:
        return _named_axis(inputs, named)
    symbolic = [axis.name for value in inputs for axis in value.axes or () if axis.size is None and axis.named]
    batches = [name for name in symbolic if "batch" in name.lower() and not is_sum(name)]
    # A single letter may count anything: it counts samples where it stands first, or behind the steps of a sequence.
    batches = batches or [name for value in inputs for name in _lead(value) if LETTERS.fullmatch(name)]
    if batches:
        return SampleAxis(tuple(dict.fromkeys(batches)))
    first = [value.axes[0] for value in inputs if value.axes and value.axes[0].size is None]
    guessed = [
        axis.name for axis in first if not (axis.named and NO_SAMPLES.search(axis.name)) and not is_sum(axis.name)
    ]
    guessed += [axis.name for value in inputs for axis in _of_state(value)] if guessed else []
    if guessed:
        return SampleAxis(tuple(dict.fromkeys(guessed)), guessed=True)
    return SampleAxis(fixed=_fixed_first(inputs, outputs), guessed=True) if not first else SampleAxis()


def _lead(value: Input) -> list[str]:
    """The name of the first dimension if it is symbolic; of a time-major input also the second."""
    axes = (value.axes or ())[:2]
    count = 2 if axes and axes[0].named and NO_SAMPLES.search(axes[0].name) else 1
    return [axis.name for axis in axes[:count] if axis.size is None and axis.named]


def _of_state(value: Input) -> list[Axis]:
    """The batch of a recurrent state, [layers, batch, width]: the only symbolic dimension, without a name."""
    axes = value.axes or ()
    symbolic = [axis for axis in axes if axis.size is None]
    return symbolic if len(axes) == 3 and symbolic == [axes[1]] and not axes[1].named else []


def _fixed_first(inputs: tuple[Input, ...], outputs: tuple[Input, ...]) -> int:
    """The first size that all inputs and outputs with dimensions share; else 1, since nothing shows a batch."""
    shaped = [value.axes[0].size for value in (*inputs, *outputs) if value.axes]
    # A channel of a picture is no batch: it is not in the outputs.
    same = len(set(shaped)) == 1 and bool(outputs) and any(value.axes for value in outputs)
    return shaped[0] or 1 if same and shaped[0] is not None else 1


def _named_axis(inputs: tuple[Input, ...], named: str) -> SampleAxis:
    """The axis by the name of a symbolic dimension, or as `x[1]` by input and position. Raises Refusal."""
    axes = {f"{value.name}[{place}]": (value, place) for value in inputs for place in range(len(value.axes or ()))}
    symbols = {axis.name for value in inputs for axis in value.axes or () if axis.size is None}
    if named in symbols:
        return SampleAxis((named,))
    if named in axes:
        value, place = axes[named]
        axis = (value.axes or ())[place]
        if axis.size is None:
            return SampleAxis((axis.name,))
        return SampleAxis(fixed=axis.size, places=((value.name, place),))
    there = ", ".join(sorted(symbols | axes.keys()))
    raise Refusal("unsupported", f"batch_axis {named!r} is no dimension of an input", f"there are: {there}", "sizes")


def _check_batch(sizes: Sizes) -> None:
    """Raise Refusal where two sizes are given for the samples of a call, or where no axis can hold those asked for."""
    axis, asked = sizes.axis, sizes.asked
    given = {name: sizes.given[name] for name in axis.names if name in sizes.given}
    told = {**({"batch": asked} if asked is not None else {}), **given}
    if len(set(told.values())) > 1:
        words = " and ".join(f"{name} = {size}" for name, size in told.items())
        default = ", 1 if it is not given" if asked == 1 else ""
        remedy = (
            f"write batch = {next(iter(given.values()))}, or name the sample axis: batch_axis = … in the model's table"
        )
        message = f"{words} are two sizes of the samples of a call (batch counts them{default})"
        raise Refusal("unsupported", message, remedy, "sizes")
    if asked is None or asked == 1 or axis.names:
        return
    if axis.fixed in (None, 1):
        symbols = ", ".join(sorted(sizes.symbols))
        hint = f"it may be one of {symbols}: batch_axis = …" if symbols else "leave batch out, or export with a batch"
        raise Refusal("unsupported", f"batch = {asked}, but no input has a symbolic first dimension", hint, "sizes")
    if axis.fixed != asked:
        message = f"batch = {asked}, and the file fixes the samples of a call to {axis.fixed}"
        raise Refusal("unsupported", message, f"write batch = {axis.fixed}", "sizes")


def _there_are(symbols: set[str]) -> str:
    return f"there are: {', '.join(sorted(symbols)) or 'none'}"


# --- sums and products in the names of dimensions ---------------------------------------------------------------------


def _symbols(inputs: Iterable[Input], given: Mapping[str, int]) -> set[str]:
    names = {axis.name for value in inputs for axis in value.axes or () if axis.size is None}
    trees = (expression(name, names | given.keys()) for name in names)
    return names | {term for tree in trees if tree is not None for term in terms(tree)}


def _compute(tree: ast.expr, values: Value) -> int:
    if isinstance(tree, ast.Name):
        return values[tree.id]
    if isinstance(tree, ast.Constant):
        return int(str(tree.value))
    assert isinstance(tree, ast.BinOp)
    left, right = _compute(tree.left, values), _compute(tree.right, values)
    if isinstance(tree.op, ast.Add):
        return left + right
    if isinstance(tree.op, ast.Sub):
        return left - right
    if isinstance(tree.op, ast.Mult):
        return left * right
    return left // right if right else 0
