"""Engines: one file drives one library."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from bench.records import Device, Placement
from bench.worker.feeds import Feed


class Session(Protocol):
    """A loaded model, as every engine's `Session(visit)` gives it."""

    @property
    def threads(self) -> int:
        """How many threads it computes with."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of it."""
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

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once, and ends when its outputs are readable on the host."""
        ...

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        ...


def named(name: str) -> Any:
    """The module of the engine `name`; importing it may load heavy libraries.

    It has `Session(visit)`, `probe(order) -> TargetFacts` and `versions(provider)`; one that can has `profiled(visit,
    placement, feed)` and, for a provider whose compile cache is a context model, `compile_context(visit)` and
    `Session(visit, compiled=True)`.
    """
    return import_module(f"{__name__}.{name.replace('-', '_')}")
