"""The artifacts that an earlier run used, as far as this cache still holds them."""

from __future__ import annotations

import re

from msgspec import Struct

from bench.prepare.artifacts import Artifact, Artifacts
from bench.records import Cell, Run, Source, Weights

KEY = re.compile(r"[0-9a-f]{24}")
"""A run's file may come from anywhere, and its keys become names of folders."""


class RecordedArtifacts(Struct, frozen=True):
    """Keys by the names that a matrix gives; empty for a run that makes everything from what is there today."""

    artifacts: dict[str, str] = {}
    """By `Cell.artifact_name`."""
    references: dict[str, str] = {}
    """By `model/workload`."""
    sources: dict[str, str] = {}
    """By model: the digest of its source."""
    weights: dict[str, Weights] = {}

    def artifact(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The very artifact that the earlier run used for a cell."""
        return _find_key(self.artifacts.get(cell.artifact_name), cache)

    def reference(self, cell: Cell, cache: Artifacts) -> Artifact | None:
        """The very inputs and reference outputs."""
        return _find_key(self.references.get(f"{cell.model}/{cell.workload}"), cache)

    def differs(self, model: str, source: Source) -> bool:
        """Whether a source is known not to be what the earlier run used."""
        return self.sources.get(model, source.digest) != source.digest

    def is_runnable_from_cache(self, cell: Cell, cache: Artifacts) -> bool:
        """Whether the cell can be measured without its source: its engine runs an artifact, and all is there."""
        runs_artifact = cell.format is not None and self.artifact(cell, cache) is not None
        return runs_artifact and self.reference(cell, cache) is not None

    def stand_in(self, model: str) -> Source:
        """A source for cells that stand without one: what is known of it, and no place."""
        return Source("folder", "", self.weights.get(model, "random"), self.sources.get(model, ""))


def recorded_artifacts(run: Run) -> RecordedArtifacts:
    """What a run recorded."""
    return RecordedArtifacts(run.artifacts, run.references, run.source_digests, run.weights)


def _find_key(key: str | None, cache: Artifacts) -> Artifact | None:
    return cache.find_key(key) if key is not None and KEY.fullmatch(key) else None
