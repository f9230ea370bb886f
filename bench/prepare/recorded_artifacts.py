"""Finds the artifacts of an earlier run that the cache still holds."""

from __future__ import annotations

import re

from msgspec import Struct

from bench.prepare.artifacts import Artifact, Artifacts
from bench.records import Cell, Run, Source, Weights

KEY = re.compile(r"[0-9a-f]{24}")
"""A run's file may come from anywhere, and its keys become names of folders: nothing else is accepted."""


class RecordedArtifacts(Struct, frozen=True):
    """Recorded keys, by the names in the matrix; empty for a run that makes its own artifacts."""

    artifacts: dict[str, str] = {}
    """By `Cell.artifact_name`."""
    references: dict[str, str] = {}
    """By `model/workload`."""
    sources: dict[str, str] = {}
    """By model: the digest of its source."""
    weights: dict[str, Weights] = {}

    def artifact(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The artifact that the earlier run used for a cell; None where the cache does not hold it."""
        return _find_key(self.artifacts.get(cell.artifact_name), cache)

    def reference(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The inputs and reference outputs of the earlier run; None where the cache does not hold them."""
        return _find_key(self.references.get(f"{cell.model}/{cell.workload}"), cache)

    def differs(self, model: str, source: Source) -> bool:
        """Whether a source is known to differ from the earlier run's."""
        # A run that recorded no digest gives no reason to doubt the source.
        return self.sources.get(model, source.digest) != source.digest

    def is_runnable_from_cache(self, cell: Cell, cache: Artifacts) -> bool:
        """Whether the cell can be measured without its source: its artifact and its reference are in the cache."""
        runs_artifact = cell.format is not None and self.artifact(cell, cache) is not None
        return runs_artifact and self.reference(cell, cache) is not None

    def stand_in(self, model: str) -> Source:
        """A source record for cells that need no source: without a path."""
        return Source("folder", "", self.weights.get(model, "random"), self.sources.get(model, ""))


def recorded_artifacts(run: Run) -> RecordedArtifacts:
    """The recorded keys of a run."""
    return RecordedArtifacts(run.artifacts, run.references, run.source_digests, run.weights)


def _find_key(key: str | None, cache: Artifacts) -> Artifact | None:
    return cache.find_key(key) if key is not None and KEY.fullmatch(key) else None
