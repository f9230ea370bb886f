"""The format `onnx`: a checked `model.onnx`, which the family exports or a recipe makes from that export."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import float16
from onnxruntime.transformers.onnx_model import OnnxModel

from bench.records import FormatManifest, Note, Tolerance, note
from bench.worker import feeds
from bench.worker.recipes import Context, recipe

# Literals only, here and in the decorators: the orchestrator reads them without an import of this module.
MANIFEST = FormatManifest(base="fp32")

MODEL = "model.onnx"
WEIGHTS = "model.onnx_data"
PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""A larger model cannot be a single file: its weights are in a second one."""
INTEGERS = {"int8": quantization.QuantType.QInt8, "uint8": quantization.QuantType.QUInt8}
WEIGHTED = ("Conv", "Gemm", "MatMul")
"""The operators with nearly all weights and nearly all work of the families' models."""


# --- recipes: (context, out, options) -> notes ------------------------------------------------------------------------


@recipe("fp32", number_format="fp32")
def fp32(context: Context, out: Path) -> tuple[Note, ...]:
    """The family's own export: `out/model.onnx` in FP32."""
    notes = context.exporting.export(context.source, out, context.opset)
    return _checked(out, notes)


@recipe("fp16", number_format="fp16")
def fp16(context: Context, out: Path, *, keep_fp32: str = "") -> tuple[Note, ...]:
    """Weights and arithmetic in FP16; inputs and outputs stay FP32, so that every precision takes the same feeds.

    `keep_fp32` lists op types that stay in FP32 too, separated by commas: `Softmax,LayerNormalization`.
    """
    parent, fp32_types = context.base, _split_names(keep_fp32)
    model = float16.convert_float_to_float16(
        onnx.load(parent / MODEL),
        keep_io_types=True,
        # The argument replaces the converter's default list, so that is repeated.
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *fp32_types],
        # Shape inference in memory fails for a model that is larger than a single file can be.
        disable_shape_infer=_is_large(parent),
    )
    # The converter appends the casts of inputs and outputs at the end; the checker needs topological order.
    OnnxModel(model).topological_sort(is_deterministic=True)
    onnx.save_model(model, out / MODEL, save_as_external_data=_is_large(parent), location=WEIGHTS)
    return _checked(out, (note("fp32-op-types", op_types=fp32_types),) if fp32_types else ())


@recipe(
    "dynamic-int8",
    number_format="int8",
    tolerance={
        # Measured, lowest cosine / relative error: 0.986 / 0.15 with one scale a channel. One scale a tensor gives
        # 0.932 / 0.33: embeddings that rank differently, and so refused.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        # 0.996 / 0.03 (ViT) with one scale a channel. Refused: ResNet-50 with one a tensor has 0.971 / 0.17.
        "image-classifier": Tolerance(min_cosine=0.98, max_relative_error=0.2),
        "onnx-file": Tolerance(min_cosine=0.97, max_relative_error=0.25),
    },
)
def dynamic_int8(
    context: Context,
    out: Path,
    *,
    per_channel: bool = True,
    weight_type: str = "int8",
    reduce_range: bool = False,
    operators: str = "",
) -> tuple[Note, ...]:
    """INT8 weights; the scale of each activation is computed at run time.

    With one scale a channel MiniLM's lowest cosine is 0.986, with one a tensor 0.932 (PROVIDERS 6). `operators` lists
    op types, separated by commas; by default MatMul and Gemm, and Conv too if convolutions have most of the weights.
    """
    parent, integer = context.base, _integer(weight_type)
    with _prepared(parent) as source:
        graph = onnx.load(source).graph
        chosen = _split_names(operators) or (WEIGHTED if _is_convolutional(graph) else ("Gemm", "MatMul"))
        quantization.quantize_dynamic(
            source,
            out / MODEL,
            op_types_to_quantize=list(chosen),
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=integer,
            use_external_data_format=_is_large(parent),
        )
    slow = (note("slow-convolutions"),) if "Conv" in chosen and _count(graph, "Conv") else ()
    return _checked(out, (_quantized_share(graph, out, "int8"), *slow))


@recipe(
    "static-qdq-int8",
    number_format="int8",
    tolerance={
        # Measured, lowest cosine / relative error: 0.980 / 0.19.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        # 0.992 / 0.10 with one scale a channel. Refused: ViT-tiny with every operator quantized has 0.51 / 0.44.
        "image-classifier": Tolerance(min_cosine=0.98, max_relative_error=0.2),
        "onnx-file": Tolerance(min_cosine=0.97, max_relative_error=0.25),
    },
)
def static_qdq_int8(
    context: Context,
    out: Path,
    *,
    per_channel: bool = True,
    activation_type: str = "uint8",
    weight_type: str = "int8",
    reduce_range: bool = False,
    samples: int = 16,
    coverage: str = "weights",
) -> tuple[Note, ...]:
    """INT8 weights and activations in QDQ form; ranges come from `samples` inputs that outputs are not checked with.

    `coverage`: "weights" quantizes the operators with weights, and leaves the outputs of matrix products in FP32: on
    MiniLM the cosine is 0.98, and 0.84 with quantized outputs, at equal speed. "all" quantizes every operator that can
    be quantized, as integer-only NPUs need it.
    """
    if coverage not in ("weights", "all"):
        raise ValueError(f"unknown coverage {coverage!r}; there are 'weights' and 'all'")
    parent = context.base
    calibration = context.exporting.calibration(context.source, context.inputs)[: max(samples, 1)]
    with _prepared(parent) as source:
        graph = onnx.load(source).graph
        # As at run time: a family may give more columns than the graph takes.
        taken = {value.name for value in graph.input}
        calibration = [{name: feed[name] for name in feed.keys() & taken} for feed in calibration]
        quantization.quantize_static(
            source,
            out / MODEL,
            _Reader(calibration),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=None if coverage == "all" else list(WEIGHTED),
            nodes_to_exclude=[] if coverage == "all" else _products_without_weights(graph),
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=_integer(activation_type),
            weight_type=_integer(weight_type),
            use_external_data_format=_is_large(parent),
            extra_options={} if coverage == "all" else {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
    return _checked(out, (_quantized_share(graph, out, "int8"), note("calibrated", inputs=len(calibration))))


@recipe(
    "weight-only-int8",
    number_format="int8",
    tolerance={
        # The limit of the other INT8 recipes; quantized weights without activations have smaller errors.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        "image-classifier": Tolerance(min_cosine=0.98, max_relative_error=0.2),
        "onnx-file": Tolerance(min_cosine=0.97, max_relative_error=0.25),
    },
)
def weight_only_int8(context: Context, out: Path, *, block: int = 32) -> tuple[Note, ...]:
    """Weights of matrix products as blocks of INT8 (MatMulNBits); activations stay FP32."""
    return _blockwise(context.base, out, bits=8, block=block, symmetric=True)


@recipe(
    "weight-only-int4",
    number_format="int4",
    tolerance={
        # Measured, lowest cosine / relative error: 0.964 / 0.26 in blocks of 32, 0.960 / 0.25 symmetric. Blocks of 128
        # give 0.934 / 0.34.
        "text-encoder": Tolerance(min_cosine=0.945, max_relative_error=0.3),
        # 0.917 / 0.20 in blocks of 32, 0.893 / 0.22 symmetric.
        "image-classifier": Tolerance(min_cosine=0.87, max_relative_error=0.3),
        "onnx-file": Tolerance(min_cosine=0.9, max_relative_error=0.4),
    },
)
def weight_only_int4(context: Context, out: Path, *, block: int = 32, symmetric: bool = False) -> tuple[Note, ...]:
    """Weights of matrix products as blocks of INT4 (MatMulNBits); activations stay FP32."""
    return _blockwise(context.base, out, bits=4, block=block, symmetric=symmetric)


def _blockwise(parent: Path, out: Path, *, bits: int, block: int, symmetric: bool) -> tuple[Note, ...]:
    # Imported here because it needs onnx-ir, which the other recipes do not need.
    from onnxruntime.quantization import matmul_nbits_quantizer as blockwise

    logging.getLogger(blockwise.__name__).setLevel(logging.WARNING)
    with _prepared(parent) as source:
        model = onnx.load(source)
        before = onnx.GraphProto()
        # A copy, because the quantizer changes the model in place.
        before.CopyFrom(model.graph)
        # Accuracy level 4 lets kernels compute in INT8; the error on MiniLM is the same with and without.
        quantizer = blockwise.MatMulNBitsQuantizer(
            model, bits=bits, block_size=block, is_symmetric=symmetric, accuracy_level=4
        )
        quantizer.process()
        onnx.save_model(quantizer.model.model, out / MODEL, save_as_external_data=_is_large(parent), location=WEIGHTS)
    return _checked(out, (_quantized_share(before, out, f"int{bits}", block),))


# mypy does not read onnxruntime, so the base class is `Any`.
class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives the quantizer one batch at a time."""

    def __init__(self, batches: list[feeds.Feed]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> feeds.Feed | None:
        return next(self.batches, None)


# --- what recipes share -----------------------------------------------------------------------------------------------


def _checked(out: Path, notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Return the notes after ONNX's checker has accepted the model. Raises `onnx.checker.ValidationError`."""
    # By path: the checker cannot take a model over 2 GB from memory.
    onnx.checker.check_model(out / MODEL)
    return notes


@contextmanager
def _prepared(parent: Path) -> Iterator[Path]:
    """The parent's model with inferred shapes and folded constants, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        # Symbolic shape inference fails for BERT ("Incomplete symbolic shape inference"), and no recipe needs it.
        quant_pre_process(
            parent / MODEL,
            path,
            skip_symbolic_shape=True,
            save_as_external_data=_is_large(parent),
            all_tensors_to_one_file=True,
        )
        yield path


def _is_large(folder: Path) -> bool:
    return sum(file.stat().st_size for file in folder.iterdir()) > PROTOBUF_LIMIT_BYTES


def _integer(name: str) -> Any:
    if name not in INTEGERS:
        raise ValueError(f"unknown integer type {name!r}; there are {' and '.join(INTEGERS)}")
    return INTEGERS[name]


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _count(graph: onnx.GraphProto, op_type: str) -> int:
    return sum(node.op_type == op_type for node in graph.node)


def _operators_with_weights(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes whose second input is an FP32 constant of the graph."""
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return [node for node in graph.node if node.op_type in WEIGHTED and node.input[1] in weights]


def _products_without_weights(graph: onnx.GraphProto) -> list[str]:
    """The names of products of two activations, as in attention, which stay FP32."""
    weighted = {node.name for node in _operators_with_weights(graph)}
    return [node.name for node in graph.node if node.op_type in WEIGHTED and node.name not in weighted]


def _is_convolutional(graph: onnx.GraphProto) -> bool:
    sizes = {tensor.name: len(tensor.raw_data) for tensor in graph.initializer}
    total = dict.fromkeys(WEIGHTED, 0)
    for node in _operators_with_weights(graph):
        total[node.op_type] += sizes[node.input[1]]
    return total["Conv"] > total["Gemm"] + total["MatMul"]


def _quantized_share(before: onnx.GraphProto, out: Path, number_format: str, block: int | None = None) -> Note:
    """A note on how many operators the recipe changed. Raises ValueError if there are none."""
    total, remaining = (
        len(_operators_with_weights(before)),
        len(_operators_with_weights(onnx.load(out / MODEL, load_external_data=False).graph)),
    )
    # Such an artifact would be the FP32 model under the name of another precision.
    if remaining >= total:
        raise ValueError(f"nothing to quantize: none of the model's {total} operators with weights was taken")
    quantized = total - remaining
    return note("quantized-operators", operators=quantized, total=total, number_format=number_format, block=block)
