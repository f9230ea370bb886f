"""Describes properties of a genai export besides its speed: type and size of its cache, logits and weights."""

from __future__ import annotations

from math import prod

from bench.records import Traits
from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import graphs, onnx_protobuf


def traits(export: Export, batch: int, length: int) -> Traits:
    """The traits of a generation of `batch` sequences; `length` counts all tokens: context, prompt and new ones."""
    # The cache of all layers has the type of the first layer's keys.
    graph = onnx_protobuf.read_graph(export.decoder)
    element = graph.values[export.names["past_key_names"] % 0].element
    storage, bits = graphs.weights(graph)
    item = graphs.BITS.get(element, 8) // 8
    return Traits(
        kv_type=graphs.SHORT.get(element, element),
        # Keys and values: 2 tensors for each layer.
        kv_bytes=item * batch * 2 * export.layers * (export.heads * length * export.head_size + _cross(export)),
        logits="last token" if last_only(export) else "every token",
        weights=storage,
        declared_bits=bits,
        weight_bytes=export.weight_bytes(),
    )


def _cross(export: Export) -> int:
    """The elements of one layer's cross-attention keys for one sequence; 0 for a model without an encoder."""
    name = export.names.get("cross_past_key_names")
    if name is None:
        return 0
    return prod(int(size) for size in onnx_protobuf.input_dimensions(export.decoder)[name % 0][1:])


def last_only(export: Export) -> bool:
    """Whether prefill computes logits for the last token only."""
    return onnx_protobuf.read_graph(export.decoder).values[export.names["logits"]].dims[1] == 1
