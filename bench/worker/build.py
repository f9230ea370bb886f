"""An order to export, convert or refer in; `model.onnx` proven by the checker, or inputs with reference outputs, out."""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import float16
from onnxruntime.transformers.onnx_model import OnnxModel

from bench.records import Built, Convert, Export, Refer, Source
from bench.worker import feeds

MODEL = "model.onnx"
PROTOBUF_LIMIT_BYTES = 2**31 - 1
CONVERTED = "model.onnx.data"


@dataclass(frozen=True)
class Context:
    """What a recipe may ask of the model it converts."""

    family: Any
    source: Source
    inputs: str | None


def export(order: Export) -> Built:
    """Write the FP32 `out/model.onnx`."""
    out = Path(order.out)
    notes = family(order.family).export(order.source, out, order.opset)
    onnx.checker.check_model(out / MODEL)
    return Built(notes)


def convert(order: Convert) -> Built:
    """Write `out/model.onnx` by the recipe of the order; ValueError says which option cannot be taken."""
    name, options = order.recipe.name, order.recipe.options
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; known are {', '.join(sorted(RECIPES))}")
    recipe = RECIPES[name]
    unknown = sorted(set(options) - set(recipe.__kwdefaults__))
    if unknown:
        raise ValueError(f"recipe {name!r} has no option {unknown[0]!r}; it has {', '.join(recipe.__kwdefaults__)}")
    context = Context(family(order.family), order.source, order.inputs)
    out = Path(order.out)
    notes = recipe(Path(order.parent), out, context, **options)
    onnx.checker.check_model(out / MODEL)
    return Built(notes)
