"""Makes a tokenizer for a model without one: bytes, frequent pairs, and a name for every other token id."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SENTENCES = Path(__file__).with_name("sentences.txt")
PAIRS = 64
"""The number of letter pairs that are tokens, so that text is merged as with a real tokenizer."""
SPEECH = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")
TIMESTAMPS = 1501
"""The number of tokens from `<|0.00|>` to `<|30.00|>`, which end the vocabulary of every Whisper."""


def text(config: Any) -> PreTrainedTokenizerFast:
    """A tokenizer for a language model; the tokens for begin and end of text have the ids that its config gives."""
    end_tokens = {"eos_token": _first(config.eos_token_id), "bos_token": config.bos_token_id}
    special = {token_id: f"<|{role[:3]}|>" for role, token_id in end_tokens.items() if token_id is not None}
    roles = {role: special[token_id] for role, token_id in end_tokens.items() if token_id is not None}
    return _tokenizer(config.vocab_size, special, roles)


def speech(config: Any) -> PreTrainedTokenizerFast:
    """A tokenizer for a Whisper; special tokens have the published order, from its start token on."""
    start, size = config.decoder_start_token_id, config.vocab_size
    languages = max(1, size - start - 1 - len(SPEECH) - TIMESTAMPS)
    names = ["<|startoftranscript|>", "<|en|>", *(f"<|language {index}|>" for index in range(1, languages)), *SPEECH]
    times = (f"<|{index * 0.02:.2f}|>" for index in range(TIMESTAMPS))
    special = {config.eos_token_id: "<|endoftext|>"}
    special |= dict(zip(range(start, size), itertools.chain(names, times), strict=False))
    return _tokenizer(size, special, dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"))


def _tokenizer(size: int, special: Mapping[int, str], roles: Mapping[str, str]) -> PreTrainedTokenizerFast:
    """Bytes first, then pairs, then names as `<|300|>`: no text is split into these, but every id can be decoded."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = _pairs()
    free = (number for number in range(size) if number not in special)
    vocabulary = dict(zip([*alphabet, *("".join(pair) for pair in pairs)], free, strict=False))
    vocabulary |= {f"<|{number}|>": number for number in free}
    vocabulary |= {name: number for number, name in special.items()}
    # A small vocabulary has no room for all pairs.
    merges = [pair for pair in pairs if "".join(pair) in vocabulary]
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(list(special.values()))
    return PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **roles)


def _pairs() -> list[tuple[str, str]]:
    """The most frequent pairs of bytes within words of the suite's own sentences, most frequent first."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [word for word, _ in split.pre_tokenize_str(SENTENCES.read_text(encoding="utf-8").replace("\n", " "))]
    counts = Counter(pair for word in words for pair in itertools.pairwise(word))
    # Ties are sorted by the pair, so that every machine makes the same tokenizer.
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:PAIRS]


def _first(number: int | list[int] | None) -> int | None:
    return number[0] if isinstance(number, list) else number
