"""The format `genai`: exports models with onnxruntime-genai's model builder, and runs each export once."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxruntime_genai
from onnxruntime import quantization

from bench.records import FormatManifest, Note, Tolerance
from bench.worker import genai_config
from bench.worker.failures import reason_of
from bench.worker.formats import _genai_builder, _genai_trial
from bench.worker.recipes import Context, recipe
from bench.worker.refusal import Refusal

MANIFEST = FormatManifest(build_runtime="build")

EPS = ("cpu", "cuda", "dml", "webgpu", "NvTensorRtRtx")
BLOCKS = (16, 32, 64, 128, 256)
OUTPUT_TAIL_CHARACTERS = 4000
"""The number of characters of the builder's output that are reported if it fails."""
# How transformers and the builder report an unknown architecture; they raise plain errors for that.
UNRECOGNIZED = re.compile(
    r"does not recognize this architecture|[Uu]nrecognized (?:model|configuration)|model is not currently supported"
)
REMEDY = "torch runs it, and ort-optimum what optimum exports: docs/architectures.md lists the architectures"


# --- recipes: (context, out, options) -> notes ------------------------------------------------------------------------


@recipe("genai-fp32", number_format="fp32")
def fp32(context: Context, out: Path, *, ep: str = "cpu", prune_lm_head: bool = True) -> tuple[Note, ...]:
    """The export in FP32; `prune_lm_head` computes logits for the last token of a prompt only, as llama.cpp does."""
    return _build_and_try(context, out, "fp32", ep, {"prune_lm_head": prune_lm_head})


@recipe("genai-fp16", number_format="fp16")
def fp16(context: Context, out: Path, *, ep: str = "cuda", prune_lm_head: bool = True) -> tuple[Note, ...]:
    """Weights, arithmetic and cache in FP16. The export for CUDA runs on the CPU too, that for the CPU does not run."""
    return _build_and_try(context, out, "fp16", ep, {"prune_lm_head": prune_lm_head})


@recipe(
    "genai-int8",
    number_format="int8",
    tolerance={
        # Measured at 32 positions, mean KL divergence / top-1 agreement: 6.6e-4 / 1.00 in blocks of 32. With trained
        # weights (SmolLM2, 4,088 tokens): 4.6e-3 / 0.96, in blocks of 128 1.3e-2 / 0.93.
        "text-generator": Tolerance(max_kl=4e-2, min_top1=0.6),
        # Measured as above: 1.2e-3 / 0.94.
        "speech-recognizer": Tolerance(max_kl=5e-2, min_top1=0.6),
    },
)
def int8(
    context: Context,
    out: Path,
    *,
    ep: str = "cpu",
    prune_lm_head: bool = True,
    block_size: int = 32,
    accuracy_level: int | None = None,
    algo_config: str = "default",
    symmetric: bool = True,
    exclude: str = "",
) -> tuple[Note, ...]:
    """Weights of matrix products as blocks of INT8 (MatMulNBits), except the nodes in `exclude`, separated by commas.

    `accuracy_level` 4 lets kernels compute in INT8 and is the builder's default for the CPU; 1 is FP32.
    """
    options = _blockwise(prune_lm_head, block_size, accuracy_level, algo_config, symmetric, exclude)
    return _build_and_try(context, out, "int8", ep, options)


@recipe(
    "genai-int4",
    number_format="int4",
    tolerance={
        # Measured at 32 positions with random weights, mean KL divergence / top-1 agreement: 7.9e-2 / 0.69 in blocks of
        # 32. With trained weights (SmolLM2, 4,088 tokens): 0.18 / 0.76 by k-quant mixed, where perplexity is 12 %
        # higher; 0.38 / 0.62 in blocks of 32 (32 %), 0.52 / 0.54 in blocks of 64 (46 %), 0.69 / 0.49 in blocks of 128
        # (72 %). Beyond 0.45 a perplexity is higher by about half, which nobody would take for the same model.
        "text-generator": Tolerance(max_kl=0.45, max_kl_random=0.3, min_top1=0.3),
        # Measured as above: 0.161 / 0.72.
        "speech-recognizer": Tolerance(max_kl=0.4, min_top1=0.3),
    },
)
def int4(
    context: Context,
    out: Path,
    *,
    ep: str = "cpu",
    prune_lm_head: bool = True,
    block_size: int = 32,
    accuracy_level: int | None = None,
    algo_config: str = "default",
    symmetric: bool = True,
    exclude: str = "",
    mixed: str = "",
) -> tuple[Note, ...]:
    """Weights of matrix products as blocks of INT4 (MatMulNBits); `mixed` selects some that are INT8.

    `algo_config`: default, rtn, k_quant, k_quant_mixed, k_quant_last … `mixed`: `last_matmul:int8,mixed_layers:int8`.
    """
    options = _blockwise(prune_lm_head, block_size, accuracy_level, algo_config, symmetric, exclude)
    return _build_and_try(context, out, "int4", ep, options | ({"matmul_mixed_precision": mixed} if mixed else {}))


@recipe(
    "genai-dynamic-int8",
    number_format="int8",
    tolerance={
        # Measured at 32 positions with random weights, mean KL divergence / top-1 agreement: 7.9e-3 / 0.84 with one
        # scale a tensor. With trained weights (SmolLM2), whose activations have outliers: 0.16 / 0.88 token by token,
        # 0.48 / 0.59 where 512 tokens of a prompt share a scale. The limit is INT4's: perplexity counts, not the bits.
        "text-generator": Tolerance(max_kl=0.45, max_kl_random=4e-2, min_top1=0.6),
        # Measured as above: 9.0e-3 / 0.81.
        "speech-recognizer": Tolerance(max_kl=5e-2, min_top1=0.6),
    },
)
def dynamic_int8(
    context: Context, out: Path, *, prune_lm_head: bool = True, per_channel: bool = True, exclude: str = ""
) -> tuple[Note, ...]:
    """The FP32 export with INT8 weights; the scale of each activation is computed at run time."""
    # Inside `out`, because files are renamed from it, which works within one file system only.
    with tempfile.TemporaryDirectory(dir=out) as folder:
        base = Path(folder)
        _build(context, base, "fp32", "cpu", {"prune_lm_head": prune_lm_head})
        export = genai_config.read(base)
        for graph in export.graphs:
            _quantize(graph, out / graph.name, per_channel, exclude)
        # Configs and tokenizer stay as they are; the FP32 graphs and their weights are deleted with the folder.
        moved = {file.name for graph in export.graphs for file in base.glob(f"{graph.name}*")}
        for file in base.iterdir():
            if file.name not in moved:
                file.rename(out / file.name)
    return _genai_trial.try_export(out, "genai-dynamic-int8", "cpu")


def _blockwise(
    prune_lm_head: bool, block_size: int, level: int | None, algorithm: str, symmetric: bool, exclude: str
) -> dict[str, Any]:
    """The builder's options for blockwise weights; if one is not given, the builder chooses by the provider."""
    options = {
        "prune_lm_head": prune_lm_head,
        "block_size": block_size,
        "algo_config": algorithm,
        "is_symmetric": symmetric,
        "accuracy_level": level,
        "nodes_to_exclude": exclude or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _quantize(graph: Path, out: Path, per_channel: bool, exclude: str) -> None:
    """Quantize the products with weights only: products of two activations would lose precision without any gain."""
    large = sum(file.stat().st_size for file in graph.parent.glob(f"{graph.name}*")) > onnx.checker.MAXIMUM_PROTOBUF
    with _captured_output():
        quantization.quantize_dynamic(
            graph,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=per_channel,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[name.strip() for name in exclude.split(",") if name.strip()],
            use_external_data_format=large,
            extra_options={"MatMulConstBOnly": True},
        )


# --- the builder ------------------------------------------------------------------------------------------------------


def _build_and_try(context: Context, out: Path, precision: str, ep: str, options: dict[str, Any]) -> tuple[Note, ...]:
    _build(context, out, precision, ep, options)
    return _genai_trial.try_export(out, f"genai-{precision}", ep)


def _build(context: Context, out: Path, precision: str, ep: str, options: dict[str, Any]) -> None:
    """Write the export into `out`. Raises Refusal if the builder does not support the model or an option."""
    _refuse_options(ep, options.get("block_size"))
    with tempfile.TemporaryDirectory() as scratch, _genai_builder.builder() as builder, _captured_output():
        folder = Path(scratch)
        source = str(context.generating.folder(context.source, folder / "source"))
        # For security: no code of the source's folder is run, and no Hugging Face token is sent.
        extra_options = [
            f"{name}={value}" for name, value in {**options, "hf_token": False, "hf_remote": False}.items()
        ]
        arguments = ("", source, str(out), precision, ep, str(folder / "cache"))
        try:
            keywords = builder.parse_extra_options(*arguments, extra_options)
            _genai_builder.adapt(keywords["hf_details"]["hf_config"])
            builder.create_model(*arguments, **keywords)
        except MemoryError:
            raise
        except Exception as error:
            raise _refusal(Path(source), precision, error) from error
    # Otherwise generations would stop at the end-of-sequence token and have different lengths.
    genai_config.endless(out)


def _refusal(source: Path, precision: str, error: Exception) -> Refusal:
    """The refusal of a model that the builder or its transformers does not know, or that the builder fails on."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8-sig"))
    name = (config.get("architectures") or [config.get("model_type", "")])[0]
    tool = f"the model builder of onnxruntime-genai {onnxruntime_genai.__version__}"
    if UNRECOGNIZED.search(str(error)):
        return Refusal("unsupported", f"{tool} does not know {name!r}", REMEDY, "architecture")
    # The folder is a temporary one.
    reason = reason_of(error).replace(str(source), "the model's folder")
    return Refusal("unsupported", f"{tool} cannot export {name!r} in {precision}: {reason}", REMEDY, "export")


def _refuse_options(ep: str, block_size: int | None) -> None:
    """Refuse invalid options early: the builder fails late, with messages that do not help."""
    if ep not in EPS:
        raise Refusal("unsupported", f"the builder has no target {ep!r}", f"ep is one of {', '.join(EPS)}", "option")
    if block_size not in (None, *BLOCKS):
        message = f"there are no blocks of {block_size} weights"
        raise Refusal("unsupported", message, f"block_size is one of {', '.join(map(str, BLOCKS))}", "option")


@contextmanager
def _captured_output() -> Iterator[None]:
    """Hide hundreds of lines of progress; the end of the output is written to stderr if an exception is raised."""
    output = io.StringIO()
    logging.disable(logging.WARNING)
    try:
        # The lines would hide an error: of a worker's log the report shows only the end.
        with redirect_stdout(output), redirect_stderr(output):
            yield
    except BaseException:
        sys.stderr.write(output.getvalue()[-OUTPUT_TAIL_CHARACTERS:])
        raise
    finally:
        logging.disable(logging.NOTSET)
