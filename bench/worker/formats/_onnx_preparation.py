"""Prepares ONNX models for quantizers: repaired, at an opset that they know, with shapes and folded constants."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.quantization.shape_inference import quant_pre_process

from bench.records import Note, note
from bench.shared.native_errors import brief
from bench.worker.formats import _onnx_facts as facts
from bench.worker.formats import _onnx_files as files
from bench.worker.formats import _onnx_weights as weights
from bench.worker.formats._onnx_files import MODEL, WEIGHTS
from bench.worker.refusal import Refusal

PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""A larger model cannot be a single file: its weights are in a second one."""
QUANTIZED_OPSET = 13
"""From this opset on, a quantized weight can have a scale for each channel."""
SMALLEST_QUANTIZED_OPSET = 11
"""The quantizers declare an older model as this opset, without changing its operators."""


@dataclass(frozen=True)
class Ready:
    """A model that quantizers take, in a temporary folder."""

    path: Path
    model: onnx.ModelProto
    """The same model, with its weights."""
    notes: tuple[Note, ...]


@contextmanager
def prepared(parent: Path) -> Iterator[Ready]:
    """The parent's model, repaired, with inferred shapes and folded constants, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        given, path = Path(folder) / "given" / MODEL, Path(folder) / MODEL
        given.parent.mkdir()
        model, notes = raised(repaired(parent))
        # On the CPU ONNX Runtime puts casts between the weights of a file in half precision and their operators.
        halved = facts.number_format(model)[0] in ("fp16", "bf16")
        # Weights in one place: what ONNX Runtime optimizes still names the files of the weights, in another folder.
        onnx.save_model(model, given, save_as_external_data=is_large(parent), location=WEIGHTS)
        try:
            # Symbolic shape inference fails for BERT ("Incomplete symbolic shape inference"), and no recipe needs it.
            quant_pre_process(
                given,
                path,
                skip_optimization=halved,
                skip_symbolic_shape=True,
                save_as_external_data=is_large(parent),
                all_tensors_to_one_file=True,
            )
            model = onnx.load(path)
        # Folded constants and shapes help a quantizer, but it can do without.
        except Exception:  # noqa: BLE001 - onnx and onnxruntime raise many classes
            model = onnx.load(given)
            files.forget_shapes(model)
            # Else a quantizer infers the shapes again, and fails.
            add_pre_process_metadata(model)
        # Recipes exclude nodes by name.
        files.name_nodes(model)
        files.flatten_biases(model)
        weights.forget_shapes(model)
        weights.sink(model)
        onnx.save_model(model, path, save_as_external_data=is_large(parent), location=WEIGHTS)
        # The weights are in other files by now, also those that the model in memory names.
        yield Ready(path, onnx.load(path), notes)


@contextmanager
def quantizing() -> Iterator[None]:
    """Turns an exception of ONNX Runtime's quantizers into a Refusal: their messages do not say what failed."""
    try:
        yield
    except Exception as error:
        message = f"ONNX Runtime's quantizer fails on this model: {brief(f'{type(error).__name__}: {error}')}"
        raise Refusal("unsupported", message, "try another recipe, or other options of it", "quantizer") from error


def repaired(parent: Path) -> onnx.ModelProto:
    """The model of an artifact with its weights, as tools expect it; its answers are the same."""
    model = onnx.load(parent / MODEL)
    files.repair(model)
    files.forget_contradictions(model)
    return model


def raised(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Note, ...]]:
    """The model at an opset that quantizers know, with a note where that is another. Raises Refusal below theirs."""
    before = files.opset(model)
    if before is None or before >= QUANTIZED_OPSET:
        return model, ()
    try:
        converted = onnx.version_converter.convert_version(model, QUANTIZED_OPSET)
    except Exception as error:
        if before >= SMALLEST_QUANTIZED_OPSET:
            return model, ()
        message = (
            f"quantized operators need opset {SMALLEST_QUANTIZED_OPSET}; the file has opset {before}, and ONNX's "
            f"converter cannot raise it: {brief(str(error))}"
        )
        remedy = f"export it again with opset {QUANTIZED_OPSET} or later"
        raise Refusal("unsupported", message, remedy, "old-opset") from error
    files.repair(converted)
    return converted, (note("opset-raised", before=before, after=QUANTIZED_OPSET),)


def is_large(folder: Path) -> bool:
    """Whether an artifact is too large for a single file."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) > PROTOBUF_LIMIT_BYTES
