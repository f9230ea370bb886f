"""The loss on labelled samples: values by hand, the interval and the test against definitions computed apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from bench.judge import paired_loss, task_values


def binary(only_reference: int, only_ours: int, both: int, none: int = 0):
    """Columns of right answers of two sides, by how many samples each has right."""
    reference = [1.0] * only_reference + [0.0] * only_ours + [1.0] * both + [0.0] * none
    ours = [0.0] * only_reference + [1.0] * only_ours + [1.0] * both + [0.0] * none
    return {"right": reference}, {"right": ours}


def score_by_likelihood(first: int, second: int, count: int, delta: float) -> float:
    """The score statistic with the shares that maximize the likelihood under p1 - p2 = delta, found numerically."""

    def negative(share: float) -> float:
        shares = (share + delta, share, 1 - 2 * share - delta)
        counts = (first, second, count - first - second)
        return -sum(number * math.log(max(part, 1e-300)) for number, part in zip(counts, shares, strict=True) if number)

    low, high = max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12
    share = optimize.minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (first - second - count * delta) / math.sqrt(count * (2 * share + delta * (1 - delta)))


@pytest.mark.parametrize("table", [(5, 2, 60), (12, 3, 400), (1, 0, 30), (0, 4, 50), (30, 30, 100)])
def test_the_ends_of_the_score_interval_are_where_the_statistic_is_1_96(table: tuple[int, int, int]) -> None:
    low, high = paired_loss.score_interval(*table)
    assert low < (table[0] - table[1]) / table[2] < high
    assert score_by_likelihood(*table, low) == pytest.approx(1.96, abs=2e-3)
    assert score_by_likelihood(*table, high) == pytest.approx(-1.96, abs=2e-3)


def test_where_no_sample_differs_the_interval_is_that_of_no_event_in_as_many_samples() -> None:
    low, high = paired_loss.score_interval(0, 0, 600)
    # z² / (n + z²), the score interval of a share of which none was seen.
    assert high == pytest.approx(1.959964**2 / (600 + 1.959964**2), rel=1e-6)
    assert low == pytest.approx(-high)


def test_mid_p_is_the_upper_tail_with_half_of_the_point_itself() -> None:
    # Of 10 samples that differ, 8 are on the worse side: (45/2 + 10 + 1) / 1024.
    assert paired_loss.mid_p(8, 2) == pytest.approx((45 / 2 + 10 + 1) / 1024)
    assert paired_loss.mid_p(3, 0) == pytest.approx(0.5**3 / 2)
    assert paired_loss.mid_p(0, 0) == 1.0
    assert paired_loss.mid_p(40, 25) == pytest.approx(
        stats.binom.sf(40, 65, 0.5) + stats.binom.pmf(40, 65, 0.5) / 2, rel=1e-9
    )


def test_a_loss_of_accuracy_is_in_points_and_its_needed_samples_follow_from_those_that_differ() -> None:
    loss = task_values.paired("accuracy", *binary(6, 2, 190, 2))
    assert loss is not None
    assert task_values.shown("accuracy", loss).value == pytest.approx(2.0)
    variance = 9 / 201 - 0.02**2
    assert loss.variance == pytest.approx(variance)
    # (1.96 + 0.84)² variance / effect², the effect being half a point.
    assert task_values.needed("accuracy", loss) == math.ceil(variance * ((1.959964 + 0.841621) / 0.005) ** 2)


def test_a_small_set_without_a_difference_still_needs_more_samples() -> None:
    loss = task_values.paired("accuracy", *binary(0, 0, 30))
    assert loss is not None
    assert loss.value == 0
    assert (task_values.needed("accuracy", loss) or 0) > 5000


def test_the_jackknife_of_a_mean_is_a_paired_t_interval_in_which_the_largest_difference_counts_twice() -> None:
    rng = np.random.default_rng(3)
    reference, ours = rng.random(80), rng.random(80)
    loss = task_values.paired("ndcg", {"ndcg": reference.tolist()}, {"ndcg": ours.tolist()})
    assert loss is not None
    squares = (reference - ours - (reference - ours).mean()) ** 2
    error = math.sqrt((squares.sum() + squares.max()) / 79 / 80)
    assert loss.value == pytest.approx((reference - ours).mean())
    assert (loss.high - loss.low) / 2 == pytest.approx(stats.t.ppf(0.975, 79) * error)
    assert loss.worse == pytest.approx(stats.t.sf((reference - ours).mean() / error, 79))


def test_perplexity_is_the_exponential_of_the_mean_loss_of_a_token_and_loses_in_percent() -> None:
    reference = {"nll": (10.0, 14.0, 12.0), "tokens": (4.0, 4.0, 4.0)}
    ours = {"nll": (11.0, 14.5, 13.0), "tokens": (4.0, 4.0, 4.0)}
    assert task_values.value("perplexity", reference) == pytest.approx(math.exp(3))
    loss = task_values.paired("perplexity", reference, ours)
    assert loss is not None
    assert task_values.shown("perplexity", loss).value == pytest.approx(100 * (math.exp(2.5 / 12) - 1))


def test_a_word_error_rate_is_all_edits_over_all_words_and_a_rise_is_a_loss() -> None:
    reference = {"edits": (0.0, 1.0), "words": (4.0, 6.0)}
    ours = {"edits": (2.0, 1.0), "words": (4.0, 6.0)}
    assert task_values.value("wer", ours) == pytest.approx(0.3)
    loss = task_values.paired("wer", reference, ours)
    assert loss is not None
    assert task_values.shown("wer", loss).value == pytest.approx(20.0)


def test_macro_f1_by_hand() -> None:
    # Class 0: 2 of 3 found, 1 of 3 given is wrong: F1 4/6. Class 1: 1 of 2, 2 given: 2/4. Class 2 is given once: 0.
    labels, predicted = np.array([0, 0, 0, 1, 1.0]), np.array([0, 0, 1, 1, 2.0])
    assert task_values.macro_f1(labels, predicted) == pytest.approx((2 * 2 / 5 + 2 * 1 / 4 + 0) / 3)
    # No answer is a class that is missed, and no class of its own.
    assert task_values.macro_f1(np.array([0.0, 1.0]), np.array([0.0, -1.0])) == pytest.approx((1 + 0) / 2)


def test_spearman_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 6, 50).astype(float), rng.standard_normal(50)
    assert task_values.spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert task_values.spearman(first, np.zeros(50)) == 0


def test_one_sample_has_no_interval() -> None:
    assert task_values.paired("ndcg", {"ndcg": (0.5,)}, {"ndcg": (0.4,)}) is None
