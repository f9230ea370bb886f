"""Records that preparation makes: sources, runtimes, artifacts and failures."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Note, Record, Status, Weights


class Source(Record, frozen=True):
    """A model's origin, resolved to this machine's disk, as a worker loads it."""

    kind: Literal["folder", "config", "onnx"]
    path: str
    """The folder of weights, config and tokenizer; the config's JSON file; or the .onnx file."""
    weights: Weights
    digest: str
    """SHA-256 over the content of every file of the source."""
    seed: int = 0


# The wheels of ONNX Runtime overwrite one another, so no single environment can hold all targets.
class RuntimeRecord(Record, frozen=True):
    """A named Python environment: its requirements, and every package that is installed in it."""

    name: str
    requires: tuple[str, ...]
    python: str
    """The version of the interpreter, e.g. `3.11.7`; never its path."""
    packages: dict[str, str]
    key: str
    """SHA-256 over the requirements and the interpreter, shortened: the name of its folder in the cache."""
    existing: bool = False
    """True for an existing interpreter of the user, which is used unchanged."""


class ArtifactRecord(Record, frozen=True):
    """A model folder or a reference in the cache: its key, and the parts that the key is computed from."""

    key: str
    kind: Literal["model", "reference"]
    parts: dict[str, str]
    files: dict[str, str]
    """SHA-256 by file name, relative to the artifact's folder."""
    size_bytes: int
    seconds: float
    created: str
    notes: tuple[Note, ...] = ()
    """What is special about its files, e.g. how many operators are quantized; those of its base artifact first."""


class Failure(Record, frozen=True):
    """Why a cell has no number: the stage, the kind, the message of the error, and the end of stderr."""

    status: Status
    stage: str
    kind: str
    """The exception's class, or `signal`, `exit`, `timeout`, `memory`."""
    message: str
    remedy: str = ""
    exit_code: int | None = None
    signal: str | None = None
    stderr_tail: str = ""
