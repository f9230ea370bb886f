"""The engine `ort-optimum`: runs decoders that optimum exported with plain ONNX Runtime, on any of its providers."""

from __future__ import annotations

from bench.records import EngineManifest, Probe, Provider, TargetFacts, Visit
from bench.worker import optimum_export
from bench.worker.engines import ort_generate

# The format of the engine `optimum`: both run the same files, so only the way to run them differs.
MANIFEST = EngineManifest(format="optimum", tasks=("text-generation",))


def Session(visit: Visit) -> ort_generate.Session:  # noqa: N802 - every engine has one of this name
    """Open the decoder of a visit, with its cache in the device's memory."""
    return ort_generate.Session(visit, optimum_export.read)


def probe(order: Probe) -> TargetFacts:
    """Facts about the target on this machine."""
    return ort_generate.probe(order)


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions that the libraries report."""
    return ort_generate.versions(provider)
