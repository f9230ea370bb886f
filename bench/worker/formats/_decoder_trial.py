"""Runs an exported decoder, and the encoder of a speech model, for some tokens on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.worker.feeds import Array
from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import generating, onnx_protobuf, sessions
from bench.worker.onnx_runtime.devices import CPU


def run(export: Export) -> Array:
    """The logits after a prompt of two tokens and after two single ones, float32 (3, vocabulary), on the CPU."""
    opened = {path: _session(path) for path in export.graphs}
    decoder = generating.Decoder(opened[export.decoder], export, generating.Memory())
    state = generating.State(decoder, 1, 4)
    if export.encoder:
        encoder = generating.Encoder(opened[export.encoder], export, generating.Memory())
        binding, crossed = encoder.prepare(1)
        sizes = onnx_protobuf.input_dimensions(export.encoder)[encoder.features][1:]
        encoder.run(binding, np.zeros((1, *map(int, sizes)), np.float32))
        state.give(crossed)
    # Two single tokens: the second one also reads a cache that a single-token step wrote.
    steps = ([[1, 2]], [[3]], [[4]])
    # `astype` copies: the next step overwrites the array.
    return np.concatenate([state.run(np.array(tokens)).astype(np.float32) for tokens in steps])


def _session(path: Path) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = sessions.ERRORS_ONLY
    return ort.InferenceSession(path, settings, providers=[CPU])
