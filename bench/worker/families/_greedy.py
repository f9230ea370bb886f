"""Decodes a reference greedily, with the gap between the logits of the best and the second best token."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.worker.feeds import Feed

SCORED = 16
"""The number of positions whose logits are stored: each takes 0.6 MB for a vocabulary of 150 000."""


def decode(forward: Callable[[torch.Tensor], torch.Tensor], prompt: torch.Tensor, new: int) -> Feed:
    """Decode `new` tokens after `prompt` (batch, prompt); the end-of-sequence token does not stop it.

    `forward` takes the tokens after those of its earlier calls, and returns the last one's logits (batch, vocabulary).
    Returns `tokens` and `gaps` (batch, new) and `logits` (batch, at most `SCORED`, vocabulary).
    """
    tokens: list[torch.Tensor] = []
    gaps: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    ids = prompt
    for _ in range(new):
        logits = forward(ids).float()
        best, second = logits.topk(2).values.unbind(-1)
        # `argmax` gives the first of equal logits, as in the engines; `topk` promises no order.
        ids = logits.argmax(-1, keepdim=True)
        tokens.append(ids)
        gaps.append(best - second)
        # Only the first ones are stored, to limit the size of the reference.
        scores += [logits] if len(scores) < SCORED else []
    return {
        "tokens": torch.cat(tokens, dim=1).cpu().numpy(),
        "gaps": torch.stack(gaps, dim=1).cpu().numpy(),
        "logits": torch.stack(scores, dim=1).cpu().numpy(),
    }
