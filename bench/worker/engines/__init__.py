"""Engines: one file drives one library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

from bench.records import Device, Note, Placement, Traits
from bench.worker.feeds import Array, Feed


class Loaded(Protocol):
    """What every engine's `Session(visit)` tells of the model that it loaded."""

    @property
    def threads(self) -> int | None:
        """How many threads it computes with; None where that cannot be told."""
        ...

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a reader must know of it; words of its own are `note("text", text=...)`."""
        ...

    @property
    def device(self) -> Device | None:
        """Where it computes; None where that cannot be told."""
        ...

    @property
    def placement(self) -> Placement | None:
        """Where its nodes are; None where that cannot be told."""
        ...

    @property
    def complaint(self) -> str:
        """The first error that the library logged while it was opened, or nothing."""
        ...


class Session(Loaded, Protocol):
    """A loaded model whose call gives its whole answer."""

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once, and ends when its outputs are readable on the host."""
        ...

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        ...


class Stream(Protocol):
    """One greedy generation, set up and not begun: what a request allocates is there, and its context is filled.

    Iterating it is what is timed. Each step ends when its tokens are readable on the host, and gives them, int64 of
    shape (batch,), or None where an engine sees no token ids. The end of sequence is no end.
    """

    encode_ns: int | None
    """After the first step: what the encoder took of it, where there is one and the engine can tell."""
    tokens: int | None
    """At the end: the tokens of each sequence as the engine counted them; None where each step is one."""
    prompt_tokens: int | None
    """At the end: the tokens of the prompt as the engine counted them; None: those of the feed."""

    def __iter__(self) -> Iterator[Array | None]:
        """The steps: the first has all of prefill in it."""
        ...


class Generator(Loaded, Protocol):
    """A loaded model of a family that generates.

    A feed holds `input_ids`, int64 of (batch, prompt); where the workload has a context, `context_ids`, int64 of
    (batch, context), which stand before them; for speech `input_features`, float32 of (batch, mels, frames).
    """

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        ...

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation: float32 of (batch, n, vocabulary) for `tokens`, int64 of (batch, n).

        Those at i tell the token after the prompt and `tokens[:, :i]`, computed as the generation computes them: the
        prompt at once, then token by token.
        """
        ...

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload; `parameters` is filled in by the caller."""
        ...


def named(name: str) -> Any:
    """The module of the engine `name`; importing it may load heavy libraries.

    It has `Session(visit)`, `probe(order) -> TargetFacts` and `versions(provider)`; one that can has `profiled(visit,
    placement, feed)` and, for a provider whose compile cache is a context model, `compile_context(visit)` and
    `Session(visit, compiled=True)`.
    """
    return import_module(f"{__name__}.{name.replace('-', '_')}")
