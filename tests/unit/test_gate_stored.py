"""Stored numbers may warn; they fail nothing under 10 %, and pass nothing that they could not have shown."""

from __future__ import annotations

import pytest

from bench.gating.rules import Rules
from bench.gating.verdicts import stored
from bench.records import note

QUIET = {n: 10.0 * (1 + 0.002 * (n % 3 - 1)) for n in range(1, 7)}


def judged(factor: float, base=QUIET, noise: float = 0.002):
    new = {n: factor * 10.0 * (1 + noise * (n % 3 - 1)) for n in range(1, 7)}
    return stored("a/b/c/d", base, new, note("text", text="its packages are gone"), Rules())


def test_no_difference_passes_and_says_that_numbers_were_stored():
    found = judged(1.0)
    assert found.verdict == "pass"
    assert found.stage == "stored"
    assert "against stored numbers, as the base cannot be run again: its packages are gone" in found.reason


@pytest.mark.parametrize("factor", [1.03, 1.08])
def test_a_slowdown_under_ten_percent_only_warns(factor):
    found = judged(factor)
    assert found.verdict == "warning"
    assert found.change.value == pytest.approx(factor - 1, abs=0.005)


def test_a_slowdown_that_is_surely_over_ten_percent_fails():
    assert judged(1.2).verdict == "regression"


def test_a_slowdown_whose_interval_reaches_below_ten_percent_does_not_fail():
    assert judged(1.13, noise=0.06).verdict != "regression"


def test_scatter_that_would_hide_ten_percent_is_no_pass():
    found = judged(1.0, noise=0.3)
    assert found.verdict == "inconclusive"
    assert "cannot be ruled out" in found.reason


def test_a_single_round_tells_nothing():
    assert stored("a/b/c/d", {1: 10.0}, {1: 10.0}, None, Rules()).verdict == "inconclusive"
    assert stored("a/b/c/d", {}, {1: 10.0}, None, Rules()).verdict == "inconclusive"


def test_what_is_faster_passes():
    assert judged(0.8).verdict == "pass"
