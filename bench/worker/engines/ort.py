"""ONNX Runtime: a visit in, a session on one execution provider out, with the placement of its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.records import Placement, Probe, Probed, Visit
from bench.worker.refusal import Refusal

NEEDS_ARTIFACT = True
RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
Feed = dict[str, np.ndarray]


class Session:
    """One loaded model on one provider."""

    def __init__(self, visit: Visit) -> None:
        self.session = open_session(visit)
        self.names = [output.name for output in self.session.get_outputs()]
        self.threads = visit.threads
        self.placement = placement(self.session)
        self.notes: tuple[str, ...] = ()

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A call that runs `feed` once; its outputs are NumPy arrays, so they are readable on the host when it ends."""
        wanted = {i.name for i in self.session.get_inputs()}
        return partial(self.session.run, self.names, {name: array for name, array in feed.items() if name in wanted})

    def outputs(self, result: object) -> Feed:
        """The outputs of a call by name."""
        return dict(zip(self.names, result, strict=True))  # type: ignore[call-overload]


def open_session(visit: Visit) -> ort.InferenceSession:
    """A session on the visit's provider alone; onnxruntime's silent second try on the CPU is switched off."""
    assert visit.provider is not None
    require(visit.provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = visit.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(RECORD_PLACEMENT, "1")
    for key, value in visit.session.items():
        options.add_session_config_entry(key, value)
    text = {key: str(value) for key, value in visit.options.items()}
    model = Path(visit.artifact or "") / "model.onnx"
    session = ort.InferenceSession(model, options, providers=[(visit.provider, text)], enable_fallback=0)
    session.disable_fallback()
    return session


def placement(session: ort.InferenceSession) -> Placement | None:
    """The nodes by provider and op type; None where this onnxruntime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    nodes: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        counts = nodes.setdefault(part.ep_name, Counter())
        counts.update(_op_name(node) for node in part.get_nodes())
    return Placement(nodes={ep: dict(sorted(ops.items())) for ep, ops in nodes.items()}, source="assignment-info")


def _op_name(node: object) -> str:
    domain, op_type = node.domain, node.op_type  # type: ignore[attr-defined]
    return op_type if domain in ("", "ai.onnx") else f"{domain}.{op_type}"


def require(provider: str) -> None:
    """Refuse a provider that this wheel does not hold: onnxruntime would only warn, and take the CPU."""
    held = ort.get_available_providers()
    if provider not in held:
        message = f"{provider} is not in this onnxruntime, which holds {', '.join(held)}"
        remedy = f"install a wheel with {provider} in a runtime of its own"
        raise Refusal("unavailable", message, remedy)


def probe(order: Probe) -> Probed:
    """Whether the provider is in the installed wheel, and which devices onnxruntime lists."""
    devices: list[str] = []
    if hasattr(ort, "get_ep_devices"):
        devices = [f"{d.ep_name}: {d.device.type.name.lower()} {d.ep_vendor}" for d in ort.get_ep_devices()]
    try:
        require(order.provider or "")
    except Refusal as refusal:
        return Probed(False, versions(), tuple(devices), refusal.message, refusal.remedy)
    return Probed(True, versions(), tuple(devices))


def versions() -> dict[str, str]:
    """The version that the engine's library itself reports."""
    return {"onnxruntime": ort.__version__}
