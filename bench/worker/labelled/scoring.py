"""Runs every sample of a labelled set in a session or in the reference, and scores each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from bench.records import Note, TaskOptions
from bench.shared.task_metrics import TASK_METRICS
from bench.worker import output_facts
from bench.worker.feeds import Array, Feed
from bench.worker.labelled import classes, embeddings, texts
from bench.worker.labelled.sets import LabelledSet
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

Columns = dict[str, list[float]]
Reduce = Callable[[Feed, Feed, TaskOptions, dict[str, OutputFacts]], Array]
REDUCE: dict[str, Reduce] = {
    "classes": classes.best,
    "pairs": embeddings.embedding,
    "rankings": embeddings.embedding,
}
"""By kind of samples, what is kept of the outputs of a batch: rows of shape (batch, …)."""


class Answerer(texts.Scorer, texts.Streams, Protocol):
    """A session of a model that generates, or its reference."""


@dataclass
class ForwardScores:
    """Collects what a model that answers in one call makes of each batch."""

    task: TaskOptions
    known: dict[str, OutputFacts]
    rows: list[Array] = field(default_factory=list)
    classes: int | None = None

    def take(self, outputs: Feed, feed: Feed) -> None:
        """Keep what the metric needs of one batch. Raises Refusal for outputs that do not fit it."""
        kind = TASK_METRICS[self.task.metric].samples
        if kind == "classes" and not self.rows:
            self.classes = classes.classes(outputs, self.task, self.known)
        self.rows.append(REDUCE[kind](outputs, feed, self.task, self.known))

    def columns(self, labelled: LabelledSet) -> Columns:
        """The scores of each sample."""
        rows, kind = self._every(labelled), TASK_METRICS[self.task.metric].samples
        if kind == "classes":
            names = labelled.facts.get("names", ())
            classes.check(labelled.labels, self.classes, rows, self.task.classes, names)
            return classes.columns(rows, labelled.labels, self.classes, names)
        columns = embeddings.pair_columns if kind == "pairs" else embeddings.ranking_columns
        return columns(rows, labelled.labels)

    def doubts(self, labelled: LabelledSet) -> tuple[Note, ...]:
        """What suggests that the labels do not mean the classes of the reference. Raises Refusal where none can."""
        if TASK_METRICS[self.task.metric].samples != "classes":
            return ()
        return classes.doubts(self._every(labelled), labelled.labels, labelled.facts.get("names", ()))

    def _every(self, labelled: LabelledSet) -> Array:
        return np.concatenate(self.rows)[: labelled.rows]


def forward_scores(task: TaskOptions, labelled: LabelledSet) -> ForwardScores:
    """An empty collection for a set."""
    return ForwardScores(task, output_facts.from_json(labelled.facts.get("outputs", {})))


def generated_scores(
    session: Answerer, labelled: LabelledSet, task: TaskOptions, sizes: dict[str, int], stage: Callable[[], None]
) -> Columns:
    """The scores of each sample of a model that generates; `stage` is called before each batch."""
    kind = TASK_METRICS[task.metric].samples
    if kind == "text":
        return _perplexity(session, labelled, sizes["new"], stage)
    answers: list[str] = []
    for feed in labelled.feeds:
        stage()
        answers += texts.generated(session, feed, sizes["new"], labelled.facts)
    return texts.TEXTS[kind](answers[: labelled.rows], labelled.labels)


def _perplexity(session: texts.Scorer, labelled: LabelledSet, new: int, stage: Callable[[], None]) -> Columns:
    losses: list[Array] = []
    for feed in labelled.feeds:
        stage()
        ids = feed["input_ids"]
        losses.append(texts.negative_log_likelihood(session, {"input_ids": ids[:, :-new]}, ids[:, -new:]))
    every = np.concatenate(losses)[: labelled.rows]
    return {"nll": every.tolist(), "tokens": [float(new)] * len(every)}


def check_columns(columns: Columns, task: TaskOptions) -> None:
    """Raise Refusal where the metric needs a column that these samples do not have."""
    missing = [name for name in TASK_METRICS[task.metric].columns if name not in columns]
    if missing:
        message = f"the metric '{task.metric}' needs more than five classes with a score for each"
        raise Refusal("unsupported", message, 'write metric = "accuracy"', "inputs")


def frozen(columns: Columns) -> dict[str, tuple[float, ...]]:
    """Columns as records hold them."""
    return {name: tuple(values) for name, values in columns.items()}
