"""Makes inputs for an ONNX file from the shapes and types that it declares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.worker.feeds import Array, Feed

if TYPE_CHECKING:
    import onnx

# As in the other families: texts of 128 tokens, and pictures of 224 pixels with three channels.
DEFAULT_SIZES = {"seq": 128, "length": 128, "height": 224, "width": 224, "channel": 3}
"""Sizes of symbolic dimensions whose name contains the word, unless the workload gives another."""
FALLBACK_SIZE = 16
"""The size of all other symbolic dimensions."""


def read(path: Path) -> onnx.ModelProto:
    """The graph, without external weights."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        # Names, types and shapes are enough here, and external weights may be large.
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path.name} is truncated, or no ONNX file at all: {error}") from error
    if not model.graph.node:
        raise ValueError(f"{path.name} holds no graph: it is empty, or no ONNX file at all")
    return model


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs without weights, which files of old versions list among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


Axis = tuple[str, int, bool]
"""A dimension's name, its size, and whether the file or the workload gives that size."""


def shapes(model: onnx.ModelProto, sizes: dict[str, int]) -> dict[str, list[Axis]]:
    """The shape of every input. Raises ValueError for a batch size or a dimension that the file does not have."""
    declared = {value.name: _dimensions(value) for value in _inputs(model)}
    symbolic = {name for axes in declared.values() for name, size in axes if size is None}
    # A symbolic first dimension is the batch, also where its name is used for other dimensions.
    first = {axes[0][0] for axes in declared.values() if axes and axes[0][1] is None}
    for name in sizes:
        if name != "batch" and name not in symbolic:
            known = ", ".join(sorted(symbolic)) or "none"
            raise ValueError(f"no input has a symbolic dimension {name!r}; there are: {known}")
    if sizes["batch"] > 1 and not first and "batch" not in symbolic:
        raise ValueError(f"batch = {sizes['batch']}, but no input has a symbolic first dimension")
    given = dict.fromkeys(first, sizes["batch"]) | sizes
    return {
        value: [
            (name, size or given.get(name) or _default_size(name), bool(size) or name in given) for name, size in axes
        ]
        for value, axes in declared.items()
    }


def _dimensions(value: onnx.ValueInfoProto) -> list[tuple[str, int | None]]:
    """The name and size of each dimension of an input; the size is None if it is symbolic."""
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input {value.name!r} is no tensor; only tensors can be made up")
    dims = value.type.tensor_type.shape.dim
    return [
        (dim.dim_param or f"{value.name}[{position}]", dim.dim_value if dim.HasField("dim_value") else None)
        for position, dim in enumerate(dims)
    ]


def _default_size(name: str) -> int:
    return next((size for word, size in DEFAULT_SIZES.items() if word in name.lower()), FALLBACK_SIZE)


def feed(model: onnx.ModelProto, sizes: dict[str, int], seed: int) -> Feed:
    import onnx

    generator = np.random.Generator(np.random.PCG64(seed))
    limits = _index_limits(model.graph)
    arrays: Feed = {}
    types = {value.name: value.type.tensor_type.elem_type for value in _inputs(model)}
    for name, axes in shapes(model, sizes).items():
        if types[name] in (onnx.TensorProto.STRING, onnx.TensorProto.BFLOAT16):
            kind = onnx.TensorProto.DataType.Name(types[name])
            raise ValueError(f"input {name!r} is of type {kind}, which cannot be made up")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(types[name])
        arrays[name] = _noise(generator, [size for _, size, _ in axes], dtype, name, limits.get(name, 2))
    return arrays


def _noise(generator: np.random.Generator, shape: list[int], dtype: Any, name: str, limit: int) -> Array:
    """Normally distributed numbers; for integers valid indexes below `limit`, or ones for a mask."""
    if np.issubdtype(dtype, np.floating):
        return np.asarray(generator.standard_normal(shape), dtype)
    # A mask with random values would hide parts of the input.
    if "mask" in name.lower():
        return np.ones(shape, dtype)
    return np.asarray(generator.integers(0, limit, shape), dtype)


def _index_limits(graph: onnx.GraphProto) -> dict[str, int]:
    """The number of rows of the constant table that an input indexes, as token ids do; by the input's name."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    limits: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            name = casts.get(node.input[1], node.input[1])
            limits[name] = min(limits.get(name, 1 << 31), tables[node.input[0]][axis])
    return limits
