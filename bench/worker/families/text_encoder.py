"""The family of text encoders: they compute a vector for each token of a passage, for embeddings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, Tolerance, note
from bench.worker.families import _input_files
from bench.worker.feeds import Array, Feed

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    import torch

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1, "sequence": 128},
    labels={"batch": "b", "sequence": "s"},
    rates={"sequences": ["batch"], "tokens": ["batch", "sequence"]},
    opset=18,
    # Measured on the real MiniLM, 16 passages at ONNX Runtime's CPU provider and PyTorch (lowest cosine / relative
    # error).
    tolerances={
        # 1.000000 / 9e-7. Arithmetic in TF32, FP16 or BF16 has 7e-4, 1e-3 or 1e-2, and is not FP32.
        "fp32": Tolerance(min_cosine=0.99999, max_relative_error=1e-4),
        # 0.999999 / 1.5e-3 with casts around FP32. Kernels that accumulate in FP16 have 0.99993 / 1.0e-2 (WebGPU, QNN),
        # and are FP16 too. BF16 instead has 0.99992 / 1.2e-2: only the probe can distinguish it, and flags it.
        "fp16": Tolerance(min_cosine=0.9998, max_relative_error=0.02),
        # 0.99992 / 1.2e-2.
        "bf16": Tolerance(min_cosine=0.999, max_relative_error=0.04),
    },
)

SENTENCES = Path(__file__).with_name("sentences.txt")
OUTPUT = "last_hidden_state"
CHECKED_SAMPLES = 8
CALIBRATION_SAMPLES = 32
CALIBRATION_SEQUENCE = 128


def load(source: Source) -> torch.nn.Module:
    """The encoder in FP32, without its pooler."""
    from transformers import AutoModel

    from bench.worker import hugging_face

    return hugging_face.load(source, AutoModel)


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx`: from token ids (batch, sequence) to last_hidden_state (batch, sequence, hidden)."""
    from bench.worker import hugging_face

    return hugging_face.export(load(source), "feature-extraction", out, opset)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of passages. The first, which is timed, has full length; the others are padded."""
    batch, sequence = sizes["batch"], sizes["sequence"]
    others = max(batch, CHECKED_SAMPLES - batch)
    lengths = [sequence] * batch + [_ragged(index, sequence) for index in range(-(-others // batch) * batch)]
    feed = _encode(source, _passages(_sentences(inputs)[0], len(lengths), sequence), lengths, sequence)
    starts = range(0, len(lengths), batch)
    return [{name: array[start : start + batch] for name, array in feed.items()} for start in starts]


def calibration(source: Source, inputs: str | None) -> list[Feed]:
    """Batches of one full passage, of sentences that `make_inputs` does not use."""
    sequence = min(CALIBRATION_SEQUENCE, _longest(source))
    passages = _passages(_sentences(inputs)[1], CALIBRATION_SAMPLES, sequence)
    feed = _encode(source, passages, [sequence] * len(passages), sequence)
    return [{name: array[index : index + 1] for name, array in feed.items()} for index in range(len(passages))]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """A note if the inputs are not text."""
    from bench.worker import hugging_face

    return () if hugging_face.tokenizer(source) else (note("random-tokens"),)


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The last hidden states that PyTorch computes, and a description of how."""
    from bench.worker import hugging_face

    return hugging_face.reference(load(source), feeds, [OUTPUT])


def comparable(outputs: Feed, feed: Feed) -> Array:
    """One row for each passage: the vectors of its tokens, and their mean with the weight of all of them.

    The mean is the sentence's embedding. It alone would hide errors at single tokens, since independent errors shrink
    with the root of their number; the tokens alone would hide a small shift that they share. Padding is set to zero:
    no user reads what a model computes there.
    """
    tokens = np.asarray(outputs[OUTPUT], np.float64)
    mask = np.asarray(feed["attention_mask"], np.float64)[..., None]
    count = mask.sum(axis=1).clip(1)
    tokens = np.where(mask > 0, tokens, 0.0)
    mean = tokens.sum(axis=1) / count
    return np.concatenate([(mean * np.sqrt(count))[:, None], tokens], axis=1).reshape(len(tokens), -1)


def _sentences(inputs: str | None) -> tuple[list[str], list[str]]:
    """The lines of a text file, in order: two thirds to check outputs with, the last third to calibrate with."""
    path = Path(inputs) if inputs else SENTENCES
    lines = _input_files.texts(path)
    if len(lines) < 3:
        raise _input_files.refused(f"{path.name} holds {len(lines)} texts", "give at least 3: one sentence each")
    cut = 2 * len(lines) // 3
    return lines[:cut], lines[cut:]


def _passages(sentences: Sequence[str], count: int, words: int) -> list[str]:
    """`count` different passages of at least `words` words, and so of as many tokens; sentences repeat as needed."""
    total = len(sentences)
    # Neighbouring passages share few sentences, and a step without a common divisor reaches every sentence.
    stride = next(step for step in (7, 5, 3, 2, 1) if math.gcd(step, total) == 1)
    passages = []
    for index in range(count):
        # When every sentence has been the first once, the next passages take every second sentence, then every third.
        positions = itertools.count(index * stride, 1 + index // total)
        passage: list[str] = []
        while sum(len(sentence.split()) for sentence in passage) < words:
            passage.append(sentences[next(positions) % total])
        passages.append(" ".join(passage))
    return passages


def _ragged(index: int, sequence: int) -> int:
    """A length from an eighth of `sequence` to all of it; eight passages in a row have different ones."""
    return max(min(3, sequence), sequence * (1 + 3 * index % 8) // 8)


def _encode(source: Source, passages: Sequence[str], lengths: Sequence[int], sequence: int) -> Feed:
    """Token ids of the passages, cut to `lengths` with the special tokens, and padded to `sequence`; int64."""
    from bench.worker import hugging_face

    if sequence > (longest := _longest(source)):
        raise ValueError(f"a sequence of {sequence} tokens is longer than the {longest} that the model takes")
    tokenizer = hugging_face.tokenizer(source)
    if tokenizer is None:
        return _random_ids(hugging_face.config(source), lengths, sequence)
    texts = zip(passages, lengths, strict=True)
    rows = [tokenizer(passage, truncation=True, max_length=length) for passage, length in texts]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    padded = tokenizer.pad(columns, padding="max_length", max_length=sequence, return_tensors="np")
    return {name: np.asarray(array, np.int64) for name, array in padded.items()}


def _random_ids(config: Any, lengths: Sequence[int], sequence: int) -> Feed:
    """Seeded ids of ordinary tokens; special and unused ones are usually at the start of a vocabulary."""
    generator = np.random.Generator(np.random.PCG64(sequence))
    first = min(1000, config.vocab_size // 2)
    ids = generator.integers(first, config.vocab_size, (len(lengths), sequence))
    mask = (np.arange(sequence) < np.asarray(lengths)[:, None]).astype(np.int64)
    feed = {"input_ids": np.where(mask > 0, ids, config.pad_token_id or 0), "attention_mask": mask}
    if getattr(config, "type_vocab_size", 0) > 1:
        feed["token_type_ids"] = np.zeros_like(mask)
    return feed


def _longest(source: Source) -> int:
    """The largest number of tokens that the model takes."""
    from bench.worker import hugging_face

    config, tokenizer = hugging_face.config(source), hugging_face.tokenizer(source)
    limits = [getattr(config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    return min(limit for limit in (*limits, 1 << 30) if limit)
