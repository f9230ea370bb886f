"""The family of text encoders: they compute a vector for each token of a passage, for embeddings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, TaskOptions, Tolerance, note
from bench.worker.families import _input_files
from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    from bench.worker.labelled.sets import LabelledSet
    from bench.worker.pytorch.encoders import TextEncoder

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1, "sequence": 128},
    labels={"batch": "b", "sequence": "s"},
    rates={"sequences": ["batch"], "tokens": ["batch", "sequence"]},
    opset=18,
    labelled=("pairs", "rankings"),
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
OUTPUT, EMBEDDING = "last_hidden_state", "sentence_embedding"
COLUMNS = ("input_ids", "attention_mask", "token_type_ids")
CHECKED_SAMPLES = 8
CALIBRATION_SAMPLES = 32
CALIBRATION_SEQUENCE = 128
CHECKED_SEQUENCE = 150
"""The longest sequence of the check of an export: longer than the windows and blocks of small models."""
DEFAULT_VOCABULARY = 1000
"""For models that take characters and so declare no size."""
NO_LIMIT = 1 << 30


def load(source: Source) -> TextEncoder:
    """The encoder in FP32, without its pooler, and with the pooling that its folder declares."""
    from bench.worker.families import _text_towers

    return _text_towers.load(source)


def export(source: Source, out: Path, opset: int) -> tuple[Note, ...]:
    """Write `out/model.onnx`: from token ids (batch, sequence) to the outputs of `load`'s module."""
    from bench.worker import hugging_face
    from bench.worker.pytorch import onnx_export

    tokens = {0: "batch_size", 1: "sequence_length"}
    axes = dict.fromkeys((*COLUMNS, OUTPUT), tokens) | {EMBEDDING: {0: "batch_size"}}
    longest = _longest(source, hugging_face.tokenizer(source))[0]
    # The first is traced; the others have another batch and length, one of them long, with and without padding.
    shapes = [(2, min(16, longest)), (3, min(21, longest)), (1, min(CHECKED_SEQUENCE, longest))]
    feeds = [make_inputs(source, {"batch": batch, "sequence": length}, None) for batch, length in shapes]
    checked = [batches[index] for batches in feeds[1:] for index in (0, -1)]
    return onnx_export.export(load(source), axes, [feeds[0][-1], *checked], out, opset)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of passages. The first, which is timed, has full length; the others are padded."""
    batch, sequence = sizes["batch"], sizes["sequence"]
    others = max(batch, CHECKED_SAMPLES - batch)
    lengths = [sequence] * batch + [_ragged(index, sequence) for index in range(-(-others // batch) * batch)]
    feed = _encode(source, _passages(_sentences(inputs)[0], len(lengths), sequence), lengths, sequence)
    starts = range(0, len(lengths), batch)
    return [{name: array[start : start + batch] for name, array in feed.items()} for start in starts]


def calibration(source: Source, inputs: str | None, workloads: Sequence[dict[str, int]] = ()) -> list[Feed]:
    """Batches of one full passage, of sentences that `make_inputs` does not use, as long as the longest workload."""
    from bench.worker import hugging_face

    asked = max((sizes["sequence"] for sizes in workloads if "sequence" in sizes), default=CALIBRATION_SEQUENCE)
    sequence = min(asked, _longest(source, hugging_face.tokenizer(source))[0])
    passages = _passages(_sentences(inputs)[1], CALIBRATION_SAMPLES, sequence)
    feed = _encode(source, passages, [sequence] * len(passages), sequence)
    return [{name: array[index : index + 1] for name, array in feed.items()} for index in range(len(passages))]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """Notes if the inputs are not text, and on what of the checkpoint is not run."""
    from bench.worker import hugging_face
    from bench.worker.families import _text_towers

    random = () if hugging_face.tokenizer(source) else (note("random-tokens"),)
    return (*random, *_text_towers.describe(source))


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The outputs that PyTorch computes, and a description of how."""
    from bench.worker import hugging_face

    return hugging_face.reference(load(source), feeds)


def comparable(outputs: Feed, feed: Feed) -> Feed:
    """One row for each passage: the vectors of its tokens, and their mean with the weight of all of them.

    The mean is what most users take as the sentence's embedding. It alone would hide errors at single tokens, since
    independent errors shrink with the root of their number; the tokens alone would hide a small shift that they share.
    Padding is set to zero: no user reads what a model computes there. An embedding that the model itself gives has a
    row of its own.
    """
    rows = {OUTPUT: _token_rows(outputs[OUTPUT], feed["attention_mask"])} if OUTPUT in outputs else {}
    # Each is judged by itself, so the scale of one never hides the other.
    return rows | ({EMBEDDING: np.asarray(outputs[EMBEDDING], np.float64)} if EMBEDDING in outputs else {})


def _token_rows(hidden: Array, attention_mask: Array) -> Array:
    tokens = np.asarray(hidden, np.float64)
    mask = np.asarray(attention_mask, np.float64)[..., None]
    count = mask.sum(axis=1).clip(1)
    tokens = np.where(mask > 0, tokens, 0.0)
    mean = tokens.sum(axis=1) / count
    rows: Array = np.concatenate([(mean * np.sqrt(count))[:, None], tokens], axis=1).reshape(len(tokens), -1)
    return rows


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
    """The columns that the model takes: passages cut to `lengths`, special tokens included, padded to `sequence`.

    The model decides which columns there are, and not its tokenizer: token types are zeros where only the model has
    them, and left out where only the tokenizer has them.
    """
    from bench.worker import hugging_face
    from bench.worker.families import _text_towers

    tokenizer, config = hugging_face.tokenizer(source), hugging_face.config(source)
    longest, whose = _longest(source, tokenizer)
    if sequence > longest:
        message = f"a sequence of {sequence} tokens is longer than the {longest} tokens {whose}"
        raise Refusal("unsupported", message, f"give its workloads sequence = {longest} or less", "too-long")
    if tokenizer is None:
        feed = _random_ids(config, lengths, sequence)
    else:
        texts = [passage.lower() for passage in passages] if _text_towers.lowers_case(source) else passages
        pairs = zip(texts, lengths, strict=True)
        rows = [dict(tokenizer(text, truncation=True, max_length=length)) for text, length in pairs]
        feed = _padded(rows, tokenizer, config, sequence)
    if _text_towers.takes_token_types(source, given="token_type_ids" in feed):
        feed.setdefault("token_type_ids", np.zeros_like(feed["input_ids"]))
    else:
        feed.pop("token_type_ids", None)
    rows_of_table = getattr(_text_towers.text_config(config), "vocab_size", None)
    if rows_of_table and (largest := int(feed["input_ids"].max())) >= rows_of_table:
        message = f"the tokenizer gives the token {largest}, and the model's table has {rows_of_table} rows"
        raise Refusal("unsupported", message, "put the tokenizer of this model into its folder", "other-tokenizer")
    return feed


def _padded(rows: Sequence[dict[str, Any]], tokenizer: Any, config: Any, sequence: int) -> Feed:
    """The rows as columns of one length; those of a tokenizer without a mask are attended to as a whole."""
    from bench.worker.families import _text_towers

    ids, left = [list(row["input_ids"]) for row in rows], tokenizer.padding_side == "left"
    # GPT-2 and others have no token for padding; what stands there is masked.
    padding = next(
        (each for each in (tokenizer.pad_token_id, _text_towers.text_config(config).pad_token_id) if each), 0
    )
    columns = {
        "input_ids": (ids, padding),
        "attention_mask": ([row.get("attention_mask", [1] * len(row["input_ids"])) for row in rows], 0),
    }
    # Some models have another form of token types than one number a token, and make their own zeros.
    if all(np.ndim(row.get("token_type_ids", 0)) == 1 for row in rows):
        columns["token_type_ids"] = ([row["token_type_ids"] for row in rows], tokenizer.pad_token_type_id)
    feed: Feed = {}
    for name, (values, filler) in columns.items():
        feed[name] = np.full((len(rows), sequence), filler, np.int64)
        for row, value in zip(feed[name], values, strict=True):
            row[slice(sequence - len(value), None) if left else slice(len(value))] = value
    return feed


def _random_ids(config: Any, lengths: Sequence[int], sequence: int) -> Feed:
    """Seeded ids of ordinary tokens; special and unused ones are usually at the start of a vocabulary."""
    from bench.worker.families import _text_towers

    generator = np.random.Generator(np.random.PCG64(sequence))
    text = _text_towers.text_config(config)
    size = getattr(text, "vocab_size", DEFAULT_VOCABULARY)
    ids = generator.integers(min(1000, size // 2), size, (len(lengths), sequence))
    mask = (np.arange(sequence) < np.asarray(lengths)[:, None]).astype(np.int64)
    return {"input_ids": np.where(mask > 0, ids, text.pad_token_id or 0), "attention_mask": mask}


def _longest(source: Source, tokenizer: Any) -> tuple[int, str]:
    """The largest number of tokens, and a phrase that says whose limit it is."""
    from bench.worker.families import _text_towers

    limits = {"this model takes": _text_towers.positions(source)}
    if tokenizer is not None:
        limits["its tokenizer keeps of a text"] = tokenizer.model_max_length
    # XLNet says -1, and others nothing, where there is no limit.
    known = [(limit, whose) for whose, limit in limits.items() if limit and limit > 0]
    return min(known, default=(NO_LIMIT, ""))


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Every text of pairs or of rankings, cut or padded to the workload's sequence. Raises Refusal for other data."""
    from bench.worker import hugging_face
    from bench.worker.labelled import embeddings, sets

    if hugging_face.tokenizer(source) is None:
        message = "the model has no tokenizer, so labelled texts cannot be given to it"
        raise Refusal("unsupported", message, "put tokenizer.json into its folder", "tokenizer")
    texts, labels = embeddings.read(_input_files.read(Path(task.inputs)), task)
    feed = _encode(source, texts, [sizes["sequence"]] * len(texts), sizes["sequence"])
    return sets.LabelledSet(sets.batched(feed, sizes["batch"]), len(texts), labels)
