"""A placement and the provider that was asked for in; a refusal where the work would be done elsewhere, out."""

from __future__ import annotations

from bench.records import Placement, Provider
from bench.worker.refusal import Refusal

BOOKKEEPING = frozenset({"Shape", "Size", "Constant", "ConstantOfShape"})
"""As `bench.judge.placement` excuses them: no value of the model's data passes through them."""


def refuse_elsewhere(placement: Placement | None, provider: Provider | None, said: str = "") -> None:
    """Refuse to go on where nothing that computes is on the provider, so that no other device is timed in its name.

    `said` is what the provider logged. A model without nodes has nothing that could be elsewhere, and a placement that
    cannot be told is no proof.
    """
    if provider is None or placement is None:
        return
    total = sum(count for ops in placement.nodes.values() for count in ops.values())
    if not absent(placement, provider.ep):
        return
    others = ", ".join(name for name in placement.nodes if name != provider.ep)
    message = f"no node is on {provider.ep}: all {total} went to {others}"
    remedy = "its log says which operators or options it did not take"
    if not provider.static_shapes:
        remedy += "; where it takes fixed shapes only, static_shapes = true gives them"
    raise Refusal("unsupported", f"{message}; it said: {said}" if said else message, remedy, "fallback")


def absent(placement: Placement, ep: str) -> bool:
    """Whether nothing that computes is on the provider, though the model has nodes."""
    elsewhere = {name: ops for name, ops in placement.nodes.items() if name != ep and sum(ops.values()) > 0}
    here = placement.nodes.get(ep, {})
    if not elsewhere:
        return False
    return sum(here.values()) == 0 or (not _working(here) and any(_working(ops) for ops in elsewhere.values()))


def _working(ops: dict[str, int]) -> int:
    return sum(count for op, count in ops.items() if op not in BOOKKEEPING)
