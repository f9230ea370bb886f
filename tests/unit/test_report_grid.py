"""What stands in which table."""

from __future__ import annotations

from a_report import a_cell, a_report, a_run, a_speed, an_interval, an_outcome
from msgspec.structs import replace

from bench.records import Failure, Placement, note
from bench.report import model as grid
from bench.report.model import summary
from bench.report.renderers import html

SECOND = {"workload": "b8-s128", "sizes": {"batch": 8, "sequence": 128}}


def test_a_box_has_a_headline_where_its_workloads_agree() -> None:
    report = a_report(an_outcome(), an_outcome(a_cell(**SECOND)))
    (row,) = report.sheets[0].rows
    assert row.entries[0].tally == (("ok", 2),)
    assert row.entries[0].headline is report.sheets[0].outcomes[0]


def test_a_box_has_no_headline_where_they_do_not() -> None:
    report = a_report(an_outcome(), an_outcome(a_cell(**SECOND), status="crashed", reason="session: SIGSEGV"))
    (row,) = report.sheets[0].rows
    assert row.entries[0].tally == (("ok", 1), ("crashed", 1))
    assert row.entries[0].headline is None


def test_an_inaccurate_box_shows_no_speed() -> None:
    report = a_report(an_outcome(status="inaccurate", reason="cosine 0.8 is below 0.98"))
    assert report.sheets[0].rows[0].entries[0].headline is None


def test_rows_and_columns_follow_the_plan_and_not_the_order_of_arrival() -> None:
    cells = [a_cell(target="cpu"), a_cell(target="webgpu"), a_cell(precision="fp16", target="cpu")]
    outcomes = [an_outcome(cell) for cell in cells]
    sheet = grid.build([(a_run(tuple(cells)), outcomes[::-1])]).sheets[0]
    assert [target.name for target in sheet.columns] == ["cpu", "webgpu"]
    assert [row.precision for row in sheet.rows] == ["int8", "fp16"]
    assert not sheet.rows[1].entries[1].planned


def test_a_planned_cell_without_an_outcome_is_not_reached() -> None:
    cells = (a_cell(), a_cell(target="webgpu"))
    sheet = grid.build([(a_run(cells), [an_outcome()])]).sheets[0]
    assert sheet.unreached == (cells[1],)
    assert sheet.rows[0].entries[1].unreached == (cells[1],)
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
    told = [(problem.status, len(problem.outcomes)) for problem in report.sheets[0].problems]
    assert told == [("crashed", 2), ("unavailable", 1)]


def test_two_exit_codes_are_two_stories() -> None:
    failures = [Failure("failed", "session", "exit", "died", exit_code=code) for code in (1, 3)]
    cells = [a_cell(target="qnn"), a_cell(target="webgpu")]
    outcomes = [
        an_outcome(cell, status="failed", reason="session: died", failure=failure)
        for cell, failure in zip(cells, failures, strict=True)
    ]
    assert len(a_report(*outcomes).sheets[0].problems) == 2


AWAY = Failure("unavailable", "target", "no-device", "no GPU answers")
MISSING = {"status": "unavailable", "reason": "no GPU answers", "failure": AWAY}


def test_a_missing_target_is_one_story_for_all_of_its_cells_and_another_missing_target_another() -> None:
    cells = [a_cell(target=name, precision=precision) for precision in ("fp32", "int8") for name in ("cuda", "dml")]
    told = a_report(an_outcome(), *(an_outcome(cell, **MISSING) for cell in cells)).sheets[0].problems
    assert [(problem.target, len(problem.outcomes)) for problem in told] == [("cuda", 2), ("dml", 2)]


def test_a_missing_target_has_no_column_and_is_named_as_absent() -> None:
    out = a_cell(target="cuda", precision="int4", excluded="no int4")
    gone = [an_outcome(a_cell(target="cuda"), **MISSING), an_outcome(out, status="excluded", reason="no int4")]
    sheet = a_report(an_outcome(), *gone).sheets[0]
    assert [target.name for target in sheet.columns] == ["cpu"]
    assert [len(row.entries) for row in sheet.rows] == [1, 1]
    assert [(target.name, target.cells, target.message) for target in sheet.absent] == [("cuda", 2, "no GPU answers")]


def test_a_target_of_which_one_cell_ran_or_was_not_reached_keeps_its_column() -> None:
    missing, other = an_outcome(a_cell(target="cuda"), **MISSING), a_cell(target="cuda", **SECOND)
    ran = a_report(missing, an_outcome(other)).sheets[0]
    unreached = grid.build([(a_run((missing.cell, other)), [missing])]).sheets[0]
    assert [sheet.absent for sheet in (ran, unreached)] == [(), ()]


def test_a_target_that_rules_keep_out_has_no_column_and_is_named_as_left_out() -> None:
    cell = a_cell(target="qnn-emulator", excluded="it takes minutes")
    sheet = a_report(an_outcome(), an_outcome(cell, status="excluded", reason="it takes minutes")).sheets[0]
    assert [target.name for target in sheet.columns] == ["cpu"]
    assert [target.name for target in sheet.excluded] == ["qnn-emulator"]
    page = html.render(grid.build([(sheet.run, sheet.outcomes)]))
    assert "qnn-emulator: left out by rules of the matrix, 1 cells" in page


def test_where_every_target_is_missing_the_matrix_shows_them_all() -> None:
    sheet = a_report(an_outcome(**MISSING)).sheets[0]
    assert [target.name for target in sheet.columns] == ["cpu"]
    assert len(sheet.rows[0].entries) == 1


def test_what_fallen_nodes_cost_in_each_workload_does_not_split_their_story() -> None:
    fallen = {"nodes": 3, "total": 17, "others": ("CPUExecutionProvider",), "ops": ("Gather x3",)}
    costs = [note("cost-elsewhere", time_share=share, copies=None) for share in (0.01, 0.09)]
    reasons = [note("fell-back", cost, **fallen) for cost in costs]
    cells = [a_cell(), a_cell(**SECOND)]
    outcomes = [an_outcome(c, status="partial", reason=reason) for c, reason in zip(cells, reasons, strict=True)]
    (both,) = a_report(*outcomes).sheets[0].problems
    assert both.reason == "3 of 17 nodes fell back to CPUExecutionProvider: Gather x3"
    (alone,) = a_report(outcomes[0]).sheets[0].problems
    assert alone.reason == "3 of 17 nodes fell back to CPUExecutionProvider: Gather x3; 1 % of the time"


def test_reasons_that_differ_in_more_than_their_cost_are_two_stories() -> None:
    cost = note("cost-elsewhere", time_share=0.01, copies=None)
    fallen = {"total": 17, "others": ("CPUExecutionProvider",), "ops": ("Gather x3",)}
    reasons = [note("fell-back", cost, nodes=nodes, **fallen) for nodes in (3, 4)]
    cells = [a_cell(), a_cell(**SECOND)]
    outcomes = [an_outcome(c, status="partial", reason=reason) for c, reason in zip(cells, reasons, strict=True)]
    assert len(a_report(*outcomes).sheets[0].problems) == 2


def test_an_error_stands_beside_a_reason_that_does_not_quote_the_whole_of_it() -> None:
    def story(message: str, text: str) -> str:
        reason = note("failed-at-stage", stage="session", text=text, times=1, rounds=1)
        failure = Failure("failed", "session", "RuntimeError", message)
        (problem,) = a_report(an_outcome(status="failed", reason=reason, failure=failure)).sheets[0].problems
        return problem.error

    assert story("no kernel", "no kernel") == ""
    assert story("no kernel\nin this build", "no kernel") == "no kernel"
    assert story("", "SIGSEGV") == ""


def test_one_row_tells_of_the_placement_of_a_session_and_a_profiled_one_is_preferred() -> None:
    nodes = {"CPUExecutionProvider": {"Add": 1}}
    plain, profiled = Placement(nodes, "assignment-info"), Placement(nodes, "assignment-info", 8, 0.25)
    second = a_cell(**SECOND)
    report = a_report(an_outcome(placement=plain), an_outcome(second, placement=profiled))
    assert [outcome.cell.workload for outcome in report.sheets[0].placed] == ["b8-s128"]
    report = a_report(an_outcome(placement=plain), an_outcome(second, placement=plain))
    assert [outcome.cell.workload for outcome in report.sheets[0].placed] == ["b1-s128"]


def test_an_emulated_cell_is_in_no_table_of_speeds_and_in_the_one_of_answers() -> None:
    emulated = an_outcome(a_cell(target="qnn", emulated=True), speed=a_speed(resolvable=0.5), energy_j=1.0)
    sheet = a_report(an_outcome(), emulated).sheets[0]
    (model,) = sheet.models
    assert [outcome.cell.target for outcome in model.outcomes] == ["cpu"]
    assert [outcome.cell.target for outcome in model.checked] == ["cpu", "qnn"]
    assert [outcome.speed for outcome in model.emulated] == [None]
    assert sheet.rows[0].entries[1].headline is None
    assert sheet.emulator_times[emulated.cell.id].speed == emulated.speed
    assert summary(sheet).resolution == summary(a_report(an_outcome()).sheets[0]).resolution


def test_an_emulated_cell_is_not_compared_across_runs_whatever_a_file_claims() -> None:
    emulated = an_outcome(a_cell(emulated=True))
    run = a_run((emulated.cell,))
    assert grid.build([(run, [emulated]), (replace(run, name="again"), [emulated])]).across == ()


def test_an_emulator_without_right_answers_has_no_time_at_all() -> None:
    wrong = an_outcome(a_cell(emulated=True), status="inaccurate", reason="cosine 0.8 is below 0.98")
    assert a_report(wrong).sheets[0].emulator_times == {}


def test_the_summary_states_what_a_typical_cell_and_the_noisiest_can_resolve() -> None:
    cells = [a_cell(target=name) for name in "abc"]
    figures = (0.02, 0.03, 0.14)
    outcomes = [an_outcome(cell, speed=a_speed(resolvable=figure)) for cell, figure in zip(cells, figures, strict=True)]
    said = summary(a_report(*outcomes).sheets[0]).resolution
    assert "under 3 % cannot be distinguished" in said
    assert "under 14 % in the noisiest cell" in said


def test_a_run_that_is_too_noisy_for_percents_says_so_in_factors() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=38.0)))
    assert "Differences under a factor of 39 cannot" in summary(report.sheets[0]).resolution
    report = a_report(an_outcome(speed=a_speed(resolvable=1.4e14)))
    assert "Differences under a factor of 1,000 and more cannot" in summary(report.sheets[0]).resolution


def test_without_rounds_enough_the_summary_claims_nothing() -> None:
    report = a_report(an_outcome(speed=a_speed(resolvable=None)))
    assert summary(report.sheets[0]).resolution == "This run cannot show which differences are real."


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


def test_a_row_that_rules_keep_out_altogether_is_named_and_not_shown():
    cells = [a_cell(model=model, precision=p) for model in ("minilm", "qwen") for p in ("fp32", "int4")]
    status = {"minilm/fp32": "ok"}
    found = [an_outcome(c, status=status.get(f"{c.model}/{c.precision}", "excluded")) for c in cells]
    sheet = grid.build([(a_run(tuple(cells)), found)]).sheets[0]
    assert [(row.model, row.precision) for row in sheet.rows] == [("minilm", "fp32")]
    assert sheet.excluded_rows == ("minilm int4", "qwen")
    assert summary(sheet).ok == "1 of 1 cells ok"
    assert summary(sheet).others == "and 3 more that rules leave out"
