"""Puts the weights of an ONNX model where quantizers look for them: in the graph that reads them, with one shape."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from bench.worker.formats import _onnx_files as files


def forget_shapes(model: onnx.ModelProto) -> None:
    """Remove the declared shapes of weights, which have shapes of their own; dynamo's exports declare them.

    The quantizers transpose the weights of Gemm and leave what was declared, and the two contradict each other then.
    """
    for graph in files.graphs(model):
        held = {tensor.name for tensor in graph.initializer}
        kept = [value for value in graph.value_info if value.name not in held]
        del graph.value_info[:]
        graph.value_info.extend(kept)


def sink(model: onnx.ModelProto) -> None:
    """Move each weight that a single branch or body reads into it.

    The quantizers look for the weights of a Conv with a bias in its own graph only.
    """
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        bodies = [body for node in graph.node for body in files.bodies(node)]
        # From the outermost graph inwards, so that a weight reaches the innermost graph that has all its readers.
        _sink(graph, bodies)
        waiting += bodies


def _sink(graph: onnx.GraphProto, bodies: list[onnx.GraphProto]) -> None:
    own = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    own |= {value.name for value in graph.input}
    readers: dict[str, list[onnx.GraphProto]] = {}
    for body in bodies:
        for name in set(_read(body)):
            readers.setdefault(name, []).append(body)
    moved = {
        tensor.name: readers[tensor.name][0]
        for tensor in graph.initializer
        if tensor.name not in own and len(readers.get(tensor.name, [])) == 1
    }
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        (moved[tensor.name].initializer if tensor.name in moved else kept).append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    """The names that a graph and its bodies read, those of outer graphs included."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for body in files.bodies(node):
            yield from _read(body)
