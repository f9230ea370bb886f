"""What stands in which table."""

from __future__ import annotations

from a_report import a_cell, a_report, a_run, a_speed, an_interval, an_outcome
from msgspec.structs import replace

from bench.records import Failure
from bench.report import grid
from bench.report.grid import summary

SECOND = {"workload": "b8-s128", "sizes": {"batch": 8, "sequence": 128}}


def test_a_box_has_a_headline_where_its_workloads_agree() -> None:
    report = a_report(an_outcome(), an_outcome(a_cell(**SECOND)))
    (row,) = report.sheets[0].rows
    assert row.boxes[0].tally == (("ok", 2),)
    assert row.boxes[0].headline is report.sheets[0].outcomes[0]


def test_a_box_has_no_headline_where_they_do_not() -> None:
    report = a_report(an_outcome(), an_outcome(a_cell(**SECOND), status="crashed", reason="session: SIGSEGV"))
    (row,) = report.sheets[0].rows
    assert row.boxes[0].tally == (("ok", 1), ("crashed", 1))
    assert row.boxes[0].headline is None


def test_an_inaccurate_box_shows_no_speed() -> None:
    report = a_report(an_outcome(status="inaccurate", reason="cosine 0.8 is below 0.98"))
    assert report.sheets[0].rows[0].boxes[0].headline is None


def test_rows_and_columns_follow_the_plan_and_not_the_order_of_arrival() -> None:
    cells = [a_cell(target="cpu"), a_cell(target="webgpu"), a_cell(precision="fp16", target="cpu")]
    outcomes = [an_outcome(cell) for cell in cells]
    sheet = grid.build([(a_run(tuple(cells)), outcomes[::-1])]).sheets[0]
    assert sheet.targets == ("cpu", "webgpu")
    assert [row.precision for row in sheet.rows] == ["int8", "fp16"]
    assert not sheet.rows[1].boxes[1].planned


def test_a_planned_cell_without_an_outcome_is_not_reached() -> None:
    cells = (a_cell(), a_cell(target="webgpu"))
    sheet = grid.build([(a_run(cells), [an_outcome()])]).sheets[0]
    assert sheet.unreached == (cells[1],)
    assert sheet.rows[0].boxes[1].unreached == (cells[1],)
    assert summary(sheet).ok == "1 of 2 cells ok"
    assert summary(sheet).others == "1 not reached"


def test_random_weights_outweigh_pretrained_ones() -> None:
    report = a_report(an_outcome(), an_outcome(a_cell(**SECOND), weights="random"))
    assert report.sheets[0].rows[0].weights == "random"
    assert report.sheets[0].models[0].weights == "random"


def test_cells_with_one_story_are_told_once_and_the_worst_comes_first() -> None:
    failure = Failure("crashed", "session", "signal", "Segmentation fault", exit_code=-11, signal="SIGSEGV")
    crash = {"status": "crashed", "reason": "session: Segmentation fault", "failure": failure}
    report = a_report(
        an_outcome(a_cell(target="cuda"), status="unavailable", reason="no CUDA"),
        an_outcome(a_cell(target="qnn"), **crash),
        an_outcome(a_cell(target="qnn", **SECOND), **crash),
        an_outcome(),
    )
    told = [(trouble.status, len(trouble.outcomes)) for trouble in report.sheets[0].troubles]
    assert told == [("crashed", 2), ("unavailable", 1)]


def test_two_exit_codes_are_two_stories() -> None:
    failures = [Failure("failed", "session", "exit", "died", exit_code=code) for code in (1, 3)]
    cells = [a_cell(target="qnn"), a_cell(target="webgpu")]
    outcomes = [
        an_outcome(cell, status="failed", reason="session: died", failure=failure)
        for cell, failure in zip(cells, failures, strict=True)
    ]
    assert len(a_report(*outcomes).sheets[0].troubles) == 2


def test_the_summary_states_what_a_typical_cell_and_the_noisiest_can_resolve() -> None:
    cells = [a_cell(target=name) for name in "abc"]
    figures = (0.02, 0.03, 0.14)
    outcomes = [an_outcome(cell, speed=a_speed(resolvable=figure)) for cell, figure in zip(cells, figures, strict=True)]
    said = summary(a_report(*outcomes).sheets[0]).resolution
    assert "under 3 % cannot be told apart" in said
    assert "under 14 % in the noisiest cell" in said


def test_a_run_that_is_too_noisy_for_percents_says_so_in_factors() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=38.0)))
    assert "Differences under a factor of 39 cannot" in summary(report.sheets[0]).resolution
    report = a_report(an_outcome(speed=a_speed(resolvable=1.4e14)))
    assert "Differences under a factor of 1,000 and more cannot" in summary(report.sheets[0]).resolution


def test_without_rounds_enough_the_summary_claims_nothing() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=None)))
    assert summary(report.sheets[0]).resolution == "Which differences are real cannot be told from this run."


def test_runs_are_compared_by_ratios_to_one_control_only() -> None:
    other_control = a_speed(control="minilm/fp32/cpu/b1-s128")
    runs = [
        (a_run((a_cell(),), name="first"), [an_outcome()]),
        (a_run((a_cell(),), name="second"), [an_outcome(speed=a_speed(ratio_to_control=an_interval(2.5)))]),
        (a_run((a_cell(),), name="third"), [an_outcome(speed=other_control)]),
    ]
    same, other = grid.build(runs).across
    assert [ratio and ratio.value for ratio in same.ratios] == [1.83, 2.5, None]
    assert [ratio and ratio.value for ratio in other.ratios] == [None, None, 1.83]


def test_one_run_has_nothing_to_compare_across() -> None:
    assert a_report(an_outcome()).across == ()


def test_the_control_is_not_compared_with_itself() -> None:
    cell = a_cell(control=True)
    speed = a_speed(control=cell.id, ratio_to_control=an_interval(1, 0))
    run = a_run((cell,))
    outcomes = [an_outcome(cell, speed=speed)]
    assert grid.build([(run, outcomes), (replace(run, name="again"), outcomes)]).across == ()
