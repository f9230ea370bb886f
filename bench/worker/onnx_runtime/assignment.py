"""A session in, which provider each of its nodes was assigned to out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnxruntime as ort

from bench.records import Placement
from bench.worker.onnx_runtime import wire

RECORD = "session.record_ep_graph_assignment_info"
"""The session entry without which onnxruntime keeps nothing to ask for."""


def placement(session: ort.InferenceSession) -> Placement | None:
    """The nodes by provider and op type; None where this onnxruntime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    nodes: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        counts = nodes.setdefault(part.ep_name, Counter())
        counts.update(_op_name(node) for node in part.get_nodes())
    return Placement(nodes={ep: dict(sorted(ops.items())) for ep, ops in nodes.items()}, source="assignment-info")


def unassigned(model: Path) -> Placement:
    """What it means that no node is listed at all: onnxruntime 1.24 lists no FP16 nodes that the CPU runs with casts.

    Where the model has none either, the placement is empty, and true.
    """
    ops = wire.operators(model)
    return Placement(nodes={"no provider": dict(sorted(ops.items()))} if ops else {}, source="assignment-info")


def _op_name(node: Any) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
