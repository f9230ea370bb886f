"""Encoders and classifiers as modules with named inputs and outputs, the same for reference, export and timing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HIDDEN, EMBEDDING, LOGITS = "last_hidden_state", "sentence_embedding", "logits"


class TextEncoder(nn.Module):  # type: ignore[misc]
    """A text model with what turns its hidden states into an embedding, where it has that."""

    def __init__(
        self, model: nn.Module, inputs: tuple[str, ...], embedding: nn.Module | None = None, *, pooled: bool = False
    ) -> None:
        """`inputs` are the names of what the model takes. With `pooled` its own pooled output is the embedding."""
        super().__init__()
        self.model, self.embedding = model, embedding
        self.model_inputs, self.pooled = inputs, pooled

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that the outputs depend on."""
        pools_by_mask = self.embedding is not None and "attention_mask" not in self.model_inputs
        return (*self.model_inputs, *(("attention_mask",) if pools_by_mask else ()))

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Hidden states (batch, sequence, hidden), and the embeddings (batch, width) where the model has them."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        outputs = self.model(**{name: given[name] for name in self.model_inputs})
        hidden = getattr(outputs, "last_hidden_state", None)
        named = {} if hidden is None else {HIDDEN: hidden}
        if self.embedding is not None:
            named[EMBEDDING] = self.embedding(hidden, attention_mask)
        elif self.pooled:
            named[EMBEDDING] = _own_embedding(outputs)
        return named


def _own_embedding(outputs: Any) -> torch.Tensor:
    """The embedding among a model's outputs, which may be the only one."""
    if isinstance(outputs, torch.Tensor):
        return outputs
    projected: torch.Tensor | None = getattr(outputs, "text_embeds", None)
    pooled: torch.Tensor = outputs.pooler_output if projected is None else projected
    return pooled


class ImageClassifier(nn.Module):  # type: ignore[misc]
    """An image model with its logits as the only output."""

    inputs = ("pixel_values",)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (batch, classes) of pictures (batch, channels, height, width)."""
        outputs = self.model(pixel_values=pixel_values)
        logits = getattr(outputs, "logits", None)
        # PP-LCNet gives its class scores under the name of hidden states.
        return {LOGITS: outputs.last_hidden_state if logits is None else logits}


Encoding = TextEncoder | ImageClassifier
