"""Describes properties of a genai export besides its speed: type and size of its cache, logits and weights."""

from __future__ import annotations

from collections import Counter
from math import prod

from bench.records import Traits
from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import decoder_cache, onnx_protobuf
from bench.worker.onnx_runtime.onnx_protobuf import Graph, Node

BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "uint8": 8}
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "uint8"}
BLOCKWISE, DYNAMIC = "com.microsoft.MatMulNBits", ("MatMulInteger", "com.microsoft.DynamicQuantizeMatMul")
PRODUCTS = ("MatMul", "Gemm")


def traits(export: Export, batch: int, length: int, *, keeps_windows: bool = False) -> Traits:
    """The traits of a generation of `batch` sequences; `length` counts all tokens: context, prompt and new ones.

    With `keeps_windows` a layer with a sliding window keeps that only, and not the whole text.
    """
    graph = onnx_protobuf.read_graph(export.decoder)
    cache = decoder_cache.read(export, graph.values)
    # Keys and values of all layers have one type; states of convolutions may have another.
    element = next((tensor.element for tensor in cache if tensor.token_axis is not None), cache[0].element)
    storage, bits = weights(graph)
    rooms = [tensor.window if keeps_windows and tensor.window else tensor.room(length) for tensor in cache]
    held = sum(_bytes(tensor.element) * tensor.elements(batch, room) for tensor, room in zip(cache, rooms, strict=True))
    return Traits(
        kv_type=SHORT.get(element, element),
        # Keys and values of the encoder's output: 2 tensors for each layer.
        kv_bytes=held + _bytes(element) * batch * 2 * export.layers * _cross(export),
        logits="last token" if last_only(export) else "every token",
        weights=storage,
        declared_bits=bits,
        weight_bytes=export.weight_bytes(),
    )


def _bytes(element: str) -> int:
    return BITS.get(element, 8) // 8


def _cross(export: Export) -> int:
    """The elements of one layer's cross-attention keys for one sequence; 0 for a model without an encoder."""
    name = export.names.get("cross_past_key_names")
    if name is None:
        return 0
    return prod(int(size) for size in onnx_protobuf.input_dimensions(export.decoder)[name % 0][1:])


def last_only(export: Export) -> bool:
    """Whether prefill computes logits for the last token only."""
    return onnx_protobuf.read_graph(export.decoder).values[export.names["logits"]].dims[1] == 1


# --- how weights are stored -------------------------------------------------------------------------------------------


def weights(graph: Graph) -> tuple[str, float | None]:
    """How the weights of matrix products are stored, in ONNX's terms, and the bits for each weight.

    The bits include scales and zero points, averaged over the products; None if there are no weights to count.
    """
    blocks = [node for node in graph.nodes if node.op == BLOCKWISE]
    if blocks:
        return _blockwise(graph, blocks)
    if any(node.op in DYNAMIC for node in graph.nodes):
        return "int8, activations quantized at run time", 8.0
    elements = _elements(graph)
    # Only products with a constant: in attention both inputs are activations.
    kinds = Counter(
        elements[node.inputs[1]] for node in graph.nodes if node.op in PRODUCTS and node.inputs[1] in elements
    )
    if not kinds:
        return "", None
    kind = kinds.most_common(1)[0][0]
    return SHORT.get(kind, kind), float(BITS[kind]) if kind in BITS else None


def _blockwise(graph: Graph, blocks: list[Node]) -> tuple[str, float]:
    """As `MatMulNBits, 4 bits, blocks of 32`: each block has a scale, and may have a zero point as wide as a weight."""
    sizes = [node.attributes["K"] * node.attributes["N"] for node in blocks]
    elements = _elements(graph)
    bits = [_bits(elements, node) for node in blocks]
    average = sum(size * bit_count for size, bit_count in zip(sizes, bits, strict=True)) / sum(sizes)
    widths, lengths = (sorted({node.attributes[name] for node in blocks}) for name in ("bits", "block_size"))
    storage = f"MatMulNBits, {_join(widths)} bits, blocks of {_join(lengths)}"
    # Level 0, the default, leaves the arithmetic to the kernel.
    levels = sorted({node.attributes.get("accuracy_level", 0) for node in blocks})
    return f"{storage}, accuracy level {_join(levels)}" if levels != [0] else storage, average


def _elements(graph: Graph) -> dict[str, str]:
    """The element type of every initializer."""
    return {tensor.name: tensor.element for tensor in graph.initializers}


def _bits(elements: dict[str, str], node: Node) -> float:
    width = node.attributes["bits"]
    scale = BITS.get(elements.get(node.inputs[2], ""), 32)
    # The zero point is an optional input: its name is empty if it is left out.
    zero_point = width if len(node.inputs) > 3 and node.inputs[3] else 0
    return width + (scale + zero_point) / node.attributes["block_size"]


def _join(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers))
