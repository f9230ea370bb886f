"""Writes a model's tokenizer.json as GGUF metadata, if llama.cpp supports its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.records import Note, note

ORDINARY, CONTROL, DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens: the numbers of `gguf.TokenType`."""
UNREACHABLE_MERGE = "Ā Ā"
"""A merge of two zero bytes, which no text contains: llama.cpp loads no tokenizer without merges."""
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {f"{_WORDS}\\p{{N}}{{1,3}}{_REST}": "llama-bpe", f"{_WORDS}\\p{{N}}{_REST}": "qwen2"}
"""llama.cpp's name for each pattern that splits text before bytes are merged."""


def write(writer: Any, folder: Path, size: int) -> tuple[Note, ...]:
    """Add the tokenizer for a vocabulary of `size` to the writer. Returns a note if llama.cpp does not support it."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    split = split_name(tokenizer)
    if split is None:
        writer.add_tokenizer_model("none")
        return (note("no-gguf-tokenizer"),)
    names, kinds = tokens(tokenizer, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    _write_special(writer, folder, size, has_merges=bool(tokenizer["model"].get("merges")))
    return ()


def split_name(tokenizer: dict[str, Any]) -> str | None:
    """llama.cpp's name for how a byte-level BPE tokenizer splits text; None for any other tokenizer.

    All steps are compared: a wrong name would give other tokens without an error.
    """
    before = tokenizer.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    if (tokenizer.get("model") or {}).get("type") != "BPE" or kinds[-1:] != ["ByteLevel"]:
        return None
    if kinds == ["ByteLevel"]:
        return "gpt-2" if steps[0].get("use_regex", True) else None
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        return SPLITS.get(str((steps[0].get("pattern") or {}).get("Regex")))
    return None


def tokens(tokenizer: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """The name and kind of every id below `size`; a model's matrices may have more rows than its tokenizer has ids."""
    names = [f"[PAD{number}]" for number in range(size)]
    kinds = [UNUSED] * size
    for name, number in tokenizer["model"]["vocab"].items():
        if number < size:
            names[number], kinds[number] = name, ORDINARY
    for token in tokenizer.get("added_tokens", []):
        if token["id"] < size:
            # Added tokens may also be in the vocabulary; their kind here is the right one.
            names[token["id"]] = token["content"]
            kinds[token["id"]] = CONTROL if token.get("special") else DEFINED
    return names, kinds


def _write_special(writer: Any, folder: Path, size: int, *, has_merges: bool) -> None:
    """Add the merges, and the tokens for begin and end of text, as gguf's own reader finds them in the folder."""
    # Imported here because the format's recipes run in two runtimes, and only this one has the package.
    import gguf

    if not has_merges:
        writer.add_token_merges([UNREACHABLE_MERGE])
    special = gguf.SpecialVocab(folder, load_merges=has_merges, n_vocab=size)
    # By default llama.cpp adds the begin-of-text token, and most byte-level tokenizers do not.
    for end in ("bos", "eos"):
        special.add_special_token.setdefault(end, False)
    special.add_to_gguf(writer, quiet=True)
