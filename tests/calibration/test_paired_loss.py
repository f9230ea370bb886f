"""Simulated labelled sets: the intervals of a loss cover the truth, and the gate's test rarely cries wolf."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from bench.gating.rules import RULES
from bench.gating.task_loss import TaskPair, decide
from bench.judge import task_values
from bench.records import TaskScores

SETS = 1000
Columns = dict[str, list[float]]


def right_or_wrong(rng: Generator, count: int, only_reference: float, only_ours: float) -> tuple[Columns, Columns]:
    """Two classifiers that disagree on some samples, at these rates."""
    kind = rng.random(count)
    reference = np.where(kind < only_reference, 1.0, np.where(kind < only_reference + only_ours, 0.0, kind < 0.85))
    ours = np.where(kind < only_reference, 0.0, np.where(kind < only_reference + only_ours, 1.0, kind < 0.85))
    return {"right": reference.tolist()}, {"right": ours.tolist()}


@pytest.mark.parametrize(
    ("count", "only_reference", "only_ours"), [(100, 0.03, 0.03), (300, 0.04, 0.02), (1000, 0.01, 0.005)]
)
def test_the_interval_of_paired_shares_covers(count: int, only_reference: float, only_ours: float) -> None:
    rng, truth = np.random.default_rng(count), only_reference - only_ours
    losses = [
        task_values.paired("accuracy", *right_or_wrong(rng, count, only_reference, only_ours)) for _ in range(SETS)
    ]
    covered = sum(loss is not None and loss.low <= truth <= loss.high for loss in losses) / SETS
    assert 0.93 <= covered <= 0.97


def perplexities(rng: Generator) -> tuple[str, Columns, Columns, float]:
    """60 windows of 32 tokens; the harder a window is, the more is lost in it: 2 % on average."""
    reference = 32 * rng.gamma(9.0, 0.33, 60)
    ours = reference + 32 * (0.02 + 0.05 * rng.standard_normal(60))
    tokens = [32.0] * 60
    return "perplexity", {"nll": reference.tolist(), "tokens": tokens}, {"nll": ours.tolist(), "tokens": tokens}, 0.02


def word_errors(rng: Generator) -> tuple[str, Columns, Columns, float]:
    """80 clips of 5 to 25 words: 10 % of the words are wrong, and 12 % of ours."""
    words = rng.integers(5, 26, 80)
    reference = rng.binomial(words, 0.10)
    ours = reference + rng.binomial(words - reference, 0.02 / 0.9)
    as_columns = [{"edits": edits.tolist(), "words": words.tolist()} for edits in (reference, ours)]
    return "wer", as_columns[0], as_columns[1], 0.02


def rankings(rng: Generator) -> tuple[str, Columns, Columns, float]:
    """100 queries, most of which are answered alike: a tenth loses a fifth of its nDCG."""
    reference = rng.beta(5, 2, 100)
    hit = rng.random(100) < 0.1
    ours = reference - hit * rng.uniform(0, 0.4, 100)
    return "ndcg", {"ndcg": reference.tolist()}, {"ndcg": ours.tolist()}, 0.02


@pytest.mark.parametrize("make", [perplexities, word_errors, rankings])
def test_the_jackknife_covers(make: Callable[[Generator], tuple[str, Columns, Columns, float]]) -> None:
    rng = np.random.default_rng(7)
    covered, sets = 0, 600
    for _ in range(sets):
        metric, reference, ours, truth = make(rng)
        loss = task_values.paired(metric, reference, ours)
        covered += loss is not None and loss.low <= truth <= loss.high
    assert 0.93 <= covered / sets <= 0.97


def correlations(rng: Generator, count: int, noise: float) -> tuple[Columns, Columns]:
    truth = rng.standard_normal(count)
    reference = truth + 0.6 * rng.standard_normal(count)
    ours = reference + noise * rng.standard_normal(count)
    return (
        {"label": truth.tolist(), "similarity": reference.tolist()},
        {"label": truth.tolist(), "similarity": ours.tolist()},
    )


def test_the_jackknife_covers_a_loss_of_spearmans_correlation() -> None:
    rng = np.random.default_rng(11)
    # The truth from a set so large that its own error is far below the intervals.
    reference, ours = correlations(rng, 400_000, 0.4)
    truth = task_values.value("spearman", reference) - task_values.value("spearman", ours)
    losses = [task_values.paired("spearman", *correlations(rng, 100, 0.4)) for _ in range(250)]
    covered = sum(loss is not None and loss.low <= truth <= loss.high for loss in losses) / 250
    # 250 sets have a standard error of 1.4 %.
    assert 0.92 <= covered <= 0.985


def labelled(rng: Generator, only_reference: float, only_ours: float) -> TaskPair:
    base, new = right_or_wrong(rng, 1000, only_reference, only_ours)
    sides = [TaskScores("accuracy", "d", {"right": tuple(side["right"])}) for side in (base, new)]
    return TaskPair(None, sides[0], sides[1])


def failed(pairs: dict[str, TaskPair]) -> int:
    return sum(decision.verdict == "worse-answers" for decision in decide(pairs, RULES).values())


def test_a_gate_of_twenty_cells_in_which_only_chance_differs_does_not_fail() -> None:
    """Another kernel turns 1 % of the answers either way."""
    rng = np.random.default_rng(13)
    alarms = sum(failed({f"m/p/t{n}/b1": labelled(rng, 0.005, 0.005) for n in range(20)}) > 0 for _ in range(100))
    # 0.5 are expected, and more than 3 have a probability of 0.2 %.
    assert alarms <= 3


def test_a_loss_of_three_points_on_a_thousand_samples_fails() -> None:
    rng = np.random.default_rng(17)
    found = sum(failed({"m/p/t/b1": labelled(rng, 0.04, 0.01)}) for _ in range(200))
    assert found / 200 >= 0.95
