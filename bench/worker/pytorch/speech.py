"""Runs greedy transcription with a Whisper model in PyTorch: the encoder once, then the decoder for each token."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns

import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache

from bench.records import Traits, Visit
from bench.worker.feeds import Array, Feed
from bench.worker.pytorch.generation import DecodingState, Generation, TokenStream, teacher_forced_logits, traits
from bench.worker.pytorch.loading import compiled

START_TOKENS = 4
"""The largest number of start tokens; a model for English only has two."""


class SpeechRecognition(Generation):
    """A Whisper model; the decoder's first call turns the encoder's output into keys and values once."""

    ids = "decoder_input_ids"

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        # `generate()` compiles the encoder too, and not only decoding.
        encoder = self.model.get_encoder()
        self.encoder = compiled(encoder, visit.scratch) if self.is_compiled else encoder

    def dynamic_cache(self) -> EncoderDecoderCache:
        """A cache that grows with each token; its part for the encoder's output is filled once."""
        return EncoderDecoderCache(DynamicCache(), DynamicCache())

    def static_cache(self, length: int) -> EncoderDecoderCache:
        """A cache of fixed size for `length` tokens and all frames; the first call, not compiled, allocates it."""
        config = self.model.config
        return EncoderDecoderCache(
            *(StaticCache(config=config, max_cache_len=most) for most in (length, config.max_source_positions))
        )

    def positions(self, start: int, count: int) -> dict[str, torch.Tensor]:
        """The positions as for any generation, under Whisper's parameter names."""
        positions = super().positions(start, count)
        return positions | {"decoder_position_ids": positions.pop("position_ids")}

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's output (batch, frames / 2, hidden); the device has computed it when this returns."""
        with torch.inference_mode():
            encoded: torch.Tensor = self.encoder(features).last_hidden_state
        # CUDA kernels run asynchronously: without this only their launch would be timed.
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)
        return encoded

    def begin(self, feed: Feed, new: int) -> SpeechStream:
        """Set up the generation of `new` tokens; the encoder runs in the first step, which is timed."""
        return SpeechStream(self, feed, new)

    def decoding_state(self, feed: Feed, new: int) -> DecodingState:
        """A state with room for the start tokens and `new` tokens."""
        start = feed["input_ids"]
        return DecodingState(self, self.cache(len(start), start.shape[1] + new))

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given transcript, float32 (batch, n, vocabulary), computed as in a generation."""
        encoded = self.encode(self.tensor(feed["input_features"]))
        state = attach_audio(self.decoding_state(feed, tokens.shape[1]), encoded)
        return teacher_forced_logits(state, self.tensor(feed["input_ids"]), self.tensor(tokens))

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload; the cache includes keys and values of the encoder's output."""
        config = self.model.config
        length = START_TOKENS + sizes["new"] + config.max_source_positions
        return traits(self, 2 * config.decoder_layers * sizes["batch"] * length * config.d_model, "every token")


def attach_audio(state: DecodingState, encoded: torch.Tensor) -> DecodingState:
    """Add the encoder's output to the state; gives the same state."""
    # transformers takes the first element of the tuple as the encoder's output.
    state.arguments["encoder_outputs"] = (encoded,)
    return state


class SpeechStream(TokenStream):
    """One greedy transcript; the first step is the encoder, which is also timed alone, and the start tokens."""

    def __init__(self, session: SpeechRecognition, feed: Feed, new: int) -> None:
        super().__init__(session.decoding_state(feed, new), session.tensor(feed["input_ids"]), new)
        self.encode = session.encode
        self.features = session.tensor(feed["input_features"])

    def __iter__(self) -> Iterator[Array]:
        """Run the encoder and the start tokens in the first step, then token by token."""
        start = perf_counter_ns()
        attach_audio(self.state, self.encode(self.features))
        self.encode_ns = perf_counter_ns() - start
        yield from super().__iter__()
