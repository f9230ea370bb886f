"""A gate's answer: what fails it, what leaves it open, and what is nothing to judge; an open one is never a pass."""

from __future__ import annotations

import pytest
from builders import an_outcome

from bench.gating.cells import Support, answer, paired, supported
from bench.gating.decision import CellDecision
from bench.gating.stages import null_control
from bench.gating.verdicts import too_short
from bench.records import GateCell, Interval, Note, NullControl, Pair, note

FINE = null_control(6, Interval(0.001, -0.004, 0.006), note("null-fine"), fine=True)
NOT_FINE = null_control(6, Interval(0.05, 0.03, 0.07), note("null-differs", value=0.05, low=0.03, high=0.07))
TOO_SHORT = too_short([], budget_minutes=0.1, took_s=0, screened=1)
CRASHED = note("lost-status", before="ok", after="crashed", reason="SIGSEGV")


def a_row(verdict: str) -> GateCell:
    return GateCell(f"m/fp32/cpu/{verdict}", verdict, "because")


def code(*verdicts: str, null: NullControl = FINE, too_short: Note | None = None) -> int:
    return answer([a_row(verdict) for verdict in verdicts], null, too_short).exit_code


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("pass",), 0),
        (("pass", "not-judged", "added"), 0),
        (("pass", "warning"), 0),
        (("pass", "regression"), 1),
        (("pass", "lost-support"), 1),
        (("regression", "inconclusive", "gone"), 1),
        (("pass", "inconclusive"), 3),
        (("pass", "inconclusive", "gone"), 3),
        (("pass", "gone"), 4),
        (("not-judged",), 4),
        (("not-judged", "added"), 4),
        ((), 4),
    ],
)
def test_the_exit_code_is_that_of_the_worst(verdicts, expected):
    assert code(*verdicts) == expected


def test_a_null_control_that_fails_leaves_everything_open():
    assert code("pass", null=NOT_FINE) == 3
    assert "differs by 5.0 %" in answer([a_row("pass")], NOT_FINE).sentence


def test_support_that_is_lost_fails_a_gate_however_noisy_the_machine():
    assert code("lost-support", "inconclusive", null=NOT_FINE) == 1


def test_a_time_that_was_too_short_is_no_pass_and_says_so():
    assert code("inconclusive", too_short=TOO_SHORT) == 3
    assert "too short" in answer([a_row("inconclusive")], FINE, TOO_SHORT).sentence


def test_the_sentence_counts_and_names_the_worst():
    slow, slower = (
        GateCell(f"m/fp32/cpu/{n}", "regression", "because", change=Interval(by, by, by))
        for n, by in (("b1", 0.03), ("b8", 0.12))
    )
    rows = [slow, slower, a_row("lost-support"), a_row("inconclusive"), a_row("pass")]
    assert answer(rows, FINE).sentence == (
        "regression: 2 cells slower (m/fp32/cpu/b8: +12.0%) and 1 cell lost support (m/fp32/cpu/lost-support); "
        "1 cell undecided"
    )


# --- the rows ---------------------------------------------------------------------------------------------------------


def a_decided(**said) -> CellDecision:
    healthy = {
        "verdict": "pass",
        "reasons": (note("text", text="no slowdown shown"),),
        "stage": "screen",
        "change": Interval(0.0, -0.01, 0.01),
    }
    return CellDecision(**{"cell": "m/fp32/cpu/b1", **healthy, "pairs": 2, "detectable": 0.02, **said})


def test_a_row_has_the_typical_call_of_each_side_and_no_null_pair_in_it():
    pairs = [
        Pair("m/fp32/cpu/b1", "screen", 1, "now", 0.0, (10.0, 12.0), (20.0, 22.0), seconds=3.0),
        Pair("m/fp32/cpu/b1", "null", 1, "now", 0.0, (99.0,), (99.0,), seconds=3.0),
        Pair("other/fp32/cpu/b1", "screen", 1, "now", 0.0, (77.0,), (77.0,), seconds=3.0),
    ]
    row = paired(a_decided(), pairs)
    assert (row.base_ms.value, row.new_ms.value, row.seconds) == (pytest.approx(11.0), pytest.approx(21.0), 3.0)
    assert (row.verdict, row.pairs, row.detectable) == ("pass", 2, 0.02)


def test_lost_support_outranks_the_speed():
    row = supported(paired(a_decided(), []), Support(CRASHED), an_outcome(), an_outcome())
    assert (row.verdict, row.stage, row.reason) == ("lost-support", "support", "was ok, is crashed: SIGSEGV")


def test_support_that_the_base_lost_too_is_inconclusive():
    lost = Support(note("lost-status", before="ok", after="unavailable", reason="no device"), blamed=False)
    row = supported(paired(a_decided(), []), lost, an_outcome(), an_outcome())
    assert row.verdict == "inconclusive"
    assert "the base has the same problem today" in row.reason


def test_a_row_says_what_both_sides_came_to():
    row = supported(paired(a_decided(), []), Support(), an_outcome(status="partial"), an_outcome(status="ok"))
    assert (row.base_status, row.new_status, row.verdict) == ("partial", "ok", "pass")


def test_a_side_that_failed_in_a_pair_is_named_in_the_reason():
    pairs = [Pair("m/fp32/cpu/b1", "screen", 1, "now", None, failure="base: the process died of SIGSEGV")]
    row = paired(
        a_decided(verdict="inconclusive", reasons=(note("pairs-missing", pairs=0, wanted=2, stage="screening"),)), pairs
    )
    assert row.reason == "only 0 of 2 screening pairs could be made; base: the process died of SIGSEGV"
    assert [fact.kind for fact in row.reason_facts] == ["pairs-missing", "text"]


def test_a_cell_of_which_nothing_was_seen_has_lost_nothing():
    row = supported(paired(a_decided(verdict="inconclusive"), []), Support(), an_outcome(), None)
    assert (row.verdict, row.new_status) == ("inconclusive", None)
