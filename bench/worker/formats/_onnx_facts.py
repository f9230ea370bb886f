"""Reads from an ONNX graph what the file itself is: its number format, its random nodes, and what holds its weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from bench.records import Note, note
from bench.shared.number_formats import coarsest
from bench.worker.formats._onnx_files import all_nodes, graphs, tensors

Kind = onnx.TensorProto
FLOATS = {Kind.DOUBLE: "fp64", Kind.FLOAT: "fp32", Kind.FLOAT16: "fp16", Kind.BFLOAT16: "bf16"}
STORED = {
    Kind.INT8: "int8",
    Kind.UINT8: "int8",
    Kind.INT16: "int16",
    Kind.UINT16: "int16",
    Kind.INT4: "int4",
    Kind.UINT4: "int4",
    Kind.INT2: "int2",
    Kind.UINT2: "int2",
    Kind.FLOAT8E4M3FN: "fp8",
    Kind.FLOAT8E4M3FNUZ: "fp8",
    Kind.FLOAT8E5M2: "fp8",
    Kind.FLOAT8E5M2FNUZ: "fp8",
    Kind.FLOAT4E2M1: "fp4",
}
"""The number formats of quantized values, by their type."""
QUANTIZED = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "QAttention", "QGemm", "QEmbedLayerNormalization")
QUANTIZED_PREFIXES = ("QLinear", "QOrdered", "DynamicQuantize")
BLOCKWISE = {"MatMulNBits": "bits", "GatherBlockQuantized": "bits", "QMoE": "expert_weight_bits"}
"""The operators whose weights are blocks of integers, and the attribute with the number of bits, 4 by default."""
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
WEIGHTED = ("Conv", "Gemm", "MatMul")
"""The operators with nearly all weights and nearly all work of the families' models."""
NOTED_SHARE = 0.1
"""A number format counts if it has this share of the values of all weights: a few constants decide nothing."""
OPS_NAMED = 4


def notes(model: onnx.ModelProto) -> tuple[Note, ...]:
    """The notes on a file: its number format where that is not FP32, and its random nodes where it has some."""
    own, ops = number_format(model)
    # Values that leave the file in a short format are rounded to it, whatever computed them.
    own = coarsest((own, *_of_outputs(model)))
    noise = random_ops(model)
    return (
        *((note("file-format", number_format=own, op_types=ops),) if own != "fp32" else ()),
        *((note("random-nodes", op_types=noise),) if noise else ()),
    )


def _of_outputs(model: onnx.ModelProto) -> list[str]:
    known = {**FLOATS, **{kind: name for kind, name in STORED.items() if name == "fp8"}}
    return [known[value.type.tensor_type.elem_type] for value in model.graph.output if _is_short(value, known)]


def _is_short(value: onnx.ValueInfoProto, known: dict[int, str]) -> bool:
    return known.get(value.type.tensor_type.elem_type) in ("bf16", "fp8")


# --- number formats ---------------------------------------------------------------------------------------------------


def number_format(model: onnx.ModelProto) -> tuple[str, tuple[str, ...]]:
    """The coarsest number format that the file holds, and the quantized operators that show it, `QLinearConv x9`."""
    types = {tensor.name: tensor.data_type for tensor in tensors(model)}
    # The values of `Constant` nodes have the name of the node's output.
    types |= {node.output[0]: attribute.t.data_type for node, attribute in _constants(model)}
    formats: list[str] = []
    counts: Counter[str] = Counter()
    for node in all_nodes(model):
        if own := _quantized(node, types):
            formats += own
            counts[node.op_type] += 1
    if formats:
        return coarsest(formats), tuple(f"{op} x{count}" for op, count in counts.most_common(OPS_NAMED))
    return _float_format(model), ()


def _quantized(node: onnx.NodeProto, types: dict[str, int]) -> list[str]:
    """The number formats that a quantized operator has; empty for others."""
    if node.op_type in BLOCKWISE:
        bits = next((a.i for a in node.attribute if a.name == BLOCKWISE[node.op_type]), 4)
        return [f"int{bits}"]
    if node.op_type == "MatMulBnb4":
        return ["int4"]
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        # The quantized values are the first input or the zero point; without either in the file they are UINT8.
        known = [types[name] for name in (*node.input[:1], *node.input[2:3]) if name in types]
        return [STORED[kind] for kind in known if kind in STORED] or ([] if Kind.INT32 in known else ["int8"])
    return ["int8"] if node.op_type in QUANTIZED or node.op_type.startswith(QUANTIZED_PREFIXES) else []


def _float_format(model: onnx.ModelProto) -> str:
    """The coarsest format with a share of the weights; of a model without weights, that of its inputs."""
    sizes: Counter[str] = Counter()
    for tensor in tensors(model):
        if tensor.data_type in FLOATS:
            sizes[FLOATS[tensor.data_type]] += max(math.prod(tensor.dims), 1)
    if sizes:
        return coarsest(name for name, size in sizes.items() if size >= NOTED_SHARE * sizes.total())
    kinds = (value.type.tensor_type.elem_type for value in model.graph.input)
    return coarsest(FLOATS[kind] for kind in kinds if kind in FLOATS)


def _constants(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.AttributeProto]]:
    for node in all_nodes(model):
        if node.op_type == "Constant":
            yield from ((node, attribute) for attribute in node.attribute if attribute.name == "value")


def holds_fp16(model: onnx.ModelProto) -> bool:
    """Whether any constant is FP16, or any node casts to it."""
    casts = (a.i for node in all_nodes(model) if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    return any(tensor.data_type == Kind.FLOAT16 for tensor in tensors(model)) or Kind.FLOAT16 in casts


# --- random nodes -----------------------------------------------------------------------------------------------------


def random_ops(model: onnx.ModelProto) -> tuple[str, ...]:
    """The types of the operators whose answers differ from call to call, in order of name."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {node.output[0]: attribute.t for node, attribute in _constants(model)}
    return tuple(
        sorted({node.op_type for node in all_nodes(model) if node.op_type in RANDOM or _drops(node, constants)})
    )


def _drops(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node is a Dropout in training mode with a ratio above zero."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    training, ratio = constants.get(node.input[2]), constants.get(node.input[1])
    if training is None or training.external_data or not onnx.numpy_helper.to_array(training).all():
        return False
    return ratio is None or bool(ratio.external_data) or float(onnx.numpy_helper.to_array(ratio)) > 0


# --- what a quantizer can take ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """An operator with constant weights."""

    node: onnx.NodeProto
    weight: onnx.TensorProto
    nested: bool
    """True for a node of a body, such as a branch of an `If`."""


def holders(model: onnx.ModelProto, op_types: tuple[str, ...] = WEIGHTED) -> list[Holder]:
    """The operators of these types whose weights are floats of rank 2 or more in the graph."""
    weights = {t.name: t for graph in graphs(model) for t in graph.initializer if t.data_type in FLOATS}
    weights |= {n.output[0]: a.t for n, a in _constants(model) if a.t.data_type in FLOATS}
    listed = []
    for graph in graphs(model):
        for node in graph.node:
            # The first input of the operators in `WEIGHTED` is their data, also where it is a constant.
            names = node.input[1:2] if node.op_type in WEIGHTED else node.input
            weight = next((weights[name] for name in names if name in weights and len(weights[name].dims) > 1), None)
            if node.op_type in op_types and weight is not None:
                listed.append(Holder(node, weight, graph is not model.graph))
    return listed


def why_nothing(model: onnx.ModelProto, op_types: tuple[str, ...]) -> tuple[str, str]:
    """Why a quantizer of these op types took nothing of a model, and what to do; both as sentences."""
    own, quantized = number_format(model)
    if quantized:
        return (
            f"nothing to quantize: the file is quantized already, in {own.upper()} ({', '.join(quantized)})",
            "the recipe fp32 measures it as it is; give the file in FP32 to compare recipes",
        )
    chosen, every = holders(model, op_types), holders(model, tuple({node.op_type for node in all_nodes(model)}))
    listed = _listed(op_types)
    if chosen and own != "fp32":
        return (
            f"nothing to quantize: the file is {own.upper()}, and the quantizer takes weights in FP32",
            "the recipe fp32 measures it as it is; give the file in FP32 to compare recipes",
        )
    if chosen:
        shapes = sorted({"x".join(map(str, holder.weight.dims)) for holder in chosen}, key=len)[:OPS_NAMED]
        where = " inside branches and loops" if all(holder.nested for holder in chosen) else ""
        return (
            f"nothing to quantize: the quantizer took none of the {len(chosen)} weights of {listed}{where}, "
            f"of the shapes {', '.join(shapes)}",
            "try another recipe",
        )
    if not every:
        return f"nothing to quantize: the model has no weights in {listed}, nor in any other operator", ""
    others = Counter(f"{holder.node.op_type}" for holder in every)
    held = ", ".join(f"{op} x{count}" for op, count in others.most_common(OPS_NAMED))
    return (
        f"nothing to quantize: no {listed} has constant weights; those of the model are in {held}",
        "name other operators where the recipe takes `operators`, or try another recipe",
    )


def _listed(op_types: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(op_types[:-1]), *op_types[-1:])))
