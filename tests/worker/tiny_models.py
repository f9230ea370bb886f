"""Tiny models with seeded weights as folders like those of the hub: config, safetensors and a tokenizer of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors

from bench.records import Source
from bench.worker.families import text_encoder

VOCABULARY = 500
BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 130,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
"""The sizes of models that name them as BERT does."""


def lively(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights with which attention is not uniform, and no bias or norm is constant."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * (1.0 if "embed" in name.lower() else parameter[0].numel() ** -0.5))
            else:
                parameter.add_(0.05 * noise)
    return model.eval()


def add_tokenizer(folder: Path, columns: tuple[str, ...] = ("input_ids", "attention_mask"), **options: Any) -> None:
    """A fast tokenizer over the words of the built-in sentences, which gives the named columns."""
    words = pre_tokenizers.Whitespace()
    text = text_encoder.SENTENCES.read_text(encoding="utf-8").replace("\n", " ")
    distinct = dict.fromkeys(word for word, _ in words.pre_tokenize_str(text))
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {word: index for index, word in enumerate(list(distinct)[: VOCABULARY - 4], start=4)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = words
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        model_input_names=list(columns),
        **options,
    ).save_pretrained(folder)


def saved(folder: Path, model: torch.nn.Module, **tokenizer: Any) -> Source:
    """The model, with lively weights, and its tokenizer in a folder."""
    lively(model).save_pretrained(folder)
    add_tokenizer(folder, **tokenizer)
    return Source(kind="folder", path=str(folder), weights="pretrained", digest="")
