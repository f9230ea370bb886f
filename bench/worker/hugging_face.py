"""Loads Hugging Face sources as PyTorch modules, exports them to FP32 ONNX, and computes reference outputs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoTokenizer

from bench.records import Note, Source
from bench.worker.families._random_weights import randomise
from bench.worker.feeds import Feed
from bench.worker.refusal import Refusal

Fill = Callable[[torch.nn.Module, int], torch.nn.Module]
"""`(model, seed)`: completes the random weights of a freshly initialised model, and returns the model."""
LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Sources are resolved before a worker gets them, and code of a model repository is never run."""


def config(source: Source) -> Any:
    """The architecture from `config.json` of the folder, or from the config file itself.

    ValueError where the file has no `model_type`, Refusal where this transformers does not know it.
    """
    path = Path(source.path)
    if source.kind == "folder":
        path = path / "config.json"
    if source.kind == "onnx":
        raise ValueError(f"{path.name} is an ONNX file; its family is onnx-file")
    fields = json.loads(path.read_text(encoding="utf-8"))
    if "model_type" not in fields:
        raise ValueError(f"{path.name} has no 'model_type', so its architecture is not known")
    if fields["model_type"] not in CONFIG_MAPPING:
        message = f"transformers {transformers.__version__} knows no model of the type {fields['model_type']!r}"
        raise Refusal("unsupported", message, "it may be newer than this transformers, or misspelt", "architecture")
    return AutoConfig.for_model(**fields)


def load(source: Source, auto: Any, fill: Fill = randomise) -> torch.nn.Module:
    """The model in FP32 and in evaluation mode: pretrained weights, or seeded random ones of the same architecture.

    `auto` is the AutoModel class of the family's task; `fill` completes random weights in place. ValueError where the
    folder's weights lack a tensor: transformers would initialise it at random and only warn.
    """
    if source.weights == "random":
        # Measured: one seed gives the same bytes under transformers 4.57 and 5.23, so all runtimes get the same model.
        torch.manual_seed(source.seed)
        model = auto.from_config(config(source), trust_remote_code=False)
        return fill(without_pooler(model.float().eval()), source.seed)
    # Only safetensors: pickled weights can run code.
    model, loading_info = auto.from_pretrained(source.path, use_safetensors=True, output_loading_info=True, **LOCAL)
    # The pooler is removed below, so its weights may be missing.
    missing = sorted(key for key in loading_info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"the weights lack {len(missing)} tensors of {type(model).__name__}, e.g. {missing[0]}")
    # FP32, also for a folder in half precision: the reference and all recipes start from it. Without `eval` the
    # reference would have dropout.
    return without_pooler(model.float().eval())


def without_pooler(model: torch.nn.Module) -> torch.nn.Module:
    """Remove the pooler: the ONNX export has none, so PyTorch must not spend time on it."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def tokenizer(source: Source) -> Any | None:
    """The model's own tokenizer, or None where its folder has none."""
    folder = Path(source.path)
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
    if not any((folder / name).is_file() for name in names):
        return None
    return AutoTokenizer.from_pretrained(folder, **LOCAL)


def export(model: torch.nn.Module, task: str, out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx` with symbolic dimensions; weights over 2 GB go to files beside it."""
    # Imported late: a runtime of the PyTorch baseline loads models without optimum.
    from optimum.exporters.onnx import onnx_export_from_model

    # In a temporary folder, because optimum also writes configs and tokenizers that do not belong to the artifact.
    with tempfile.TemporaryDirectory(dir=out) as folder:
        # No validation by optimum: outputs of every session are compared with PyTorch before they are timed.
        onnx_export_from_model(
            model, folder, task=task, opset=opset, do_validation=False, library_name="transformers", device="cpu"
        )
        for file in sorted(Path(folder).glob("*.onnx*")):
            shutil.move(file, out / file.name)
    return ()


def reference(model: torch.nn.Module, feeds: Sequence[Feed], names: Sequence[str]) -> tuple[list[Feed], str]:
    """The named outputs of every batch, and what computed them."""
    batches = []
    with torch.inference_mode():
        for feed in feeds:
            outputs = model(**{name: torch.from_numpy(array) for name, array in feed.items()})
            batches.append({name: outputs[name].numpy() for name in names})
    return batches, computed_by()


def computed_by() -> str:
    """What computes the references, such as `PyTorch 2.13.0, FP32`."""
    return f"PyTorch {torch.__version__.partition('+')[0]}, FP32"


def save(model: torch.nn.Module, tokenizer: Any, out: Path) -> None:
    """Write a folder in the layout of the Hugging Face Hub: config.json, safetensors and the tokenizer's files."""
    model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def parameters(model: torch.nn.Module) -> int:
    """The number of weights; a table that is shared by the embedding and the head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
