"""Counts the nodes of a placement on the requested provider and elsewhere, and the ops that fell back.

ONNX Runtime puts shape arithmetic on the CPU on purpose, so that is no fallback. A Gather, Unsqueeze, Concat, Cast or
Slice is excused only where the graph proves that it handles shapes (`Placement.shape_nodes`), and never by its type:
the same types move activations, and a Gather is the embedding, the first layer of a language model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from bench.records import Observation, Placement


class Split(Struct, frozen=True):
    """The nodes of one placement, split by whether they are on the requested provider."""

    on_target: int
    elsewhere: int
    """All other nodes, those for shapes included."""
    fallback_ops: tuple[str, ...]
    """`Gather x3`, the most frequent first."""
    bookkeeping_ops: tuple[str, ...]
    """The same, for the nodes elsewhere that handle nothing but shapes and constants."""
    fallback_nodes: int
    others: tuple[str, ...]
    """The providers that hold the nodes elsewhere, the one with the most first."""
    absent: bool
    """Nothing that computes is on the target, though the model has nodes."""


def split(placement: Placement, provider: str) -> Split:
    """Split the nodes of a placement; `provider` is a name as ONNX Runtime writes it."""
    away = {name: ops for name, ops in placement.nodes.items() if name != provider}
    counts = _total(away.values())
    fallback = _total(placement.working(name) for name in away)
    on_target = sum(placement.nodes.get(provider, {}).values())
    return Split(
        on_target=on_target,
        elsewhere=counts.total(),
        fallback_ops=_listed(fallback),
        # A Counter drops what falls to zero, so the difference holds the excused nodes alone.
        bookkeeping_ops=_listed(counts - fallback),
        fallback_nodes=fallback.total(),
        others=tuple(name for name, _ in _ranked({name: sum(ops.values()) for name, ops in away.items()})),
        absent=placement.has_nothing_on(provider),
    )


def known(observation: Observation) -> bool:
    """Whether the observation places any node."""
    return observation.placement is not None and any(sum(ops.values()) for ops in observation.placement.nodes.values())


def worst(observations: Iterable[Observation], provider: str | None) -> Placement | None:
    """The placement with the most nodes on other providers; None where none is known.

    Among equals it is the first that was profiled. Only one round is profiled, and only it knows copies and time.
    """
    placements = [
        observation.placement
        for observation in observations
        if observation.placement is not None and known(observation)
    ]
    if provider is None:
        return placements[0] if placements else None
    return max(placements, key=lambda placed: (*_badness(split(placed, provider)), _profiled(placed)), default=None)


def _badness(parts: Split) -> tuple[bool, int, int]:
    # Absence comes first: a session without a node on the target is worse than any number of nodes that fell back.
    return parts.absent, parts.fallback_nodes, parts.elsewhere


def _profiled(placed: Placement) -> bool:
    return placed.copies is not None or placed.time_elsewhere is not None


def _total(tables: Iterable[Mapping[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for ops in tables:
        counts.update(ops)
    return counts


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    # Equal counts are in order of name, so that equal placements give equal text.
    return sorted(((name, n) for name, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0]))


def _listed(counts: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{op} x{n}" for op, n in _ranked(counts))
