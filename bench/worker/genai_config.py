"""Reads the folder of a genai export: its graphs, the names of their tensors and the shape of its cache."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.worker.refusal import Refusal

NAME = "genai_config.json"


@dataclass(frozen=True)
class Export:
    """What `genai_config.json` says of the files beside it."""

    folder: Path
    kind: str
    """The architecture, as genai names it: `llama`, `whisper`."""
    decoder: Path
    encoder: Path | None
    layers: int
    heads: int
    """Heads of keys and values."""
    head_size: int
    context: int
    """The most tokens that a sequence may have."""
    shares: bool
    """Whether past and present are one buffer."""
    ends: tuple[int, ...] = ()
    """The tokens at which genai ends a sequence."""
    names: dict[str, str] = field(default_factory=dict)
    """The tensors of the decoder by genai's own words; those of the cache with `%d` for the layer."""
    encoded: dict[str, str] = field(default_factory=dict)
    """The tensors of the encoder, likewise."""

    @property
    def graphs(self) -> tuple[Path, ...]:
        """Every graph of the export, in the order they run."""
        return (self.encoder, self.decoder) if self.encoder else (self.decoder,)

    @property
    def sections(self) -> tuple[str, ...]:
        """Where the config keeps the session options of each graph."""
        return ("encoder", "decoder") if self.encoder else ("decoder",)

    def weight_bytes(self) -> int:
        """What the graphs and the files of their weights take; tokenizers are no weights."""
        return sum(file.stat().st_size for path in self.graphs for file in self.folder.glob(f"{path.name}*"))

    def cache_names(self, past: str, present: str) -> list[tuple[str, str]]:
        """The names of every layer's keys or values, as they go in and as they come out."""
        return [(self.names[past] % layer, self.names[present] % layer) for layer in range(self.layers)]


def endless(folder: Path) -> None:
    """Let no token end a sequence of the export: texts that are timed have a fixed length.

    A config cannot be told so later: genai takes an empty list from the file only.
    """
    path = folder / NAME
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["eos_token_id"] = []
    path.write_text(json.dumps(config, indent=4), encoding="utf-8")


def read(folder: Path) -> Export:
    """The export in a folder; Refusal where its config is not of a kind that is known here."""
    try:
        config = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return _export(folder, config["model"], config["search"])
    except (OSError, ValueError, KeyError) as error:
        message = f"{NAME} of the export cannot be read: {type(error).__name__}: {error}"
        raise Refusal("unsupported", message, "export it with the project's own genai runtime") from error


def _export(folder: Path, model: dict[str, Any], search: dict[str, Any]) -> Export:
    decoder, encoder = model["decoder"], model.get("encoder")
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
        names={**decoder["inputs"], **decoder["outputs"]},
        encoded={**encoder["inputs"], **encoder["outputs"]} if encoder else {},
    )


def _numbers(value: Any) -> tuple[int, ...]:
    """A number, several or none as the config writes them."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
