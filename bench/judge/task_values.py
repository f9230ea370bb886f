"""Computes a task metric from the scores of its samples, and its loss against other scores of the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge import paired_loss
from bench.judge.paired_loss import PairedLoss
from bench.records import Interval
from bench.shared.task_metrics import TASK_METRICS, TaskMetric

Columns = Mapping[str, Sequence[float]]
Values = NDArray[np.float64]
LARGEST = 2.0**53
MOST_LOGARITHM = 700.0
"""Beyond it, a perplexity is no number of a computer."""
HALF_A_POINT = 0.005
"""The loss that a set should show: half a hundredth of a metric, or 0.5 % of a perplexity."""


def has_columns(metric: str, columns: Columns) -> bool:
    """Whether the scores have what the metric is computed from, at least one sample, and only finite values."""
    known = TASK_METRICS.get(metric)
    if known is None or any(not columns.get(name) for name in known.columns):
        return False
    if len({len(columns[name]) for name in known.columns}) > 1:
        return False
    # No count, class or score is larger, and sums of these are finite.
    return all(abs(value) <= LARGEST for name in known.columns for value in columns[name])


def value(metric: str, columns: Columns) -> float:
    """The metric of these scores."""
    known = TASK_METRICS[metric]
    return VALUES[known.reduction](*_arrays(known, columns))


def paired(metric: str, reference: Columns, ours: Columns) -> PairedLoss | None:
    """The loss against the reference as a share, of a perplexity as the logarithm of the ratio; None if not known."""
    known = TASK_METRICS[metric]
    first, second = _arrays(known, reference), _arrays(known, ours)
    if known.binary:
        return paired_loss.of_binary(first[0], second[0])
    reduce, sign = VALUES[known.reduction], 1.0 if known.lower_is_better else -1.0

    if known.reduction == "perplexity":
        # The logarithm of the ratio, without the perplexities, which may be beyond every number.
        reduce = _log_perplexity

    def loss(places: NDArray[Any]) -> float:
        before, after = (reduce(*(column[places] for column in side)) for side in (first, second))
        return sign * (after - before)

    return paired_loss.of_jackknife(loss, len(first[0]))


def shown(metric: str, loss: PairedLoss) -> Interval:
    """The loss in the unit of the metric: points, or percent of a perplexity.

    Where every sample is scored alike nothing scatters, and a jackknife gives no interval.
    """
    if loss.variance <= 0:
        return Interval(100 * loss.value, None, None)
    ends = (loss.value, loss.low, loss.high)
    if TASK_METRICS[metric].reduction == "perplexity":
        return Interval(*(100 * math.expm1(min(end, MOST_LOGARITHM)) for end in ends))
    return Interval(*(100 * end for end in ends))


def needed(metric: str, loss: PairedLoss) -> int | None:
    """The samples that would show half a point, or 0.5 % of a perplexity; None where no sample differs."""
    effect = math.log1p(HALF_A_POINT) if TASK_METRICS[metric].reduction == "perplexity" else HALF_A_POINT
    return paired_loss.needed(loss.variance, effect)


def _arrays(metric: TaskMetric, columns: Columns) -> list[Values]:
    return [np.asarray(columns[name], np.float64) for name in metric.columns]


# --- reductions -------------------------------------------------------------------------------------------------------


def _mean(column: Values) -> float:
    return float(column.mean())


def _ratio(first: Values, second: Values) -> float:
    return float(first.sum() / second.sum()) if second.sum() else math.nan


def _log_perplexity(losses: Values, tokens: Values) -> float:
    return float(losses.sum() / tokens.sum()) if tokens.sum() else math.nan


def _perplexity(losses: Values, tokens: Values) -> float:
    logarithm = _log_perplexity(losses, tokens)
    return math.exp(logarithm) if logarithm <= MOST_LOGARITHM else math.inf


def macro_f1(labels: Values, predicted: Values) -> float:
    """The mean over classes of F1; classes that are neither a label nor predicted do not count, nor does no answer."""
    right, given = labels.astype(int), predicted.astype(int)
    answered = given[given >= 0]
    # Counted by place among the classes that occur: a class may have any number.
    classes = np.unique(np.concatenate([right, answered]))
    of_right, of_given = np.searchsorted(classes, right), np.searchsorted(classes, answered)
    hits = np.bincount(of_right[right == given], minlength=len(classes))
    total = np.bincount(of_right, minlength=len(classes)) + np.bincount(of_given, minlength=len(classes))
    return float((2 * hits / total).mean())


def spearman(first: Values, second: Values) -> float:
    """Spearman's rank correlation; equal values share their mean rank. 0 where one side is constant."""
    ranks = [_ranks(side) for side in (first, second)]
    norms = math.sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1]) / norms if norms else 0.0


def _ranks(values: Values) -> Values:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: Values = middle[place] - (len(values) + 1) / 2
    return ranks


VALUES: dict[str, Callable[..., float]] = {
    "mean": _mean,
    "ratio": _ratio,
    "f1": macro_f1,
    "spearman": spearman,
    "perplexity": _perplexity,
}
"""By the reduction of a metric."""
