"""The format `onnx`: a checked `model.onnx`, which the family exports or a recipe makes from that export."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.transformers import float16

from bench.records import FormatManifest, Note, Tolerance, note
from bench.worker import feeds
from bench.worker.formats import _onnx_facts as facts
from bench.worker.formats import _onnx_files as files
from bench.worker.formats._onnx_facts import FOLDED, WEIGHTED
from bench.worker.formats._onnx_files import MODEL, WEIGHTS
from bench.worker.formats._onnx_preparation import QUANTIZED_OPSET, is_large, prepared, quantizing, repaired
from bench.worker.recipes import Context, recipe
from bench.worker.refusal import Refusal

# Literals only, here and in the decorators: the orchestrator reads them without an import of this module.
MANIFEST = FormatManifest(base="fp32")

INTEGERS = {"int8": quantization.QuantType.QInt8, "uint8": quantization.QuantType.QUInt8}
HALF_SCALES_OPSET = 19
"""From this opset on, scales may be FP16."""


# --- recipes: (context, out, options) -> notes ------------------------------------------------------------------------


@recipe("fp32", number_format="fp32")
def fp32(context: Context, out: Path) -> tuple[Note, ...]:
    """The family's own export: `out/model.onnx` in FP32."""
    notes = context.exporting.export(context.source, out, context.opset)
    name = Path(context.source.path).name if context.source.kind == "onnx" else "the export"
    return (*notes, *files.accepted(out / MODEL, name))


@recipe("fp16", number_format="fp16")
def fp16(context: Context, out: Path, *, keep_fp32: str = "") -> tuple[Note, ...]:
    """Weights and arithmetic in FP16; inputs and outputs stay FP32, so that every precision takes the same feeds.

    `keep_fp32` lists op types that stay in FP32 too, separated by commas: `Softmax,LayerNormalization`.
    """
    parent, fp32_types = context.base, _split_names(keep_fp32)
    given = repaired(parent)
    own, ops = facts.number_format(given)
    # Blocks of integers stay beside arithmetic in FP16; other quantized operators take FP32 only.
    quantized = [op for op in ops if not op.startswith(tuple(facts.BLOCKWISE))]
    if own in ("fp16", "bf16") or quantized:
        message = f"nothing to convert: the file is {own.upper()} already"
        message += f" ({', '.join(quantized)})" if quantized else ""
        raise Refusal("unsupported", message, "the recipe fp32 measures it as it is", "nothing-to-convert")
    model = _in_half(given, fp32_types, infer_shapes=not is_large(parent))
    if not facts.holds_fp16(model):
        message = "nothing to convert: no weight and no operator of the model is a float that FP16 can take"
        raise Refusal("unsupported", message, "the recipe fp32 measures it as it is", "nothing-to-convert")
    onnx.save_model(model, out / MODEL, save_as_external_data=is_large(parent), location=WEIGHTS)
    return _finished(out, (note("fp32-op-types", op_types=fp32_types),) if fp32_types else ())


def _in_half(model: onnx.ModelProto, fp32_types: tuple[str, ...], *, infer_shapes: bool) -> onnx.ModelProto:
    options = {
        "keep_io_types": True,
        # The argument replaces the converter's default list, so that is repeated.
        "op_block_list": [*float16.DEFAULT_OP_BLOCK_LIST, *fp32_types],
    }
    # Shape inference in memory fails for a model that is larger than a single file can be.
    if not infer_shapes:
        return float16.convert_float_to_float16(model, disable_shape_infer=True, **options)
    try:
        return float16.convert_float_to_float16(model, **options)
    # ONNX Runtime runs models whose declared shapes contradict each other.
    except onnx.shape_inference.InferenceError:
        files.forget_shapes(model)
        return float16.convert_float_to_float16(model, disable_shape_infer=True, **options)


@recipe(
    "dynamic-int8",
    number_format="int8",
    tolerance={
        # Measured, lowest cosine / relative error: 0.986 / 0.15 with one scale a channel. One scale a tensor gives
        # 0.932 / 0.33: embeddings that rank differently, and so refused.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        # 0.996 / 0.03 (ViT) with one scale a channel, 0.971 / 0.17 (ResNet-50) with one a tensor. The limit is that of
        # static INT8, because a row must not pass because of its recipe.
        "image-classifier": Tolerance(min_cosine=0.96, max_relative_error=0.2),
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
    with prepared(parent) as ready:
        chosen = _split_names(operators) or (WEIGHTED if _is_convolutional(ready.model) else ("Gemm", "MatMul"))
        taken = _takes_something(ready.model, chosen, halves=False)
        with quantizing():
            quantization.quantize_dynamic(
                ready.path,
                out / MODEL,
                op_types_to_quantize=list(chosen),
                per_channel=per_channel,
                reduce_range=reduce_range,
                weight_type=integer,
                use_external_data_format=is_large(parent),
                extra_options={"EnableSubgraph": True} if any(holder.nested for holder in taken) else {},
            )
        share = _quantized_share(ready.model, out, "int8", chosen)
    slow = (note("slow-convolutions"),) if any(holder.node.op_type == "Conv" for holder in taken) else ()
    return _finished(out, (*ready.notes, share, *slow))


@recipe(
    "static-qdq-int8",
    number_format="int8",
    tolerance={
        # Measured, lowest cosine / relative error: 0.980 / 0.19.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        # 0.992 / 0.10 with one scale a channel; 0.971 / 0.14 with trained weights (EfficientNet-Lite0). Refused:
        # ViT-tiny with every operator quantized has 0.51 / 0.44.
        "image-classifier": Tolerance(min_cosine=0.96, max_relative_error=0.2),
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
    calibration = context.exporting.calibration(context.source, context.inputs, context.workloads)[: max(samples, 1)]
    with prepared(parent) as ready:
        # A tokenizer may make more than the model takes.
        taken = {value.name for value in ready.model.graph.input}
        calibration = [{name: array for name, array in feed.items() if name in taken} for feed in calibration]
        _takes_something(ready.model, WEIGHTED, halves=(files.opset(ready.model) or 0) >= HALF_SCALES_OPSET)
        # Below, a scale for each channel is not a part of the operators.
        coarse = per_channel and (files.opset(ready.model) or 0) < QUANTIZED_OPSET
        activations, integers = _integer(activation_type), _integer(weight_type)
        with quantizing():
            quantization.quantize_static(
                ready.path,
                out / MODEL,
                _Reader(calibration),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=None if coverage == "all" else [*WEIGHTED, *FOLDED],
                nodes_to_exclude=[] if coverage == "all" else _products_without_weights(ready.model),
                per_channel=per_channel and not coarse,
                reduce_range=reduce_range,
                activation_type=activations,
                weight_type=integers,
                use_external_data_format=is_large(parent),
                extra_options={} if coverage == "all" else {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
            )
        share = _quantized_share(ready.model, out, "int8", WEIGHTED)
    scale = (note("one-scale-a-tensor", opset=files.opset(ready.model)),) if coarse else ()
    return _finished(out, (*ready.notes, share, *scale, note("calibrated", inputs=len(calibration))))


@recipe(
    "weight-only-int8",
    number_format="int8",
    tolerance={
        # The limit of the other INT8 recipes; quantized weights without activations have smaller errors.
        "text-encoder": Tolerance(min_cosine=0.97, max_relative_error=0.25),
        "image-classifier": Tolerance(min_cosine=0.96, max_relative_error=0.2),
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
    with prepared(parent) as ready:
        _takes_something(ready.model, ("MatMul",))
        # A copy, because the quantizer changes the model in place.
        model = onnx.load(ready.path)
        # Accuracy level 4 lets kernels compute in INT8; the error on MiniLM is the same with and without.
        quantizer = blockwise.MatMulNBitsQuantizer(
            model, bits=bits, block_size=block, is_symmetric=symmetric, accuracy_level=4
        )
        with quantizing():
            quantizer.process()
        onnx.save_model(quantizer.model.model, out / MODEL, save_as_external_data=is_large(parent), location=WEIGHTS)
        share = _quantized_share(ready.model, out, f"int{bits}", ("MatMul",), block)
    return _finished(out, (*ready.notes, share))


# mypy does not read onnxruntime, so the base class is `Any`.
class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives the quantizer one batch at a time."""

    def __init__(self, batches: list[feeds.Feed]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> feeds.Feed | None:
        return next(self.batches, None)


# --- what recipes share -----------------------------------------------------------------------------------------------


def _finished(out: Path, notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Sort and name the nodes of what a recipe wrote, check it, and return the notes. Raises Refusal if it is wrong."""
    # Without the weights in other files, which stay as they are.
    model = onnx.load(out / MODEL, load_external_data=False)
    # The quantizers sort by the inputs of nodes, and do not see what the bodies of `If` and `Loop` read.
    moved, named = files.sort(model.graph), files.name_nodes(model)
    if moved or named:
        onnx.save_model(model, out / MODEL)
    # The checker alone does not look at the types of what an operator takes.
    files.open_on_cpu(out / MODEL, "what the recipe made")
    return (*notes, *files.accepted(out / MODEL, "what the recipe made"))


def _integer(name: str) -> Any:
    if name not in INTEGERS:
        raise ValueError(f"unknown integer type {name!r}; there are {' and '.join(INTEGERS)}")
    return INTEGERS[name]


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _products_without_weights(model: onnx.ModelProto) -> list[str]:
    """The names of products of two activations, as in attention, which stay FP32."""
    weighted = {holder.node.name for holder in facts.holders(model)}
    return [node.name for node in model.graph.node if node.op_type in WEIGHTED and node.name not in weighted]


def _is_convolutional(model: onnx.ModelProto) -> bool:
    total = dict.fromkeys(WEIGHTED, 0)
    for holder in facts.holders(model):
        total[holder.node.op_type] += math.prod(holder.weight.dims)
    return total["Conv"] > total["Gemm"] + total["MatMul"]


def _takes_something(model: onnx.ModelProto, op_types: tuple[str, ...], *, halves: bool = True) -> list[facts.Holder]:
    """The operators with weights that a quantizer of these types could take. Raises Refusal if there are none.

    `halves`: it takes weights in half precision too.
    """
    taken = facts.holders(model, op_types)
    if not taken or (not halves and facts.number_format(model)[0] in ("fp16", "bf16")):
        raise _nothing(model, op_types)
    return taken


def _quantized_share(
    before: onnx.ModelProto, out: Path, number_format: str, op_types: tuple[str, ...], block: int | None = None
) -> Note:
    """A note on how many operators the recipe changed. Raises Refusal if there are none."""
    counted = tuple(dict.fromkeys((*WEIGHTED, *op_types)))
    after = onnx.load(out / MODEL, load_external_data=False)
    total, remaining = len(facts.holders(before, counted)), len(facts.holders(after, counted))
    # Such an artifact would be the FP32 model under the name of another precision.
    if remaining >= total:
        raise _nothing(before, op_types)
    quantized = total - remaining
    return note("quantized-operators", operators=quantized, total=total, number_format=number_format, block=block)


def _nothing(model: onnx.ModelProto, op_types: tuple[str, ...]) -> Refusal:
    return Refusal("unsupported", *facts.why_nothing(model, op_types), "nothing-to-quantize")
