"""The engine `ort-generate`: runs genai exports with plain ONNX Runtime, on any of its providers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from bench.records import Device, EngineManifest, Note, Placement, Probe, Provider, TargetFacts, Traits, Visit
from bench.worker import genai_config
from bench.worker.feeds import Array, Feed
from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import (
    assignment,
    genai_traits,
    generating,
    native_log,
    options,
    placement_subprocess,
    probing,
)
from bench.worker.onnx_runtime.sessions import Opened, Request, open_session
from bench.worker.refusal import Refusal

# The format of the engine `genai`: both run the same files, so only the runtime differs.
MANIFEST = EngineManifest(format="genai", tasks=("text-generation", "speech-recognition"))


class Session:
    """The decoder, and for speech the encoder, of one export on one provider."""

    def __init__(self, visit: Visit, read: Callable[[Path], Export] = genai_config.read) -> None:
        provider = _provider_of(visit)
        self.provider, self.export = provider, read(Path(visit.artifact or ""))
        self.opened = {
            path: open_session(provider, Request(path, visit.threads, visit.scratch)) for path in self.export.graphs
        }
        # Encoder and decoder are opened with equal options on one device, so the first stands for both.
        first = self._first
        self.threads = options.threads(provider, first.text, visit.threads)
        memory = generating.memory_of(provider, first.selected)
        self.decoder = generating.Decoder(self.opened[self.export.decoder].session, self.export, memory)
        encoder = self.export.encoder
        self.encoder = generating.Encoder(self.opened[encoder].session, self.export, memory) if encoder else None
        self.prompt = 0

    @property
    def _first(self) -> Opened:
        return next(iter(self.opened.values()))

    @property
    def device(self) -> Device | None:
        """The selected device."""
        return self._first.selected.device

    @property
    def notes(self) -> tuple[Note, ...]:
        """Notes for readers of the report."""
        return options.notes(self.provider, self._first.selected)

    @cached_property
    def placement(self) -> Placement | None:
        """The nodes of all graphs by provider and op type; computed at first use, so that it is no part of the load."""
        return placement_subprocess.merge_placements(
            assignment.placement(opened.session, path) for path, opened in self.opened.items()
        )

    @property
    def complaint(self) -> str:
        """The first error that the provider logged since the session was started."""
        return native_log.first_error(self._first.log_mark)

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        self.prompt = feed["input_ids"].shape[1]
        return Stream(self, feed, new)

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation, float32 of (batch, n, vocabulary)."""
        stream = Stream(self, feed, tokens.shape[1])
        # `astype` copies, which is needed: the next step overwrites the buffer.
        logits = [stream.prefill().astype(np.float32)]
        for index in range(tokens.shape[1] - 1):
            logits.append(stream.state.run(tokens[:, index : index + 1]).astype(np.float32))
        return np.stack(logits, axis=1)

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload."""
        length = sizes.get("context", 0) + sizes.get("prompt", self.prompt) + sizes["new"]
        return genai_traits.traits(self.export, sizes.get("batch", 1), length)


class Stream:
    """One greedy generation, with its cache allocated and its context in the cache."""

    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, session: Session, feed: Feed, new: int) -> None:
        self.feed, self.new, self.encoder = feed, new, session.encoder
        self.encode_ns: int | None = None
        batch, prompt = feed["input_ids"].shape
        before = generating.context(feed, session.export)
        length = prompt + new + (before.shape[1] if before is not None else 0)
        self.state = generating.State(session.decoder, batch, generating.room(session.export, length))
        if session.encoder:
            self.encoding, crossed = session.encoder.prepare(batch)
            self.state.give(crossed)
        if before is not None:
            # Here and not in the iteration, which is timed.
            self.state.run(before)

    def prefill(self) -> Array:
        """Run the encoder, if any, and the prompt; gives the logits of its last token (batch, vocabulary)."""
        if self.encoder:
            start = perf_counter_ns()
            self.encoder.run(self.encoding, self.feed["input_features"])
            self.encode_ns = perf_counter_ns() - start
        return self.state.run(self.feed["input_ids"])

    def __iter__(self) -> Iterator[Array]:
        """Yield the tokens of each step, int64 of (batch,); the first step includes prefill."""
        token = greedy(self.prefill())
        yield token
        for _ in range(self.new - 1):
            token = greedy(self.state.run(token[:, None]))
            yield token


def greedy(logits: Array) -> Array:
    """The most likely token of each row; FP16 is widened first, because NumPy compares it one number at a time."""
    best: Array = logits.astype(np.float32, copy=False).argmax(axis=-1)
    return best


def _provider_of(visit: Visit) -> Provider:
    """The visit's provider; Refusal where there is none, or where it takes fixed shapes only."""
    if visit.provider is None:
        raise Refusal("unsupported", f"the engine {visit.engine} needs an execution provider", "give the target an ep")
    # Refused here: with growing shapes such a provider leaves all nodes to the CPU.
    if visit.provider.static_shapes:
        message = f"{visit.provider.ep} takes fixed shapes only, and the mask of generation grows with every token"
        raise Refusal("unsupported", message, "there is no export for it here: run it on another provider", "shapes")
    return visit.provider


def probe(order: Probe) -> TargetFacts:
    """Facts about the target on this machine."""
    if order.provider is None:
        raise Refusal("unsupported", f"the engine {order.engine} needs an execution provider", "give the target an ep")
    return probing.probe(order.provider)


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions that the libraries report."""
    return probing.versions(provider)
