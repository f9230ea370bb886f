"""Writes the tokenizer of a GGUF file as tokenizer.json, with text split as llama.cpp splits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers.integrations.gguf import gguf_tokenizer_mapping as transformers_reader

from bench.records import Note, note

LISTS = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.scores")
ENDS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
"""Where a GGUF file has the ids that config.json names."""
DIGITS = ("smollm", "refact", "starcoder", "command-r", "codeshell")
"""Names of splits that take each digit alone, and then split as GPT-2 does."""
GPT2 = ("gpt-2", "default", "mpt", "olmo", "jais", "phi-2")
"""Names of splits that are GPT-2's."""


def save(file: Path, metadata: Mapping[str, Any], out: Path) -> tuple[Note, ...]:
    """Write tokenizer.json and tokenizer_config.json into `out`; nothing for a file without a tokenizer.

    A note names a way of splitting text that is not known here; GPT-2's is taken in its place.
    """
    kind = metadata.get("tokenizer.ggml.model", "none")
    if kind not in transformers_reader.GGUF_TOKENIZER_TYPES:
        return () if kind in ("none", "no_vocab") else (note("no-tokenizer-read", tokenizer=str(kind)),)
    architecture, content, settings = transformers_reader.get_gguf_tokenizer(str(file))
    backend, _ = transformers_reader.convert_gguf_tokenizer(architecture, content)
    split = metadata.get("tokenizer.ggml.pre", "default")
    notes: tuple[Note, ...] = ()
    if kind == "gpt2" and split in DIGITS:
        # transformers does not know these, and would split as GPT-2 does.
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif kind == "gpt2" and split not in (*GPT2, *transformers_reader.GGUF_PRE_TOKENIZER_SPLITS):
        notes = (note("split-unknown", split=str(split)),)
    backend.save(str(out / "tokenizer.json"))
    # Under the name that every version of transformers knows.
    settings = {key: value for key, value in settings.items() if value is not None}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return notes
