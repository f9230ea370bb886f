"""Reads the folder of a genai export: its graphs, the names of their tensors and the shape of its cache."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.worker.refusal import Refusal

NAME = "genai_config.json"


@dataclass(frozen=True)
class Export:
    """The contents of `genai_config.json`: the files of an export and their properties."""

    folder: Path
    kind: str
    """The architecture in genai's terms: `llama`, `whisper`."""
    decoder: Path
    encoder: Path | None
    layers: int
    heads: int
    """The number of key-value heads."""
    head_size: int
    context: int
    """The largest number of tokens of a sequence."""
    shares: bool
    """Whether past and present keys and values share one buffer."""
    ends: tuple[int, ...] = ()
    """The tokens at which genai ends a sequence."""
    names: dict[str, str] = field(default_factory=dict)
    """The names of the decoder's tensors by genai's names for them; cache tensors have `%d` for the layer."""
    encoded: dict[str, str] = field(default_factory=dict)
    """The names of the encoder's tensors, in the same form."""
    end: int | None = None
    """The token at which genai ends a sequence where `ends` is empty: its padding."""
    window: int = 0
    """The number of tokens that a sliding window holds."""
    windowed: frozenset[int] = frozenset()
    """The layers whose buffers hold a sliding window only."""

    @property
    def graphs(self) -> tuple[Path, ...]:
        """The files of all graphs, in the order in which they run."""
        return (self.encoder, self.decoder) if self.encoder else (self.decoder,)

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of the config that hold the session options of each graph."""
        return ("encoder", "decoder") if self.encoder else ("decoder",)

    def weight_bytes(self) -> int:
        """The bytes of the graphs and their weight files, without tokenizers."""
        # Weight files lie beside the graph, and their names begin with the graph's.
        return sum(file.stat().st_size for path in self.graphs for file in self.folder.glob(f"{path.name}*"))

    def cache(self, inputs: Container[str]) -> list[tuple[str, str, int]]:
        """The input, the output and the layer of every tensor of the cache that the decoder has.

        Layers differ where only some attend: others keep the state of a convolution or of a recurrence.
        """
        roles = [role.removeprefix("past_") for role in self.names if role.startswith("past_")]
        return [
            (self.names[f"past_{role}"] % layer, self.names[f"present_{role}"] % layer, layer)
            for role in roles
            for layer in range(self.layers)
            if self.names[f"past_{role}"] % layer in inputs
        ]


def endless(folder: Path, end: int = 0) -> None:
    """Remove the end-of-sequence tokens from the export, because timed texts have a fixed length.

    Without any, genai ends a sequence at the padding token, which it needs: that becomes `end`, a token that the model
    is not expected to write. The file is changed, because genai accepts an empty list only from the file and not as an
    overlay.
    """
    path = folder / NAME
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["eos_token_id"] = []
    config["model"]["pad_token_id"] = end
    path.write_text(json.dumps(config, indent=4), encoding="utf-8")


def read(folder: Path) -> Export:
    """Read the export in a folder; Refusal where its config cannot be read."""
    try:
        config = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return _export(folder, config["model"], config["search"])
    # Exports of other versions of genai may lack a key.
    except (OSError, ValueError, KeyError) as error:
        message = f"{NAME} of the export cannot be read: {type(error).__name__}: {error}"
        raise Refusal("unsupported", message, "export it with the project's own genai runtime") from error


def _export(folder: Path, model: dict[str, Any], search: dict[str, Any]) -> Export:
    decoder, encoder = model["decoder"], model.get("encoder")
    sliding = decoder.get("sliding_window") or {}
    return Export(
        folder=folder,
        kind=model["type"],
        decoder=folder / decoder["filename"],
        encoder=folder / encoder["filename"] if encoder else None,
        layers=decoder["num_hidden_layers"],
        heads=decoder["num_key_value_heads"],
        head_size=decoder["head_size"],
        context=model["context_length"],
        shares=bool(search.get("past_present_share_buffer", False)),
        ends=_numbers(model.get("eos_token_id")),
        end=model.get("pad_token_id"),
        names={**decoder["inputs"], **decoder["outputs"]},
        encoded={**encoder["inputs"], **encoder["outputs"]} if encoder else {},
        window=sliding.get("window_size") or 0,
        windowed=frozenset(sliding.get("layers") or ()),
    )


def _numbers(value: Any) -> tuple[int, ...]:
    """The numbers of a config entry, which may be a number, a list or null."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
