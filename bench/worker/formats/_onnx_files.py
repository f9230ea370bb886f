"""Reads, copies, repairs and checks ONNX files as people bring them."""

from __future__ import annotations

import heapq
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.records import CPU_PROVIDER, Note, note
from bench.shared.native_errors import brief
from bench.worker.refusal import Refusal

MODEL = "model.onnx"
WEIGHTS = "model.onnx_data"
RESERVED = (MODEL, "artifact.json")
"""The names of an artifact's own files."""
OWN_DOMAINS = ("", "ai.onnx")
SHAPE_VALUES = 64
"""A constant with more values is no shape."""
SMALLEST_IR = 4
"""From this version on, weights need not be listed as inputs."""


# --- the parts of a model ---------------------------------------------------------------------------------------------


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, then all that are bodies of nodes, such as the branches of an `If`; those of functions too."""
    yield model.graph
    for attribute in _attributes(model):
        yield from _graphs_of(attribute)


def _attributes(model: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    """The attributes of every node, and those that functions have by default."""
    for node in all_nodes(model):
        yield from node.attribute
    for function in model.functions:
        yield from function.attribute_proto


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the main graph, of functions, and of all bodies."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    defaults = (attribute for function in model.functions for attribute in function.attribute_proto)
    waiting += [node for attribute in defaults for graph in _graphs_of(attribute) for node in graph.node]
    yield from nodes_below(waiting)


def nodes_below(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """These nodes, and all nodes of their bodies."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for body in bodies(node) for inner in body.node]


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs among a node's attributes, such as the body of a `Loop`."""
    return [graph for attribute in node.attribute for graph in _graphs_of(attribute)]


def _graphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant: initializers and tensors among attributes, sparse ones too; data may be in other files."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in _attributes(model):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in _sparse_of(attribute):
            yield from (sparse.values, sparse.indices)


def _sparse_of(attribute: onnx.AttributeProto) -> list[onnx.SparseTensorProto]:
    return [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]


def sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    """Every sparse constant: initializers and attributes."""
    for graph in graphs(model):
        yield from graph.sparse_initializer
    for attribute in _attributes(model):
        yield from _sparse_of(attribute)


def opset(model: onnx.ModelProto) -> int | None:
    """The version of ONNX's own operators; None where the model imports none."""
    # Some files import it twice, under both of its names; ONNX Runtime takes the last.
    versions = [entry.version for entry in model.opset_import if entry.domain in OWN_DOMAINS]
    return versions[-1] if versions else None


# --- files ------------------------------------------------------------------------------------------------------------


def copy(path: Path, model: onnx.ModelProto, out: Path) -> None:
    """Copy a file as `out/model.onnx`, with its external data, unchanged. ValueError where a name of data is reserved.

    `model` is the parsed file, whose names `_onnx_bounds.check` has accepted; its external data need not be loaded.
    """
    # Sorted, so that an error names the same file each time: sets of texts have no fixed order.
    for location in sorted(external_files(model)):
        if location in RESERVED:
            raise ValueError(f"{path.name} keeps weights in a file named {location}, which is reserved; rename it")
        (out / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / location, out / location)
    shutil.copyfile(path, out / MODEL)


def external_files(model: onnx.ModelProto) -> set[str]:
    """The names of the files that hold data of the model's tensors, relative to its folder."""
    entries = (entry for tensor in tensors(model) for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}


def accepted(path: Path, name: str) -> tuple[Note, ...]:
    """Check a file with ONNX's checker; what only the checker complains about is a note.

    Raises Refusal where ONNX Runtime does not open the file either. `name` is the file's name for readers.
    """
    try:
        # By path: the checker cannot take a model over 2 GB from memory.
        onnx.checker.check_model(path)
    except Exception as error:  # noqa: BLE001 - the checker has no common class for its complaints
        # ONNX Runtime runs many files that break a rule: nodes out of order, names that are used twice.
        open_on_cpu(path, name)
        return (note("checker-complaint", text=brief(str(error))),)
    return ()


def open_on_cpu(path: Path, name: str) -> tuple[Any, str]:
    """A session of the file on the CPU, and the optimizations that it has: as few as it opens with.

    Raises Refusal where it does not open. `name` is the file's name for readers.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    first: Exception | None = None
    # Some operators have a kernel only after an optimization has replaced them.
    for level, words in (
        (levels.ORT_DISABLE_ALL, "no graph optimizations"),
        (levels.ORT_ENABLE_BASIC, "basic graph optimizations"),
        (levels.ORT_ENABLE_ALL, "all graph optimizations"),
    ):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        try:
            return ort.InferenceSession(path, options, providers=[CPU_PROVIDER]), words
        except Exception as error:  # noqa: BLE001 - onnxruntime has a class for each code, and no common one
            first = first or error
    raise Refusal(
        "unsupported",
        f"ONNX Runtime {ort.__version__} does not open {name} on the CPU: {brief(str(first))}",
        "export it again, for operators and an opset that this version knows",
        "not-opened",
    ) from first


# --- repairs: what tools expect and files need not have ---------------------------------------------------------------


def repair(model: onnx.ModelProto) -> None:
    """Change a model in place so that quantizers and the checker understand it; its answers stay the same.

    Weights are no inputs, each node has a name of its own, nodes follow those that they read from, constants of
    `Constant` nodes are initializers, and ONNX's own operators are imported once. Raises Refusal where two weights of
    one name differ.
    """
    _import_once(model)
    model.ir_version = max(model.ir_version, SMALLEST_IR)
    taken: set[str] = set()
    for graph in graphs(model):
        _weights_are_no_inputs(graph)
        _rename_weights(graph, taken)
    sort(model.graph)
    _keep_constants(model.graph)
    name_nodes(model)


def _import_once(model: onnx.ModelProto) -> None:
    versions = {"" if entry.domain in OWN_DOMAINS else entry.domain: entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())


def _weights_are_no_inputs(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    _keep(graph.input, [value for value in graph.input if value.name not in weights])
    first: dict[str, onnx.TensorProto] = {}
    for tensor in graph.initializer:
        # Observed with ONNX Runtime 1.31: of two small ones it takes the last, of two large ones the first.
        if first.setdefault(tensor.name, tensor) is not tensor and first[tensor.name] != tensor:
            message = f"the file holds two different weights of the name {tensor.name!r}, so what it computes is open"
            raise Refusal("unsupported", message, "export it again with one weight of each name", "ambiguous")
    _keep(graph.initializer, list(first.values()))


def _rename_weights(graph: onnx.GraphProto, taken: set[str]) -> None:
    """Give new names to the weights of a body that has those of another graph: the FP16 converter takes none twice."""
    for tensor in graph.initializer:
        before, number = tensor.name, 0
        while tensor.name in taken:
            number += 1
            tensor.name = f"{before}_{number}"
        taken.add(tensor.name)
        if tensor.name != before:
            _rename_reads(graph, before, tensor.name)


def _rename_reads(graph: onnx.GraphProto, before: str, after: str) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == before:
                node.input[index] = after
        for body in bodies(node):
            # A body with its own value of this name does not read the outer one.
            if before not in _made_inside(body):
                _rename_reads(body, before, after)
    for value in graph.output:
        if value.name == before:
            value.name = after


def _keep_constants(graph: onnx.GraphProto) -> None:
    """Make initializers of the constants of the main graph: quantizers look for weights there only."""
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        tensor = _constant(node)
        if tensor is None or node.output[0] in outputs:
            kept.append(node)
            continue
        weight = graph.initializer.add()
        weight.CopyFrom(tensor)
        weight.name = node.output[0]
    _keep(graph.node, kept)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or node.domain not in OWN_DOMAINS:
        return None
    return next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)


def name_nodes(model: onnx.ModelProto) -> bool:
    """Give a name to each node that has none, and another to each that shares its name; gives whether any did."""
    nodes = list(all_nodes(model))
    counts = Counter(node.name for node in nodes)
    taken = set(counts)
    if "" not in taken and len(taken) == len(nodes):
        return False
    number = 0
    for node in nodes:
        if node.name and counts[node.name] == 1:
            continue
        counts[node.name] -= 1
        while (name := f"{node.op_type}_{number}") in taken:
            number += 1
        node.name = name
        taken.add(name)
    return True


def forget_contradictions(model: onnx.ModelProto) -> None:
    """Remove the declared shapes of values that the operators do not give, as after an edit of the inputs' sizes."""
    try:
        plain = onnx.shape_inference.infer_shapes(_without_weights(model))
        inferred = {value.name: value for value in plain.graph.value_info}
    # The operators contradict each other too, or the bodies of nodes have too many weights.
    except Exception:  # noqa: BLE001 - onnx raises several classes
        return
    kept = [value for value in model.graph.value_info if _agree(value, inferred.get(value.name, value))]
    _keep(model.graph.value_info, kept)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for shape inference, without declared shapes, whose large weights are inputs."""
    graph, plain = model.graph, onnx.ModelProto(ir_version=model.ir_version)
    plain.opset_import.extend(model.opset_import)
    plain.functions.extend(model.functions)
    plain.graph.node.extend(graph.node)
    plain.graph.input.extend(graph.input)
    plain.graph.output.extend(graph.output)
    for tensor in graph.initializer:
        # Small ones may be shapes, whose values are needed.
        if math.prod(tensor.dims) <= SHAPE_VALUES:
            plain.graph.initializer.append(tensor)
        else:
            declared = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            plain.graph.input.append(declared)
    return plain


def _agree(declared: onnx.ValueInfoProto, inferred: onnx.ValueInfoProto) -> bool:
    """Whether two declarations of a value have no fixed size that differs."""
    first, second = (value.type.tensor_type.shape.dim for value in (declared, inferred))
    known = all(value.type.tensor_type.HasField("shape") for value in (declared, inferred))
    if not known:
        return True
    pairs = zip(first, second, strict=False)
    return len(first) == len(second) and not any(
        a.dim_value and b.dim_value and a.dim_value != b.dim_value for a, b in pairs
    )


def forget_shapes(model: onnx.ModelProto) -> None:
    """Remove the declared shapes of values inside the graph: in some files they contradict the operators."""
    for graph in graphs(model):
        del graph.value_info[:]
        if graph is not model.graph:
            for value in graph.output:
                value.type.tensor_type.ClearField("shape")


def flatten_biases(model: onnx.ModelProto) -> None:
    """Give each Gemm of the main graph a bias of rank 1, where its own has the same values for each row.

    The static quantizer fails for the shapes (1, N) and (1), which ONNX allows too.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or not {*node.input[1:3]} <= weights.keys():
            continue
        weight, bias = (weights[name] for name in node.input[1:3])
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        columns = weight.dims[0 if transposed else 1]
        if list(bias.dims) == [columns] or math.prod(bias.dims[:-1]) != 1:
            continue
        values = onnx.numpy_helper.to_array(bias).reshape(-1)
        flat = onnx.numpy_helper.from_array(np.ascontiguousarray(np.broadcast_to(values, columns)))
        # Another node may read the bias too.
        flat.name = f"{bias.name}_of_{node.name}"
        model.graph.initializer.append(flat)
        node.input[2] = flat.name


def sort(graph: onnx.GraphProto) -> bool:
    """Put each node after those that it reads from, in bodies of nodes too; gives whether any node was moved.

    Nodes in a valid order keep it. ValueError where nodes wait for each other.
    """
    moved = [sort(body) for node in graph.node for body in bodies(node)]
    nodes = list(graph.node)
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [{makers[name] for name in reads(node) if name in makers} for node in nodes]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(needs):
        for source in sources:
            readers.setdefault(source, []).append(index)
    missing = [len(sources) for sources in needs]
    # A heap, so that among the nodes that are ready the first of the file comes first.
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        waiting = next(node for index, node in enumerate(nodes) if missing[index])
        raise ValueError(f"the graph has a cycle, at the node {waiting.name or waiting.op_type!r}")
    if order == list(range(len(nodes))):
        return any(moved)
    _keep(graph.node, [nodes[index] for index in order])
    return True


def reads(node: onnx.NodeProto) -> set[str]:
    """The names of the values that a node needs: its inputs, and what its bodies read from outside."""
    names = set(node.input)
    for body in bodies(node):
        read = {name for inner in body.node for name in reads(inner)} | {value.name for value in body.output}
        names |= read - _made_inside(body)
    return names - {""}


def _made_inside(body: onnx.GraphProto) -> set[str]:
    """The names of the values that a graph has of its own."""
    given = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    return given | {name for node in body.node for name in node.output}


def _keep(field: Any, items: Iterable[Any]) -> None:
    """Replace the items of a repeated field by some of its own."""
    items = list(items)
    # Nothing is left out and nothing moved: a copy of all weights is not worth it.
    if len(items) == len(field) and all(item is own for item, own in zip(items, field, strict=True)):
        return
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
