"""Lists the task metrics of labelled samples: what each is made of, and how its loss against FP32 is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Samples = Literal["classes", "pairs", "rankings", "answers", "speech", "text"]
"""What a labelled set holds: samples with a class, pairs of sentences with a score, queries with ranked documents,
prompts with answers, clips with transcripts, or a text, which is its own label."""


@dataclass(frozen=True)
class TaskMetric:
    """One metric of a labelled set."""

    name: str
    title: str
    """Its name in a sentence."""
    samples: Samples
    reduction: Literal["mean", "ratio", "f1", "spearman", "perplexity"]
    """How the values of the samples become the metric: their mean; the sum of the first column over that of the
    second; macro F1 or Spearman's correlation of two columns; or the exponential of such a ratio."""
    columns: tuple[str, ...]
    """The columns of a sample's scores that it is computed from."""
    lower_is_better: bool = False
    binary: bool = False
    """Whether each sample is right or wrong."""

    @property
    def unit(self) -> str:
        """The unit of its loss: points are hundredths of the metric; a perplexity grows by percent."""
        return "%" if self.reduction == "perplexity" else "points"


TASK_METRICS: dict[str, TaskMetric] = {
    metric.name: metric
    for metric in (
        TaskMetric("accuracy", "accuracy", "classes", "mean", ("right",), binary=True),
        TaskMetric("top5", "top-5 accuracy", "classes", "mean", ("in_top5",), binary=True),
        TaskMetric("f1", "macro F1", "classes", "f1", ("label", "predicted")),
        TaskMetric("spearman", "Spearman correlation", "pairs", "spearman", ("label", "similarity")),
        TaskMetric("ndcg", "nDCG@10", "rankings", "mean", ("ndcg",)),
        TaskMetric("exact-match", "exact match", "answers", "mean", ("exact",), binary=True),
        TaskMetric("token-f1", "token F1", "answers", "mean", ("token_f1",)),
        TaskMetric("wer", "word error rate", "speech", "ratio", ("edits", "words"), lower_is_better=True),
        TaskMetric("perplexity", "perplexity", "text", "perplexity", ("nll", "tokens"), lower_is_better=True),
    )
}
"""Every metric by the name that a matrix gives it. The first of a kind of samples is its default.

A new metric is a row here, a column of its samples in `bench/worker/labelled/`, and for a new reduction a function in
`bench/judge/task_values.py`.
"""


def default_metric(samples: str) -> str:
    """The metric of a kind of samples where the matrix names none."""
    return next(name for name, metric in TASK_METRICS.items() if metric.samples == samples)
