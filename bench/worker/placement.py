"""Refuses to measure a session whose work runs on another provider than the requested one.

It is apart from `session_check`, because the process of a cold start loads nothing that it does not need.
"""

from __future__ import annotations

from bench.records import Placement, Provider
from bench.worker.refusal import Refusal


def refuse_fallback(placement: Placement | None, provider: Provider | None, log_message: str = "") -> None:
    """Raise a Refusal where no computing node is on the provider, so that no other device is timed under its name.

    `log_message` is what the provider logged. A model without nodes and an unknown placement are accepted: neither
    proves that the work runs elsewhere.
    """
    # An older onnxruntime does not report the placement; the record then says that it is unknown.
    if provider is None or placement is None:
        return
    if not placement.has_nothing_on(provider.ep):
        return
    message = _message(placement, provider.ep)
    remedy = "its log says which operators or options it did not take"
    if not provider.static_shapes:
        remedy += "; where it takes fixed shapes only, static_shapes = true gives them"
    raise Refusal("unsupported", f"{message}; it said: {log_message}" if log_message else message, remedy, "fallback")


def _message(placement: Placement, ep: str) -> str:
    others = [name for name in placement.nodes if name != ep]
    fallback = f"{sum(_count(placement, name) for name in others)} went to {', '.join(others)}"
    if not _count(placement, ep):
        return f"no node is on {ep}: all {fallback}"
    return f"nothing but shapes and constants was placed on {ep}: the other {fallback}"


def _count(placement: Placement, ep: str) -> int:
    return sum(placement.nodes.get(ep, {}).values())
