"""The engine `numpy`: runs linear models by NumPy's own matrix product."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.records import Device, EngineManifest, Note, Placement, Probe, Provider, TargetFacts, Visit
from bench.worker.feeds import Array, Feed

MANIFEST = EngineManifest(format="npz")


class Session:
    """One loaded model."""

    threads: int | None = None
    notes: tuple[Note, ...] = ()
    placement: Placement | None = None
    complaint = ""
    device = Device("cpu", 0)

    def __init__(self, visit: Visit) -> None:
        with np.load(Path(visit.artifact or "") / "weights.npz") as saved:
            self.matrix, self.bias = saved["matrix"].astype(np.float32), saved["bias"].astype(np.float32)

    def bind(self, feed: Feed) -> Callable[[], Array]:
        """A call that runs `feed` once."""
        return partial(self.run, feed["x"])

    def run(self, x: Array) -> Array:
        """The outputs, float32 of (batch, outputs)."""
        return x @ self.matrix + self.bias

    def outputs(self, result: Array) -> Feed:
        """The outputs of a call by name."""
        return {"y": result}


def probe(order: Probe) -> TargetFacts:
    """NumPy is there, since this file imports it."""
    return TargetFacts(available=True, versions=versions(order.provider), device=Session.device)


def versions(provider: Provider | None) -> dict[str, str]:
    """The version of NumPy."""
    return {"numpy": np.__version__}
