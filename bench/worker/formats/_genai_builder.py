"""The model builder of onnxruntime-genai, with corrections for configurations that it reads wrong and for wrong graphs.

Nothing of its code is copied or changed on the disk: classes are derived from its own and used in their stead.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import onnxruntime_genai

MODELS = Path(onnxruntime_genai.__file__).parent / "models"
"""The folder of the builder's scripts, which are not a package."""
LOCAL, GLOBAL = "sliding_attention", "full_attention"
"""The names of transformers for layers that attend to a window, and for the others."""


@contextmanager
def builder() -> Iterator[Any]:
    """The builder's module with the corrections; its folder is on the path while it is used."""
    sys.path.insert(0, str(MODELS))
    try:
        module = import_module("builder")
        with ExitStack() as stack:
            for holder, name, corrected in _corrections(module):
                stack.enter_context(mock.patch.object(holder, name, corrected))
            yield module
    finally:
        sys.path.remove(str(MODELS))


def _corrections(module: Any) -> list[tuple[Any, str, type]]:
    """The module that names a class, the name, and the class to use."""
    whisper = import_module("builders.whisper")
    return [
        (whisper, "WhisperEncoder", _whisper_encoder(whisper.WhisperEncoder)),
        (module, "SmolLM3Model", _smollm3(module.SmolLM3Model)),
        *((module, name, _gemma(getattr(module, name))) for name in ("GemmaModel", "Gemma2Model", "Gemma3Model")),
        (module, "OLMoModel", _olmo(module.OLMoModel)),
    ]


def _whisper_encoder(base: Any) -> type:
    """Give the encoder an output for each layer of the decoder: distilled models have fewer of those."""

    class WhisperEncoder(base):  # type: ignore[misc]
        def __init__(self, config: Any, *arguments: Any) -> None:
            self.decoder_layers = config.decoder_layers
            super().__init__(config, *arguments)

        def make_inputs_and_outputs(self) -> None:
            with mock.patch.object(self, "num_layers", self.decoder_layers):
                super().make_inputs_and_outputs()

        def make_postprocessing_nodes(self) -> None:
            with mock.patch.object(self, "num_layers", self.decoder_layers):
                super().make_postprocessing_nodes()

    return WhisperEncoder


def _smollm3(base: Any) -> type:
    """Leave rotary embeddings out of the layers that have none; the builder asks for positions that it has deleted."""

    class SmolLM3Model(base):  # type: ignore[misc]
        def make_attention(self, layer_id: int, *arguments: Any, **options: Any) -> None:
            rotated = self.attention_attrs["rope"] and bool(self.no_rope_layers[layer_id])
            with mock.patch.dict(self.attention_attrs, {"rope": rotated}):
                super().make_attention(layer_id, *arguments, **options)

    return SmolLM3Model


def _gemma(base: Any) -> type:
    """Multiply the embedding by the root of its width; the builder rounds the factor to two digits."""

    class GemmaModel(base):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.embed_attrs["scale"] = math.sqrt(self.hidden_size)

        def make_rotary_embedding_caches_from_scratch(self) -> Any:
            # Gemma 3 scales the positions of its layers with global attention only.
            if self.rope_attrs["theta"] == getattr(self, "rope_local_theta", None):
                self.rope_attrs["rescale_factors"] = 1
            return super().make_rotary_embedding_caches_from_scratch()

    return GemmaModel


def _olmo(base: Any) -> type:
    """Subtract the mean in OLMo's norms; the builder writes the norms of Llama."""

    class OLMoModel(base):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.layernorm_attrs |= {"simple": False, "epsilon": 1e-5}

    return OLMoModel


def adapt(config: Any) -> None:
    """Change a configuration of transformers, in place, to what the builder understands."""
    _flatten_rope(config)
    _name_windows(config)
    _name_epsilon(config)


def _flatten_rope(config: Any) -> None:
    """Write the rotary parameters as one table, where transformers 5 has one for each kind of layers."""
    rope = getattr(config, "rope_parameters", None)
    if not isinstance(rope, dict):
        return
    kinds = {kind: table for kind, table in rope.items() if isinstance(table, dict)}
    if kinds and config.model_type == "gemma3_text":
        config.rope_local_base_freq = kinds[LOCAL]["rope_theta"]
        rope = config.rope_parameters = dict(kinds[GLOBAL])
        config.rope_theta = rope["rope_theta"]
    # The older name, which the builder reads for Phi-3.
    if "rope_type" in rope:
        rope.setdefault("type", rope["rope_type"])


def _name_windows(config: Any) -> None:
    """Say of each layer that it attends to a window, where the configuration means all of them.

    The builder would write full attention for layers that nothing is said of.
    """
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "layer_types", None):
        return
    if window >= config.max_position_embeddings:
        config.sliding_window = None
    else:
        config.layer_types = [LOCAL] * config.num_hidden_layers


def _name_epsilon(config: Any) -> None:
    """Give the epsilon of the norms the name that the builder reads; without it, it takes another one."""
    names = ("layer_norm_eps", "norm_eps", "layer_norm_epsilon")
    epsilon = next((getattr(config, name) for name in names if hasattr(config, name)), None)
    if epsilon is not None and not hasattr(config, "rms_norm_eps"):
        config.rms_norm_eps = epsilon
