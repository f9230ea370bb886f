"""A gate on labelled samples: the paired test, the limit, what cannot be compared, and the exit code."""

from __future__ import annotations

import random

from a_gate import a_gate_cell
from builders import a_failure

from bench.gating import text
from bench.gating.cells import REGRESSION, answer
from bench.gating.rules import Rules
from bench.gating.stages import null_control
from bench.gating.task_loss import TaskDecision, TaskPair, decide, judged
from bench.records import GateCell, TaskScores, note

CELL = "clf/int8/cpu/b1"
FINE = null_control(6, None, note("null-fine"), fine=True)


def scores(right: list[float], digest: str = "d1") -> TaskScores:
    return TaskScores("accuracy", digest, {"right": tuple(right)})


BASE = scores([1.0] * 900 + [0.0] * 100)
WORSE = scores([0.0] * 40 + [1.0] * 865 + [0.0] * 95)
"""Forty samples are lost, and five are won: 3.5 points."""
FAILED = TaskScores("accuracy", "d1", failure=a_failure("crashed", message="signal 11"))


def decision(pair: TaskPair, **rules: float) -> TaskDecision:
    return decide({CELL: pair}, Rules(**rules))[CELL]


def row(pair: TaskPair, **said: object) -> GateCell:
    return judged(a_gate_cell(CELL, **said), decision(pair))


def test_a_certain_loss_above_the_limit_fails_with_figures_in_the_sentence():
    found = row(TaskPair(BASE, BASE, WORSE))
    assert (found.verdict, found.stage) == ("worse-answers", "labels")
    assert found.reason.startswith("worse answers: accuracy 86.5 %, 90.0 % in the base, loss +3.5 points (2.")
    assert found.reason.endswith("on 1,000 labelled samples")
    result = answer([found, a_gate_cell()], FINE)
    assert result.exit_code == REGRESSION
    assert "1 cell with worse answers (clf/int8/cpu/b1)" in result.sentence


def test_nothing_changed_passes_and_says_what_its_samples_can_show():
    found = row(TaskPair(BASE, BASE, BASE))
    assert found.verdict == "pass"
    assert "accuracy 90.0 %, 90.0 % in the base, loss 0.0 points" in found.notes[-1]
    small = scores([1.0] * 30)
    assert "samples would show half a point; there are 30" in row(TaskPair(small, small, small)).notes[-1]


def test_a_gain_passes():
    assert row(TaskPair(WORSE, WORSE, BASE)).verdict == "pass"


def test_the_limit_is_the_users():
    assert decision(TaskPair(BASE, BASE, WORSE), task_loss=4.0).verdict is None
    assert decision(TaskPair(BASE, BASE, WORSE), task_loss=3.0).verdict == "worse-answers"
    # A certain loss of 0.4 points is below the half that is allowed by default.
    slightly = scores([0.0] * 40 + [1.0] * 8960 + [0.0] * 1000)
    most = scores([1.0] * 9000 + [0.0] * 1000)
    assert decision(TaskPair(most, most, slightly)).verdict is None
    assert decision(TaskPair(most, most, slightly), task_loss=0.3).verdict == "worse-answers"


def test_a_loss_that_chance_explains_is_a_doubt_and_no_failure():
    unsure = scores([0.0] * 6 + [1.0] * 24 + [0.0] * 70)
    before = scores([1.0] * 28 + [0.0] * 2 + [0.0] * 70)
    found = row(TaskPair(before, before, unsure))
    assert found.verdict == "inconclusive"
    assert "perhaps worse answers" in found.reason
    assert found.remedy.startswith("give about ")


def test_many_cells_share_the_probability_of_a_false_alarm():
    # Ten of twelve differing samples are worse: p = 0.011 alone, and not below 0.005.
    nearly = scores([0.0] * 10 + [1.0] * 892 + [0.0] * 98)
    pairs = {f"clf/int8/t{number}/b1": TaskPair(BASE, BASE, nearly) for number in range(20)}
    assert {found.verdict for found in decide(pairs, Rules()).values()} == {"inconclusive"}
    # Beside nineteen cells without a change, a cell needs more evidence than alone.
    alone = scores([0.0] * 9 + [1.0] * 891 + [0.0] * 100)
    assert decision(TaskPair(BASE, BASE, alone)).verdict == "worse-answers"
    others = {f"clf/int8/t{number}/b1": TaskPair(BASE, BASE, BASE) for number in range(19)}
    assert decide({CELL: TaskPair(BASE, BASE, alone), **others}, Rules())[CELL].verdict == "inconclusive"


def test_the_order_of_samples_is_what_pairs_them():
    shuffled = list(BASE.columns["right"])
    random.Random(1).shuffle(shuffled)
    # As many are right, and none of them is lost on balance.
    found = decision(TaskPair(BASE, BASE, scores(shuffled)))
    assert found.verdict is None
    assert found.result is not None
    assert found.result.loss is not None
    assert found.result.loss.high - found.result.loss.low > 2


def test_recorded_scores_stand_in_for_a_base_that_was_not_run_again():
    assert decision(TaskPair(BASE, None, WORSE)).verdict == "worse-answers"
    # The samples have changed since: the base of today has the new ones.
    other = scores(list(BASE.columns["right"]), "d2")
    worse = scores(list(WORSE.columns["right"]), "d2")
    assert decision(TaskPair(BASE, other, worse)).verdict == "worse-answers"
    assert decision(TaskPair(BASE, FAILED, WORSE)).verdict == "worse-answers"


def test_other_samples_are_not_comparable():
    found = row(TaskPair(BASE, None, scores([1.0] * 1000, "d2")))
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("not comparable: the labelled samples or their metric are others than the base's")
    assert found.remedy == "record a new baseline"


def test_labels_that_are_gone_never_pass():
    found = row(TaskPair(BASE, None, None))
    assert (found.verdict, found.remedy) == ("inconclusive", "record a new baseline")
    assert "the new matrix has none" in found.reason


def test_a_base_without_labels_gives_no_reason_to_fail():
    assert decision(TaskPair(None, None, WORSE)).verdict is None
    assert decision(TaskPair(FAILED, FAILED, FAILED)).verdict is None


def test_samples_that_only_the_new_side_cannot_run_are_lost_support():
    found = row(TaskPair(BASE, BASE, FAILED))
    assert found.verdict == "lost-support"
    assert "could be in the base: signal 11" in found.reason


def test_lost_support_outranks_the_samples_and_they_outrank_speed():
    assert row(TaskPair(BASE, BASE, WORSE), verdict="lost-support").verdict == "lost-support"
    slower = row(TaskPair(BASE, BASE, WORSE), verdict="regression", reason_facts=(note("null-fine"),))
    assert slower.verdict == "worse-answers"
    assert slower.reason.endswith(f"; {text.say(note('null-fine'))}")
    unsure = row(TaskPair(BASE, None, scores([1.0] * 1000, "d2")), verdict="regression")
    assert unsure.verdict == "regression"


def test_a_perplexity_loses_in_percent():
    before = TaskScores("perplexity", "d", {"nll": tuple(16.0 + n % 5 for n in range(60)), "tokens": (8.0,) * 60})
    after = TaskScores(
        "perplexity", "d", {"nll": tuple(16.2 + n % 5 + (n % 7) / 50 for n in range(60)), "tokens": (8.0,) * 60}
    )
    found = row(TaskPair(before, before, after))
    assert found.verdict == "worse-answers"
    assert "perplexity" in found.reason
    assert " % (" in found.reason
