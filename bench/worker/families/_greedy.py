"""Greedy decoding of a reference, with the distance of each choice from the second best."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.worker.feeds import Feed

SCORED = 16
"""How many positions keep their logits: a vocabulary of 150 000 takes 0.6 MB at each."""


def decode(forward: Callable[[torch.Tensor], torch.Tensor], prompt: torch.Tensor, new: int) -> Feed:
    """Outputs of the greedy decoding of `new` tokens after `prompt` (batch, prompt); the end of sequence is no end.

    `forward` takes the tokens that follow those it had before, and gives the last one's logits (batch, vocabulary).
    """
    tokens: list[torch.Tensor] = []
    gaps: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    ids = prompt
    for _ in range(new):
        logits = forward(ids).float()
        best, second = logits.topk(2).values.unbind(-1)
        ids = logits.argmax(-1, keepdim=True)
        tokens.append(ids)
        gaps.append(best - second)
        scores += [logits] if len(scores) < SCORED else []
    return {
        "tokens": torch.cat(tokens, dim=1).cpu().numpy(),
        "gaps": torch.stack(gaps, dim=1).cpu().numpy(),
        "logits": torch.stack(scores, dim=1).cpu().numpy(),
    }
