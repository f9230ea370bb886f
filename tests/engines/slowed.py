"""ONNX Runtime's CPU provider with a busy wait inside every call: `options = { slowdown = 0.05 }` for 5 %."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from bench.records import EngineManifest, Probe, Provider, TargetFacts, Visit
from bench.worker.engines import ort
from bench.worker.feeds import Feed
from bench.worker.onnx_runtime import devices

MANIFEST = EngineManifest(format="onnx")
CPU = devices.ON_CPU


class Session(ort.Session):
    """A session that takes its time."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(replace(visit, provider=CPU))
        self.slowdown = float(visit.options.get("slowdown", 0.0))

    def bind(self, feed: Feed) -> Callable[[], Any]:
        """The call, and then a wait of so much of what it took."""
        call = super().bind(feed)
        if not self.slowdown:
            return call

        def slow() -> object:
            start = time.perf_counter_ns()
            result = call()
            end = time.perf_counter_ns()
            end += int((end - start) * self.slowdown)
            while time.perf_counter_ns() < end:
                pass
            return result

        return slow


def probe(order: Probe) -> TargetFacts:
    """As the provider itself."""
    return ort.probe(replace(order, provider=CPU))


def versions(provider: Provider | None = None) -> dict[str, str]:
    """As the provider itself."""
    return ort.versions(CPU)
