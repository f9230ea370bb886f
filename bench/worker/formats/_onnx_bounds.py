"""Refuses ONNX files that name files outside their folder, or that claim more data than they hold or memory has.

It reads the parsed graph only: a file of a kilobyte may claim a terabyte, and whoever opens it would take that memory.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import psutil

from bench.worker.formats import _onnx_files as files
from bench.worker.refusal import Refusal

SMALL_BYTES = 2**20
"""Smaller claims do no harm; what opens the file says more exactly what is wrong with them."""
ENTRY_BYTES = 8
"""The most that one entry of a typed field, such as `int32_data`, stands for."""
TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
MOST_NODES = 2_000_000
DEEPEST_CALLS = 200
"""More functions than this call one another in no model; deeper ones would exhaust the stack."""
FILLERS = {"ConstantOfShape": 0, "Expand": 1}
"""Operators that make a tensor of any size, with the input that holds its shape."""
LONGEST_NAME = 255
"""Bytes of a name on all usual file systems."""
REMEDY = "do not use it before you know who made it; else export it again"


def check(path: Path, model: onnx.ModelProto, memory_bytes: int | None = None) -> None:
    """Raise Refusal for a file that leads outside its folder, or claims more than it holds or the machine has."""
    for location in sorted({*files.external_files(model), *_contexts(model)}):
        refuse_outside(path, location)
    memory_bytes = memory_bytes or psutil.virtual_memory().total
    for tensor in files.tensors(model):
        _check_tensor(path, tensor, memory_bytes)
    _check_functions(path, model)
    for what, claim in _claims(model):
        if claim > memory_bytes:
            message = f"{path.name} claims {_size(claim)} for {what}, and this machine has {_size(memory_bytes)}"
            raise Refusal("unsupported", message, REMEDY, "claim")


def _check_functions(path: Path, model: onnx.ModelProto) -> None:
    """Raise Refusal for functions that call others so often that the graph grows beyond any memory.

    ONNX Runtime replaces each call by the nodes of the function: thirty that call the next one twice are a billion.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    if not functions:
        return
    sizes: dict[tuple[str, str], float] = {}

    def total(nodes: Iterable[onnx.NodeProto], within: frozenset[tuple[str, str]]) -> float:
        calls = Counter((node.domain, node.op_type) for node in files.nodes_below(nodes))
        return sum(count * (of(name, within) if name in functions else 1) for name, count in calls.items())

    def of(name: tuple[str, str], within: frozenset[tuple[str, str]]) -> float:
        # A function that calls itself is refused by ONNX Runtime, which says so.
        if name in within or len(within) > DEEPEST_CALLS:
            return math.inf
        if name not in sizes:
            sizes[name] = total(functions[name].node, within | {name})
        return sizes[name]

    grown = total(model.graph.node, frozenset())
    if MOST_NODES < grown < math.inf:
        message = f"the functions of {path.name} stand for {grown:,.0f} nodes, more than {MOST_NODES:,}"
        raise Refusal("unsupported", message, REMEDY, "claim")


def refuse_outside(path: Path, location: str) -> None:
    """Raise Refusal for a name of a file that is not in the folder of `path`, also where a link leads out of it."""
    parts = re.split(r"[/\\]", location)
    if "\0" in location or any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in parts):
        message = f"{path.name} keeps data in a file whose name no disk takes: {location[:80]!r}"
        raise Refusal("unsupported", message, REMEDY, "outside")
    if ".." in parts or not parts[0] or ":" in parts[0]:
        message = f"{path.name} keeps data outside its own folder: {location}"
        raise Refusal("unsupported", message, "export it into one folder", "outside")
    real = path.parent.joinpath(*parts).resolve()
    # The hub's cache has a link for each file, and all of them lead into one folder.
    if not any(real.is_relative_to(home) for home in (path.parent.resolve(), path.resolve().parent)):
        message = f"{path.name} keeps data in {location}, which is a link to a file outside its folder"
        raise Refusal("unsupported", message, "copy the data into the folder", "outside")
    # A pipe or a device would be read for ever.
    if real.exists() and not real.is_file():
        message = f"{path.name} keeps data in {location}, which is no file"
        raise Refusal("unsupported", message, REMEDY, "outside")


def _contexts(model: onnx.ModelProto) -> Iterator[str]:
    """The files that nodes with compiled models name: a provider loads them."""
    for node in files.all_nodes(model):
        if node.op_type != "EPContext":
            continue
        values = {attribute.name: attribute for attribute in node.attribute}
        is_inside = "embed_mode" not in values or values["embed_mode"].i == 1
        if "ep_cache_context" in values and not is_inside:
            yield values["ep_cache_context"].s.decode("utf-8", "replace")


def _check_tensor(path: Path, tensor: onnx.TensorProto, memory_bytes: int) -> None:
    """Raise Refusal where a tensor's shape claims more than the machine's memory, or far more than the file holds."""
    claim = _bytes_of(tensor.dims, tensor.data_type)
    if claim <= SMALL_BYTES:
        return
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        held = _external_bytes(path, {entry.key: entry.value for entry in tensor.external_data})
    else:
        held = len(tensor.raw_data) + ENTRY_BYTES * sum(len(getattr(tensor, name)) for name in TYPED)
    # A file with holes may be a terabyte long and take no disk.
    if memory_bytes < claim <= held:
        message = (
            f"the tensor {tensor.name!r} of {path.name} claims {_size(claim)}: this machine has {_size(memory_bytes)}"
        )
        raise Refusal("unsupported", message, REMEDY, "claim")
    if claim > held:
        message = f"the tensor {tensor.name!r} of {path.name} claims {_size(claim)}, and the file holds {_size(held)}"
        raise Refusal("unsupported", message, REMEDY, "claim")


def _external_bytes(path: Path, entries: dict[str, str]) -> int:
    try:
        start, size = int(entries.get("offset", 0)), (path.parent / entries.get("location", "")).stat().st_size
    except (OSError, ValueError):
        return 0
    return max(0, size - start) if start >= 0 else 0


def _claims(model: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    """What is made of no data when the file is opened or fed, with its bytes."""
    for value in model.graph.input:
        tensor_type = value.type.tensor_type
        fixed = [dim.dim_value for dim in tensor_type.shape.dim if dim.dim_value > 0]
        yield f"the input {value.name!r}", _bytes_of(fixed, tensor_type.elem_type)
    for sparse in files.sparse_tensors(model):
        yield f"the tensor {sparse.values.name!r}", _bytes_of(sparse.dims, sparse.values.data_type)
    for graph in files.graphs(model):
        known = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64}
        for node in graph.node:
            place = FILLERS.get(node.op_type)
            if place is not None and len(node.input) > place and node.input[place] in known:
                shape = _values(known[node.input[place]])
                yield f"the node {node.name or node.op_type!r}", _bytes_of(shape, onnx.TensorProto.FLOAT)


def _values(tensor: onnx.TensorProto) -> list[int]:
    """The whole numbers of a small tensor in this file; empty for any other."""
    if math.prod(tensor.dims) > files.SHAPE_VALUES or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return []
    try:
        return [int(number) for number in onnx.numpy_helper.to_array(tensor).ravel()]
    except (ValueError, TypeError):
        return []


def _bytes_of(dims: Iterable[int], kind: int) -> int:
    """The bytes of a tensor of this shape and type; 0 for texts, and for types that are not known here."""
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        return 0
    bits = 0 if dtype.hasobject else 8 * dtype.itemsize
    name = onnx.TensorProto.DataType.Name(kind)
    # NumPy keeps each of these in a byte.
    bits = 4 if name.endswith("INT4") or name == "FLOAT4E2M1" else 2 if name.endswith("INT2") else bits
    sizes = [int(size) for size in dims]
    return 0 if any(size < 0 for size in sizes) else math.prod(sizes) * bits // 8


def _size(count: int) -> str:
    units = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    # Some claims are beyond what can be divided.
    count = min(count, 2**100)
    return next((f"{count / unit:,.1f} {name}" for unit, name in units if count >= unit), f"{count} bytes")
