"""The family of language models that continue text; decoding is greedy and ignores the end-of-sequence token."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, TaskOptions, Tolerance, note
from bench.worker.families import _input_files
from bench.worker.feeds import Array, Feed
from bench.worker.marked_files import readable
from bench.worker.refusal import Refusal

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    import torch

    from bench.worker.labelled.sets import LabelledSet

MANIFEST = FamilyManifest(
    task="text-generation",
    format="genai",
    engines=("genai", "ort-generate", "ort-optimum"),
    build_runtime="build",
    sizes={"batch": 1, "prompt": 128, "new": 64, "context": 0},
    optional=("context",),
    labels={"batch": "b", "prompt": "p", "new": "n", "context": "d"},
    rates={"tokens": ["batch", "new"]},
    labelled=("text", "answers"),
    files=(".gguf",),
    # Measured with random weights (llama-tiny, llama-88m) at 32 positions of two texts: mean KL divergence / top-1
    # agreement. The smallest errors of faults: 0.42 / 0.66 with a prompt shifted by one token, 0.70 / 0.47 without
    # rotary embedding, 5.6 / 0 with other weights.
    tolerances={
        # 3e-12 / 1.00 in genai. Weights rounded to FP16 have 9e-7, arithmetic in FP16 has 2e-5, in BF16 3e-4: none of
        # them is FP32.
        "fp32": Tolerance(max_kl=1e-7, min_top1=0.95, same_tokens=True),
        # 2.1e-5 / 1.00. Kernels that accumulate in FP16 have errors ten times as large in other families, and are FP16
        # too. BF16 instead passes: only the probe can distinguish it, and flags it.
        "fp16": Tolerance(max_kl=1e-3, min_top1=0.85),
        # 6.3e-4 / 0.97.
        "bf16": Tolerance(max_kl=1e-2, min_top1=0.75),
    },
)

SENTENCES = Path(__file__).with_name("sentences.txt")
CHECKED_PROMPTS = 2
PREFIXES = 16
PREFIX_TOKENS = 128
"""The number of tokens at the start of the text that prefixes are taken from."""


def load(source: Source) -> torch.nn.Module:
    """The causal language model in FP32; random weights are made so that its outputs can be checked."""
    from transformers import AutoModelForCausalLM

    from bench.worker import hugging_face
    from bench.worker.families import _random_weights

    _config(source)
    model = hugging_face.load(source, AutoModelForCausalLM, _random_weights.fill_language_model)
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        message = f"{type(model).__name__} keeps no cache of keys and values, and this family decodes with one"
        raise Refusal("unsupported", message, "no engine here runs it: give a model with attention", "no-cache")
    return model


def save(source: Source, out: Path) -> None:
    """Write a Hugging Face folder: config, safetensors in FP32, and the tokenizer."""
    from bench.worker import hugging_face

    hugging_face.save(load(source), _tokenizer(source), out)


def unpack(source: Source, out: Path) -> tuple[Note, ...]:
    """Write the folder of a GGUF file: its weights in FP32, and its tokenizer."""
    from bench.worker import gguf_folder

    return gguf_folder.convert(Path(source.path), out)


def folder(source: Source, scratch: Path) -> Path:
    """The source's own folder if it is complete; else one that is written to `scratch`."""
    from bench.worker import hugging_face

    _config(source)
    complete = source.kind == "folder" and source.weights == "pretrained" and hugging_face.tokenizer(source)
    if complete:
        return readable(source.path)
    save(source, scratch)
    return scratch


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of different texts, at least two in all, cut to the given numbers of context and prompt tokens."""
    batch, prompt, context = sizes["batch"], sizes["prompt"], sizes.get("context", 0)
    _refuse_longer(_config(source), context + prompt + sizes["new"])
    rows = -(-CHECKED_PROMPTS // batch) * batch
    ids = _token_ids(source, _texts(_sentences(inputs), rows, context + prompt), context + prompt)
    batches = [ids[start : start + batch] for start in range(0, rows, batch)]
    contexts = [{"context_ids": rows[:, :context]} if context else {} for rows in batches]
    return [
        {"input_ids": rows[:, context:], **context_feed} for rows, context_feed in zip(batches, contexts, strict=True)
    ]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """A note if the model has no tokenizer of its own."""
    from bench.worker import hugging_face

    return () if hugging_face.tokenizer(source) else (note("byte-tokens"),)


def reference(source: Source, feeds: list[Feed], new: int) -> tuple[list[Feed], str]:
    """PyTorch's outputs in FP32, as `_greedy.decode` returns them, and a description of how they are computed."""
    import torch

    from bench.worker import hugging_face
    from bench.worker.families import _greedy

    model = load(source)
    with torch.inference_mode():
        outputs = [_greedy.decode(_Forward(model), torch.from_numpy(_context_and_prompt(feed)), new) for feed in feeds]
    return outputs, hugging_face.computed_by()


class _Forward:
    """Forward passes of the model; each continues after the tokens of earlier ones."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.past: Any = None
        # One position: logits of a whole prompt over a large vocabulary would take much memory.
        known = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.last_only = {"logits_to_keep": 1} if known else {}

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        outputs = self.model(input_ids=ids, past_key_values=self.past, use_cache=True, **self.last_only)
        self.past = outputs.past_key_values
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits


def facts(source: Source, feeds: list[Feed], outputs: list[Feed]) -> dict[str, Any]:
    """The number of parameters, and for engines that take text the prompts and some next tokens as text."""
    from bench.worker import hugging_face

    model, tokenizer = load(source), _tokenizer(source)
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in _context_and_prompt(feeds[0]).tolist()]
    prefixes = _prefixes(model, tokenizer, _context_and_prompt(feeds[0])[0])
    return {"parameters": hugging_face.parameters(model), "prompts": texts, "prefixes": prefixes}


def _prefixes(model: torch.nn.Module, tokenizer: Any, ids: Array) -> list[dict[str, str]]:
    """Prefixes of the text, evenly spread, each with its most likely next token as text."""
    import torch

    ids = ids[:PREFIX_TOKENS]
    with torch.inference_mode():
        best = model(input_ids=torch.from_numpy(ids[None])).logits[0].argmax(-1).tolist()
    prefixes = []
    for end in range(min(8, len(ids)), len(ids) + 1):
        prefix = tokenizer.decode(ids[:end].tolist(), skip_special_tokens=True)
        # A token may be a part of a character, which decodes to U+FFFD.
        following = tokenizer.decode([best[end - 1]]).replace("\ufffd", "")
        # A server takes and returns text: it must give the same tokens again, and the next token must be visible.
        readable = following.strip() and following.isprintable() and best[end - 1] not in tokenizer.all_special_ids
        if readable and tokenizer(prefix)["input_ids"] == ids[:end].tolist():
            prefixes.append({"prefix": prefix, "next": following})
    return prefixes[:: max(1, len(prefixes) // PREFIXES)][:PREFIXES]


def _config(source: Source) -> Any:
    """The model's config. Raises Refusal if it is not a causal language model."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    from bench.worker import hugging_face

    config = hugging_face.config(source)
    kind = type(config)
    # Encoders are in both of transformers' tables, but are not trained as causal models.
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING or kind in MODEL_FOR_MASKED_LM_MAPPING:
        message = f"a model of the type {config.model_type!r} does not generate text"
        raise Refusal(
            "unsupported", message, "give a causal language model, such as Llama, Qwen or Phi", "no-generator"
        )
    return config


def _refuse_longer(config: Any, length: int) -> None:
    """Refuse sequences that are longer than the model's context."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit and length > limit:
        message = f"context, prompt and new tokens are {length}, the model's context is {limit}"
        raise Refusal("unsupported", message, "ask for fewer tokens", "too-long")


def _tokenizer(source: Source) -> Any:
    """The model's own tokenizer; if it has none, one of bytes."""
    from bench.worker import hugging_face
    from bench.worker.families import _byte_tokenizer

    return hugging_face.tokenizer(source) or _byte_tokenizer.text(_config(source))


def _token_ids(source: Source, texts: list[str], length: int) -> Array:
    """The first `length` tokens of each text, with the tokenizer's own begin of text; int64 (texts, length)."""
    config, tokenizer = _config(source), _tokenizer(source)
    ids = np.array([tokenizer(text)["input_ids"][:length] for text in texts], np.int64)
    if ids.max() >= config.vocab_size:
        message = f"the tokenizer gives the token {ids.max()}, the model knows {config.vocab_size}"
        raise Refusal("unsupported", message, "the tokenizer is another model's", "tokenizer")
    return ids


def _sentences(inputs: str | None) -> list[str]:
    """The lines of a text file that are not empty."""
    path = Path(inputs) if inputs else SENTENCES
    lines = _input_files.texts(path)
    if len(lines) < CHECKED_PROMPTS:
        raise _input_files.refused(f"{path.name} holds {len(lines)} texts", f"give at least {CHECKED_PROMPTS}")
    return lines


def _texts(sentences: list[str], count: int, words: int) -> list[str]:
    """`count` texts of at least `words` words, and so of as many tokens; each begins with another sentence."""
    total = len(sentences)
    texts = []
    for index in range(count):
        # With a step of seven, texts share few sentences. When every sentence has been the first, others follow it.
        positions = itertools.count(7 * index + index // total, 1 + index // total)
        text: list[str] = []
        while sum(len(sentence.split()) for sentence in text) < words:
            text.append(sentences[next(positions) % total])
        texts.append(" ".join(text))
    return texts


def _context_and_prompt(feed: Feed) -> Array:
    """Context and prompt as one array, int64 (batch, context + prompt)."""
    return np.concatenate([feed[name] for name in ("context_ids", "input_ids") if name in feed], axis=1)


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """The windows of a text, or prompts with answers. Raises Refusal for data that do not fit."""
    from bench.worker.labelled import prompts

    config, tokenizer = _config(source), _tokenizer(source)
    made = prompts.labelled(tokenizer, config, sizes, task)
    _refuse_longer(config, made.facts["longest"])
    return made
