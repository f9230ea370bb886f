"""Finds the range of values that an ONNX graph accepts at its integer inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.worker.feeds import Array

if TYPE_CHECKING:
    import onnx

SAME = {
    "Cast",
    "Identity",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Flatten",
    "Transpose",
    "Expand",
    "Slice",
    "Tile",
    "Gather",
}
"""Operators whose first input gives their output its values."""
INDEXED = {
    "Gather": "axis",
    "GatherElements": "axis",
    "ScatterElements": "axis",
    "Scatter": "axis",
    "GatherBlockQuantized": "gather_axis",
}
"""Operators whose second input indexes an axis of the first, with the attribute that names the axis."""
EMBEDDED = {("EmbedLayerNormalization", 0): 2, ("EmbedLayerNormalization", 1): 4}
"""Inputs that index the rows of a table, by operator and position, with the position of the table."""
SIZES = {
    "Reshape": (1,),
    "Expand": (1,),
    "ConstantOfShape": (0,),
    "Tile": (1,),
    "Pad": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Range": (0, 1, 2),
    "Resize": (3,),
    "OneHot": (1,),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "ReduceSum": (1,),
    "ReduceMean": (1,),
    "CumSum": (1,),
    "RandomNormal": (0,),
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "GroupQueryAttention": (5, 6),
}
"""Inputs that are sizes, axes or positions: noise in them would be refused, or would make a tensor of any size."""
RECURRENT = {"RNN", "GRU", "LSTM"}
MOST_NUMBERS = 1 << 17
"""Constants with more numbers are weights."""
MOST_KEPT = 10
"""The k of a TopK whose input has more values than that."""
LARGEST_FOR_INFERENCE = 2**29
"""Shapes are not inferred for larger files: inference copies the model."""


@dataclass(frozen=True)
class Values:
    """What is known about an input's values: at least `low`, and below `high`; None where no limit was found."""

    low: int = 0
    high: int | None = None
    full: str | None = None
    """The name of the sequence that the input gives the length of."""
    equals: int | None = None
    """A constant that the graph compares the input with."""
    asks: str | None = None
    """The operator for which the input is a size, an axis or a position: it cannot be made up."""


@dataclass
class _Scope:
    """The names of a graph and of the graphs around it."""

    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    origins: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By tensor: the input whose values it has, and the number that was added to them."""


def ranges(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, Values]:
    """What is known about the values of these integer inputs, by name."""
    found = {name: Values() for name in names}
    if found:
        scope = _Scope(origins={name: (name, 0) for name in found}, shapes=_inferred(model))
        _walk(model.graph, scope, found)
    return found


def _walk(graph: onnx.GraphProto, scope: _Scope, found: dict[str, Values]) -> None:
    scope.constants |= {tensor.name: tensor for tensor in graph.initializer}
    scope.constants |= {node.output[0]: tensor for node in graph.node for tensor in _constant(node)}
    _follow(graph, scope)
    for node in graph.node:
        for position, name in enumerate(node.input):
            origin = scope.origins.get(name)
            if origin is not None:
                found[origin[0]] = _meet(found[origin[0]], _limit(node, position, scope), origin[1])
        for inner in _bodies(node):
            _walk(inner, _Scope(dict(scope.constants), dict(scope.shapes), dict(scope.origins)), found)


def _follow(graph: onnx.GraphProto, scope: _Scope) -> None:
    """Add the tensors that have the values of an input, but for a constant that is added."""
    size = -1
    # Until nothing is added: ONNX Runtime also takes files whose nodes are in no order.
    while size != len(scope.origins) + len(scope.constants):
        size = len(scope.origins) + len(scope.constants)
        for node in graph.node:
            if len(node.output) != 1 or not node.input:
                continue
            origin = scope.origins.get(node.input[0])
            if origin is not None and node.op_type in SAME:
                scope.origins[node.output[0]] = origin
            elif node.op_type in ("Identity", "Cast") and node.input[0] in scope.constants:
                scope.constants[node.output[0]] = scope.constants[node.input[0]]
            elif node.op_type in ("Add", "Sub"):
                _follow_shift(node, scope)


def _follow_shift(node: onnx.NodeProto, scope: _Scope) -> None:
    left, right = node.input
    sign = -1 if node.op_type == "Sub" else 1
    shift, origin = _scalar(right, scope), scope.origins.get(left)
    if origin is None and sign == 1:
        shift, origin = _scalar(left, scope), scope.origins.get(right)
    if origin is not None and shift is not None:
        scope.origins[node.output[0]] = (origin[0], origin[1] + sign * shift)


def _meet(known: Values, limit: Values | None, shift: int) -> Values:
    """Both limits together; `shift` was added to the input before the operator read it."""
    if limit is None:
        return known
    low = max(known.low, limit.low - shift)
    high = known.high if limit.high is None else min(known.high or limit.high - shift, limit.high - shift)
    equals = known.equals if limit.equals is None or known.equals is not None else limit.equals - shift
    return replace(
        known, low=low, high=high, equals=equals, full=known.full or limit.full, asks=known.asks or limit.asks
    )


def _limit(node: onnx.NodeProto, position: int, scope: _Scope) -> Values | None:
    """What an operator asks of the values of one of its inputs; None for nothing."""
    kind = node.op_type
    if rows := _rows(node, position, scope):
        return Values(high=rows)
    if kind in RECURRENT and position == 4:
        return Values(low=1, full=node.input[0])
    if kind == "TopK" and position == 1:
        size = _size(node.input[0], _attribute(node, "axis", -1), scope)
        return Values(low=1, high=min(size, MOST_KEPT) + 1) if size else Values(asks=kind)
    if kind == "Equal":
        return _compared(node.input[1 - position], scope)
    return Values(asks=kind) if position in SIZES.get(kind, ()) else None


def _compared(name: str, scope: _Scope) -> Values | None:
    """The constant that an input is compared with; of all numbers from 0 on, which make a one-hot, their range."""
    numbers = _numbers(name, scope)
    if numbers is None:
        return None
    if len(numbers) == 1:
        return Values(equals=int(numbers[0]))
    return Values(high=len(numbers)) if np.array_equal(numbers, np.arange(len(numbers))) else None


def _rows(node: onnx.NodeProto, position: int, scope: _Scope) -> int | None:
    """The number of rows that an input of an operator indexes; None for an input that is no index."""
    kind = node.op_type
    if kind in INDEXED and position == 1:
        return _size(node.input[0], _attribute(node, INDEXED[kind], 0), scope)
    if (kind, position) in EMBEDDED and len(node.input) > EMBEDDED[kind, position]:
        return _size(node.input[EMBEDDED[kind, position]], 0, scope)
    return _scalar(node.input[1], scope) if kind == "OneHot" and position == 0 else None


def _size(name: str, axis: int, scope: _Scope) -> int | None:
    """The size of a tensor along an axis, where the graph fixes it."""
    tensor = scope.constants.get(name)
    shape = tuple(tensor.dims) if tensor is not None else scope.shapes.get(name)
    return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None


def _scalar(name: str, scope: _Scope) -> int | None:
    """A constant with one whole number."""
    numbers = _numbers(name, scope)
    return int(numbers[0]) if numbers is not None and len(numbers) == 1 else None


def _numbers(name: str, scope: _Scope) -> Array | None:
    """The whole numbers of a small constant, in one dimension; None for other constants."""
    import onnx

    tensor = scope.constants.get(name)
    # External weights are not read, and no small constant is among them.
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL or int(np.prod(tensor.dims)) > MOST_NUMBERS:
        return None
    try:
        numbers: Array = onnx.numpy_helper.to_array(tensor).ravel()
    except (TypeError, ValueError):
        return None
    whole = numbers.dtype.kind in "iu" or (numbers.dtype.kind == "f" and np.array_equal(numbers, np.rint(numbers)))
    return numbers if whole and numbers.size and np.isfinite(numbers).all() else None


def _constant(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    import onnx

    if node.op_type != "Constant":
        return
    for attribute in node.attribute:
        if attribute.name == "value":
            yield attribute.t
        elif attribute.name == "value_int":
            yield onnx.numpy_helper.from_array(np.array(attribute.i, np.int64))
        elif attribute.name == "value_ints":
            yield onnx.numpy_helper.from_array(np.array(attribute.ints, np.int64))


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    import onnx

    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _inferred(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """The shapes of tensors that onnx can infer, by name; a size is None where it is symbolic."""
    import onnx

    graph = model.graph
    if model.ByteSize() < LARGEST_FOR_INFERENCE:
        try:
            graph = onnx.shape_inference.infer_shapes(model).graph
        # A file with operators of another domain, or with shapes that contradict one another, has fewer limits here.
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError):
            graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name: tuple(dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }
