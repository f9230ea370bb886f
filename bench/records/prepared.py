"""Records that preparation makes: sources, runtimes, artifacts and failures."""

from __future__ import annotations

from typing import Any, Literal

from bench.records.base import Note, Record, Status, Weights


class InputOptions(Record, frozen=True):
    """How a model's inputs are made from the user's data, as the matrix says; the defaults leave it to the family."""

    batch_axis: str = ""
    """The dimension of an ONNX file that counts samples: its name, or input and position, `x[1]`."""
    input: str = ""
    """The input that the data is for, where the data does not name it."""
    values: dict[str, Any] = {}
    """By input: one number or text for all its elements, or a list of its shape."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    """By input: a size or a name for each dimension, where the file has no shape."""
    type: str = ""
    """The type that arrays are converted to, `float32`; empty for that of the input."""
    layout: Literal["", "NCHW", "NHWC"] = ""
    """The order of a picture's dimensions; empty for what the file's sizes show."""
    size: tuple[int, int] | None = None
    """Height and width that pictures are resized to; None for those of the file or of the workload."""
    scale: float | None = None
    """The factor of pixels, by default 1/255, or of sound samples between -1 and 1."""
    mean: tuple[float, ...] = ()
    """What is subtracted from scaled pixels: one number, or one for each channel."""
    std: tuple[float, ...] = ()
    """What is divided by afterwards: one number, or one for each channel."""
    rate: int | None = None
    """The samples a second that sounds must have."""
    length: int | None = None
    """The tokens of a text, or the samples of a sound."""
    tokenizer: str = ""
    """The folder of the tokenizer."""

    def __hash__(self) -> int:
        """Equal options have equal hashes, so that sources can be counted."""
        # Dictionaries have no hash; their names are enough to tell most options apart.
        return hash((self.batch_axis, self.input, self.type, self.size, tuple(self.values), tuple(self.shapes)))


class Source(Record, frozen=True):
    """A model's origin, resolved to this machine's disk, as a worker loads it."""

    kind: Literal["folder", "config", "onnx", "file"]
    path: str
    """The folder of weights, config and tokenizer; the config's JSON file; the .onnx file; or another single file,
    which a worker makes a folder of before anything else is done with it."""
    weights: Weights
    digest: str
    """SHA-256 over the content of every file of the source."""
    seed: int = 0
    inputs: InputOptions = InputOptions()
    file: str = ""
    """The single file that the folder was made of; empty where the folder is the user's own."""


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
    extends: str = ""
    """The runtime whose packages it sees as well; they are in `packages`. Empty for none."""


class ArtifactRecord(Record, frozen=True):
    """A model folder, a reference or an unpacked source in the cache: its key, and what the key is computed from."""

    key: str
    kind: Literal["model", "reference", "source"]
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
