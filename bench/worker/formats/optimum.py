"""The format `optimum`: exports ONNX files with past and configs as a folder for optimum's ORTModel classes."""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime import quantization
from optimum.exporters.onnx import onnx_export_from_model

from bench.records import FormatManifest, Note, Tolerance, note
from bench.worker import optimum_export
from bench.worker.engines import optimum as engine
from bench.worker.failures import reason_of
from bench.worker.formats import _decoder_trial
from bench.worker.recipes import Context, recipe
from bench.worker.refusal import Refusal

MANIFEST = FormatManifest(base="fp32", build_runtime="optimum", convert_runtime="optimum")

UNKNOWN = re.compile("custom or unsupported architecture")
REMEDY = "torch runs it, and genai the architectures that its builder knows: docs/architectures.md lists them"
PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""A larger model cannot be a single file: its weights are in a second one."""


@recipe("fp32", number_format="fp32")
def fp32(context: Context, out: Path) -> tuple[Note, ...]:
    """As `from_pretrained(export=True)` exports; a speech model gets an encoder, and decoders without and with past."""
    model = context.family.load(context.source)
    task = "automatic-speech-recognition" if model.config.is_encoder_decoder else "text-generation"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        _export(model, folder, f"{task}-with-past")
        for file in sorted(Path(folder).iterdir()):
            shutil.move(file, out / file.name)
    _try_model(out)
    return ()


def _export(model: Any, folder: str, task: str) -> None:
    """Export a model. Raises Refusal if optimum does not know its architecture, or fails."""
    try:
        # No post-processing: it would add a merged decoder, which from_pretrained(export=True) does not make.
        onnx_export_from_model(
            model,
            folder,
            task=task,
            do_validation=False,
            no_post_process=True,
            library_name="transformers",
            device="cpu",
        )
    except MemoryError:
        raise
    except Exception as error:
        name, version = type(model).__name__, metadata.version("optimum-onnx")
        # optimum reports an unknown architecture as a plain ValueError.
        known = not (isinstance(error, ValueError) and UNKNOWN.search(str(error)))
        message = f"optimum-onnx {version} {'cannot export' if known else 'does not know'} {name}"
        detail = f": {reason_of(error)}" if known else ""
        raise Refusal("unsupported", message + detail, REMEDY, "architecture") from error


@recipe(
    "dynamic-int8",
    number_format="int8",
    tolerance={
        # Measured at 32 positions of two texts or clips with random weights, mean KL divergence / top-1 agreement:
        # 7.9e-3 / 0.84 with one scale a tensor. Trained weights: as of `genai-dynamic-int8`, whose quantization it is.
        "text-generator": Tolerance(max_kl=0.45, max_kl_random=4e-2, min_top1=0.6),
        # Measured as above: 9.0e-3 / 0.81.
        "speech-recognizer": Tolerance(max_kl=5e-2, min_top1=0.6),
    },
)
def dynamic_int8(context: Context, out: Path) -> tuple[Note, ...]:
    """INT8 weights of matrix products, one scale a channel; activations get their scale at run time."""
    parent = context.base
    for file in sorted(parent.iterdir()):
        if ".onnx" not in file.name:
            shutil.copy2(file, out / file.name)
    counted = [_quantize(file, out / file.name) for file in sorted(parent.glob("*.onnx"))]
    quantized, total = (sum(column) for column in zip(*counted, strict=True))
    # Such an artifact would be the FP32 model under the name of another precision.
    if not quantized:
        raise ValueError(f"nothing to quantize: none of the model's {total} matrix products with weights was taken")
    _try_model(out)
    return (note("quantized-products", products=quantized, total=total, number_format="int8"),)


def _quantize(file: Path, out: Path) -> tuple[int, int]:
    """Quantize a file; the number of its matrix products with weights that were quantized, and of all of them."""
    total = _count_weighted(file)
    large = sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")) > PROTOBUF_LIMIT_BYTES
    quantization.quantize_dynamic(
        file,
        out,
        op_types_to_quantize=["Gemm", "MatMul"],
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
        use_external_data_format=large,
        extra_options={"MatMulConstBOnly": True},
    )
    return total - _count_weighted(out), total


def _count_weighted(file: Path) -> int:
    """The number of products in a file whose second input is an FP32 constant."""
    graph = onnx.load(file, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return sum(node.op_type in ("Gemm", "MatMul") and node.input[1] in weights for node in graph.node)


def _try_model(folder: Path) -> None:
    """Run the export for some tokens. Raises Refusal if that fails: an export without an error may still not run."""
    try:
        logits = _logits(folder)
    # A refusal of a part has its own reason and remedy.
    except Refusal:
        raise
    except Exception as error:
        message = f"optimum's export cannot run: {reason_of(error)}"
        raise Refusal("unsupported", message, "use genai, which exports this model in another way") from error
    # A wrong export may run and give NaN.
    if not np.isfinite(logits).all():
        raise Refusal("unsupported", "optimum's export gives numbers that are not finite", "use genai")


def _logits(folder: Path) -> np.ndarray:
    """Some logits of the export: of plain ONNX Runtime for text, whatever runs it later; of optimum for speech."""
    if (folder / optimum_export.MODEL).is_file():
        return _decoder_trial.run(optimum_export.read(folder))
    model = engine.open_model(folder, threads=1)
    encoded = _encoded_silence(model)
    start = model.generation_config.decoder_start_token_id or 0
    first = engine.step(model, torch.full((1, 4), start), None, encoded)
    logits: np.ndarray = engine.step(model, torch.full((1, 1), start), first.past_key_values, encoded).logits.numpy()
    return logits


def _encoded_silence(model: Any) -> Any:
    """The encoder's output for silence."""
    # The encoder halves the frames by the stride of a convolution.
    silence = torch.zeros((1, model.config.num_mel_bins, 2 * model.config.max_source_positions))
    return model.encoder(silence, attention_mask=None)
