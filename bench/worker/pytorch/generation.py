"""Runs greedy generations of a language model in PyTorch, one forward pass for each token."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, StaticCache

from bench.records import Placement, Traits, Visit, note
from bench.worker.feeds import Array, Feed
from bench.worker.pytorch.loading import Loaded, compiled

NOTES = {
    "eager": (note("growing-cache"),),
    "compile": (note("compiled-tokens"), note("fixed-cache")),
}
WEIGHTS = {"dynamic-int8": "int8 in linear layers, one scale a tensor; the rest fp32"}
BITS = {"fp32": 32.0, "fp16": 16.0, "bf16": 16.0}


class Generation:
    """The common part of language models and speech recognizers: the model, its caches and the token positions."""

    placement: Placement | None = None
    complaint = ""
    ids = "input_ids"
    """The name of the model's parameter for token ids."""

    def __init__(self, visit: Visit) -> None:
        loaded = Loaded(visit)
        self.torch_device, self.dtype = loaded.torch_device, loaded.dtype
        self.threads, self.device = loaded.threads, loaded.device
        self.recipe, self.model = visit.recipe.name, loaded.model
        self.is_compiled = visit.mode == "compile"
        self.forward = compiled(loaded.model, visit.scratch) if self.is_compiled else loaded.model
        # Architectures and versions of transformers differ in the arguments that a model takes.
        self.forward_parameters = frozenset(inspect.signature(loaded.model.forward).parameters)
        self.notes = NOTES[visit.mode or "eager"]
        self.static_caches: dict[tuple[int, int], Any] = {}

    def tensor(self, array: Array) -> torch.Tensor:
        """The array as a tensor on the device: floating point in the model's precision, integers unchanged."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.torch_device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def cache(self, batch: int, length: int) -> Any:
        """An empty cache for `length` tokens: a growing one, or for a compiled model a static one that is reused.

        A compiled model gets the smallest existing cache that is large enough, because another size would compile it
        again.
        """
        if not self.is_compiled:
            return self.dynamic_cache()
        fitting = [key for key in self.static_caches if key[0] == batch and key[1] >= length]
        if fitting:
            cache = self.static_caches[min(fitting)]
        else:
            cache = self.static_caches[batch, length] = self.static_cache(length)
        with torch.inference_mode():
            # PyTorch forbids changes outside of inference mode to tensors that were made in it.
            cache.reset()
        return cache

    def dynamic_cache(self) -> Any:
        """A cache that grows with each token."""
        return DynamicCache(config=self.model.config)

    def static_cache(self, length: int) -> Any:
        """A cache of fixed size; the first prompt allocates it, outside of the compiled code."""
        return StaticCache(config=self.model.config, max_cache_len=length)

    def positions(self, start: int, count: int) -> dict[str, torch.Tensor]:
        """The positions of the tokens of a call, as arguments of the model.

        They are given, because transformers 4 would compute wrong ones from the zeros of a static cache.
        """
        positions_range = torch.arange(start, start + count, device=self.torch_device)
        positions = {"position_ids": positions_range[None]}
        return positions | ({"cache_position": positions_range} if "cache_position" in self.forward_parameters else {})


class DecodingState:
    """The state of one generation: its cache, the number of tokens in it, and the arguments of each call."""

    def __init__(self, session: Generation, cache: Any) -> None:
        self.session = session
        self.count = 0
        self.arguments: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        if "logits_to_keep" in session.forward_parameters:
            # Prefill computes logits for the last token only, as in llama.cpp and in genai with `prune_lm_head`.
            self.arguments["logits_to_keep"] = 1

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Run the model on the next tokens (batch, n); gives the logits (batch, vocabulary) after the last of them."""
        session, count = self.session, ids.shape[1]
        # As in `generate()`, prompts are not compiled: each length would compile again.
        forward = session.forward if self.count and count == 1 else session.model
        positions = session.positions(self.count, count)
        self.count += count
        with torch.inference_mode():
            logits: torch.Tensor = forward(**{session.ids: ids}, **self.arguments, **positions).logits[:, -1]
            return logits


class TokenStream:
    """One greedy generation; each step ends when its tokens are in the host's memory."""

    encode_ns: int | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, state: DecodingState, prompt: torch.Tensor, new: int) -> None:
        self.state, self.prompt, self.new = state, prompt, new

    def __iter__(self) -> Iterator[Array]:
        """Run the prompt in one call, then each chosen token except the last; yields the tokens of each step."""
        ids = self.prompt
        for _ in range(self.new):
            ids = self.state(ids).argmax(-1, keepdim=True)
            # The copy to the host waits for the device, so that the step ends when its tokens are readable.
            yield ids[:, 0].cpu().numpy()


class TextGeneration(Generation):
    """A causal language model."""

    def begin(self, feed: Feed, new: int) -> TokenStream:
        """Set up the generation of `new` tokens; a context is in the cache when this returns."""
        return TokenStream(self.decoding_state(feed, new), self.tensor(feed["input_ids"]), new)

    def decoding_state(self, feed: Feed, new: int) -> DecodingState:
        """A state with the feed's context in its cache, and room for the prompt and `new` tokens."""
        prompt, context = feed["input_ids"], feed.get("context_ids")
        length = prompt.shape[1] + new + (0 if context is None else context.shape[1])
        state = DecodingState(self, self.cache(len(prompt), length))
        if context is not None:
            # Here, so that the context is in the cache before anything is timed.
            state(self.tensor(context))
        return state

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation, float32 (batch, n, vocabulary), computed as in a generation."""
        return teacher_forced_logits(
            self.decoding_state(feed, tokens.shape[1]), self.tensor(feed["input_ids"]), self.tensor(tokens)
        )

    def cache_of_one_token(self) -> Any:
        """The cache after one token: layers differ in their heads, and some keep a state instead of keys and values."""
        cache = self.dynamic_cache()
        with torch.inference_mode():
            ids = torch.zeros((1, 1), dtype=torch.int64, device=self.torch_device)
            self.model(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload."""
        length = sizes["prompt"] + sizes["new"] + sizes.get("context", 0)
        numbers = round(_numbers(self.cache_of_one_token(), length) * sizes["batch"])
        return traits(self, numbers, "last token" if "logits_to_keep" in self.forward_parameters else "every token")


def _numbers(cache: Any, length: int) -> float:
    """How many numbers a cache of one token holds when it has `length`: keys and values grow, other states do not."""
    total = 0
    for layer in cache.layers:
        window = layer.sliding_window if getattr(layer, "is_sliding", False) else length
        for name, tensor in vars(layer).items():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                total += tensor.numel() * (min(length, window) if name in ("keys", "values") else 1)
    return total


def teacher_forced_logits(state: DecodingState, prompt: torch.Tensor, tokens: torch.Tensor) -> Array:
    """Logits after the prompt and each of `tokens` (batch, n) but the last: float32 (batch, n, vocabulary)."""
    # Contiguous copies: the strides of a slice of the whole table would make a compiled model compile again.
    steps = [prompt, *(tokens[:, index : index + 1].contiguous() for index in range(tokens.shape[1] - 1))]
    logits: Array = torch.stack([state(ids).float() for ids in steps], dim=1).cpu().numpy()
    return logits


def traits(session: Generation, numbers: int, logits: str) -> Traits:
    """The traits of a session; `numbers` is how many numbers its key-value cache holds."""
    name = str(session.dtype).removeprefix("torch.")
    kind = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[name]
    return Traits(
        kv_type=kind,
        kv_bytes=numbers * session.dtype.itemsize,
        logits=logits,
        weights=WEIGHTS.get(session.recipe, kind),
        declared_bits=BITS.get(session.recipe),
    )
