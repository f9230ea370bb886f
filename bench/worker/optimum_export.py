"""Reads the folder of a decoder that optimum exported with past: its graph and the names of its tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import onnx_protobuf
from bench.worker.refusal import Refusal

MODEL, CONFIG = "model.onnx", "config.json"
PAST = re.compile(r"past_key_values\.(\d+)\.key")
NAMES = {
    "input_ids": "input_ids",
    "attention_mask": "attention_mask",
    "position_ids": "position_ids",
    "logits": "logits",
    "past_key_names": "past_key_values.%d.key",
    "past_value_names": "past_key_values.%d.value",
    "present_key_names": "present.%d.key",
    "present_value_names": "present.%d.value",
}
"""The names in optimum's graphs, by those of onnxruntime-genai."""
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""The names of the longest sequence in the configurations of transformers."""
ANY_LENGTH = 2**31 - 1
"""For models without positions, such as Bloom."""


def read(folder: Path) -> Export:
    """Read the export in a folder; Refusal where it is not one of a decoder with past."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8-sig"))
        graph = onnx_protobuf.read_graph(folder / MODEL)
    except (OSError, ValueError) as error:
        message = f"the export of optimum cannot be read: {type(error).__name__}: {error}"
        raise Refusal("unsupported", message, "export it with the project's own runtime optimum") from error
    layers = [int(match[1]) for value in graph.inputs if (match := PAST.fullmatch(value.name))]
    if not layers:
        message = f"{MODEL} has no input past_key_values.0.key, so it is no decoder with past"
        raise Refusal("unsupported", message, "use the engine genai, or torch", "architecture")
    return Export(
        folder=folder,
        kind=str(config.get("model_type", "")),
        decoder=folder / MODEL,
        encoder=None,
        layers=1 + max(layers),
        # All sizes of the cache are in the graph.
        heads=0,
        head_size=0,
        context=next((config[name] for name in LENGTHS if config.get(name)), ANY_LENGTH),
        shares=False,
        names=NAMES,
    )
