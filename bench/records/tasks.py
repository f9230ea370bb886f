"""Records of labelled samples: how a set is read, the scores of each sample, and those of the reference."""

from __future__ import annotations

from bench.records.base import Note, Record
from bench.records.prepared import Failure


class TaskOptions(Record, frozen=True):
    """A model's labelled set, as the matrix says; sources are resolved to paths before a worker gets them."""

    metric: str
    """A name of `bench.shared.task_metrics.TASK_METRICS`."""
    inputs: str
    """The samples: a file or a folder."""
    labels: str = ""
    """The file of the labels; empty where they are beside the samples."""
    field: str = ""
    """The key of the label in JSON lines; empty for the usual one of the metric."""
    classes: tuple[str, ...] = ()
    """The names of the classes in the order of the scores, where labels are names."""
    output: str = ""
    """The output of an ONNX file that holds the scores or the embedding."""
    threshold: float | None = None
    """A single score above it means class 1; None where the model has a score for each class."""
    tokens: int = 1024
    """How many tokens of a text are scored for its perplexity."""
    digest: str = ""
    """SHA-256 over samples, labels and how they are read, shortened: scores are paired only where it is equal."""


class TaskScores(Record, frozen=True):
    """What a model makes of a labelled set: columns with one value for each sample, in the order of the set."""

    metric: str
    digest: str
    """Of the labelled set."""
    columns: dict[str, tuple[float, ...]] = {}
    """Such as `{"right": (1.0, 0.0), "predicted": (3.0, 1.0)}`; empty after a failure."""
    failure: Failure | None = None
    """Why the samples could not be run."""


class TaskReference(Record, frozen=True):
    """The scores of the FP32 reference on the same samples."""

    scores: TaskScores
    by: str
    """What computed them, such as `PyTorch 2.13.0, FP32`."""
    notes: tuple[Note, ...] = ()
    """What is special about the set, such as samples that were cut."""
