"""The task metric of a cell in words and figures: its value, its loss against FP32, and what its samples can show."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Outcome, TaskResult
from bench.report import numbers, text_notes
from bench.shared.task_metrics import TASK_METRICS

HOW_TO_READ = (
    "Labelled samples, each run once outside of all timed parts, and compared sample by sample with FP32. Loss: above "
    "0 is worse than FP32, in points (hundredths of the metric), of a perplexity in percent; with its 95 % interval."
)


class TaskRow(NamedTuple):
    """The row of a table."""

    metric: str
    value: str
    reference: str
    loss: str
    samples: str
    remark: str
    """Why there is no value, or how many samples would show half a point."""


def row(outcome: Outcome) -> TaskRow:
    """The row of one cell that has labelled samples."""
    task = outcome.task
    assert task is not None
    return TaskRow(
        metric=title(task.metric),
        value=figure(task.metric, task.value),
        reference=figure(task.metric, task.reference),
        loss=loss(task),
        samples=numbers.count(task.samples),
        remark=remark(task),
    )


def title(metric: str) -> str:
    """The name of a metric in a sentence; one of another version as it is."""
    known = TASK_METRICS.get(metric)
    return known.title if known else metric


def shown(value: float, outcome: Outcome) -> str:
    """A value of the outcome's metric, as `figure` writes it."""
    return figure(outcome.task.metric if outcome.task else "", value)


def shown_loss(outcome: Outcome) -> str:
    """The loss of an outcome; a dash without labelled samples."""
    return loss(outcome.task) if outcome.task else numbers.DASH


def figure(metric: str, value: float | None) -> str:
    """`84.4 %`, or `12.31` of a perplexity and a correlation; a dash where there is none."""
    if value is None:
        return numbers.DASH
    known = TASK_METRICS.get(metric)
    if known is None or known.reduction in ("perplexity", "spearman"):
        return numbers.significant(value, 4)
    return f"{numbers.significant(100 * value)} %"


def loss(task: TaskResult) -> str:
    """`+0.8 points (-0.4 to 2.1)`; a dash without a value."""
    unit = TASK_METRICS[task.metric].unit if task.metric in TASK_METRICS else ""
    return numbers.signed(task.loss, unit) if task.value is not None else numbers.DASH


def remark(task: TaskResult) -> str:
    """Why there is no value, or whether the samples can show half a point, and notes on their labels."""
    return "; ".join(filter(None, [_verdict(task), *map(text_notes.say, task.notes)]))


def _verdict(task: TaskResult) -> str:
    if task.fault is not None:
        return text_notes.say(task.fault)
    if task.loss is None:
        return "one sample has no interval"
    if task.needed is None:
        return "every sample is scored as in FP32"
    if task.needed <= task.samples:
        return ""
    effect = "0.5 %" if TASK_METRICS[task.metric].unit == "%" else "half a point"
    return f"about {numbers.count(rounded(task.needed))} samples would show {effect}; there are {task.samples:,}"


def rounded(count: int) -> int:
    """A number of samples with two figures: it is an estimate."""
    return int(float(f"{count:.1e}"))
