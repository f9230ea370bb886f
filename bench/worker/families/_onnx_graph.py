"""Reads an ONNX file's graph without its weights: its inputs, and the dimensions that the file declares for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.worker import short_floats
from bench.worker.refusal import Refusal

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Axis:
    """A dimension: its size if the file fixes it, and a name, for unnamed ones such as `x[0]`."""

    name: str
    size: int | None
    named: bool = True


@dataclass(frozen=True)
class Input:
    """An input of the graph; `axes` is None if the file declares no shape, `dtype` None for strings and odd types."""

    name: str
    kind: str
    """ONNX's name of the element type, such as `FLOAT`."""
    dtype: npt.DTypeLike | None
    axes: tuple[Axis, ...] | None

    @property
    def shape_text(self) -> str:
        """The declared shape for messages, `[batch, 3, 224]`."""
        axes = "no shape" if self.axes is None else ", ".join(str(axis.size or axis.name) for axis in self.axes)
        return f"[{axes}]"


def read(path: Path) -> onnx.ModelProto:
    """The model, without external weights.

    Raises Refusal for a file that is none, that computes nothing, that leads outside its folder or claims too much.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from bench.worker.formats import _onnx_bounds

    try:
        # Names, types and shapes are enough here, and external weights may be large.
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise _unusable(f"{path.name} is truncated, or no ONNX file at all: {error}") from error
    # Before anything is looked at: where a text is no UTF-8, Python's reader has bytes in its place.
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise _unusable(f"{path.name} holds names that are no UTF-8")
    _onnx_bounds.check(path, model)
    graph = model.graph
    if not graph.node and not graph.input and not graph.output:
        raise _unusable(f"{path.name} holds no graph: it is empty, or no ONNX file at all")
    if not graph.node:
        raise _unusable(f"the graph of {path.name} has no nodes: it computes nothing")
    if {value.name for value in graph.input} <= {tensor.name for tensor in graph.initializer}:
        raise _unusable(f"the graph of {path.name} has no inputs: each call would give the same")
    return model


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Every name in the model's graphs."""
    from bench.worker.formats import _onnx_files

    for graph in _onnx_files.graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
        for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
            yield tensor.name
            yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in _onnx_files.all_nodes(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))
    yield from (entry.domain for entry in model.opset_import)


def _unusable(message: str) -> Refusal:
    return Refusal("unsupported", message, "export or download it again", "model")


@contextmanager
def with_open_sizes(path: Path) -> Iterator[Path]:
    """The file; where it has inputs of size 0, a copy for a short time in which these sizes are symbolic.

    ONNX Runtime takes a size of 0 as it is written, and -1 as symbolic; exporters mean the same by both.
    """
    import onnx

    model = read(path)
    values = (*model.graph.input, *model.graph.output)
    dims = [dim for value in values for dim in value.type.tensor_type.shape.dim]
    zeros = [dim for dim in dims if dim.HasField("dim_value") and dim.dim_value == 0]
    if not zeros:
        yield path
        return
    for dim in zeros:
        dim.Clear()
    onnx.load_external_data_for_model(model, str(path.parent))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save_model(model, Path(folder) / path.name)
        yield Path(folder) / path.name


def inputs(model: onnx.ModelProto) -> list[Input]:
    """The inputs without weights, which files of old versions list too. Raises Refusal for other than tensors."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [_input(value) for value in model.graph.input if value.name not in weights]


def outputs(model: onnx.ModelProto) -> list[Input]:
    """The outputs that are tensors."""
    return [_input(value) for value in model.graph.output if value.type.HasField("tensor_type")]


def _input(value: onnx.ValueInfoProto) -> Input:
    import onnx

    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "no type"
        remedy = "leave the input out of the file when you export it, or give it as a tensor"
        raise Refusal("unsupported", f"input {value.name!r} is no tensor but a {kind}", remedy, "no-tensor")
    tensor = value.type.tensor_type
    try:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    except ValueError:
        message = f"input {value.name!r} has elements of the unknown type {tensor.elem_type}"
        raise Refusal("unsupported", message, "export the file again", "model") from None
    # NumPy has no own type for the short formats, and strings are objects. Short floats are given as FP32.
    known = {"STRING", "UNDEFINED", "INT4", "UINT4"}
    short = kind.lower() in short_floats.NAMES
    dtype = np.dtype(np.float32) if short else None if kind in known else _numpy_type(tensor.elem_type)
    return Input(value.name, kind, dtype, _axes(value) if tensor.HasField("shape") else None)


def _numpy_type(elem_type: int) -> npt.DTypeLike | None:
    import onnx

    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError, ValueError):  # a type that this version of onnx does not map
        return None
    return dtype if dtype.kind in "fiubc" else None


def _axes(value: onnx.ValueInfoProto) -> tuple[Axis, ...]:
    return tuple(_axis(f"{value.name}[{place}]", dim) for place, dim in enumerate(value.type.tensor_type.shape.dim))


def _axis(place: str, dim: onnx.TensorShapeProto.Dimension) -> Axis:
    # Exporters write -1 and 0 where they mean a size that is not known, and `?` for several that differ.
    named = any(character.isalnum() for character in dim.dim_param)
    size = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
    return Axis(dim.dim_param.strip() if named else place, size, named)
