"""Runs over time: their order, what changed between them, and steps that are looked for within one machine."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Container
from typing import Any

import pytest
from builders import a_machine, a_state
from msgspec.structs import replace
from stored_runs import CELLS, CONTROL, EMULATED, FP32, GENERATOR, INT8, a_stored_run, failing, generators, observed

from bench.comparison import change_points, history_csv, history_page, history_rows
from bench.comparison.compare import judged
from bench.comparison.history import History, Series, history, moment
from bench.comparison.model import Judged

ELSEWHERE = a_machine(key="feedfacef00d", cpu=replace(a_machine().cpu, brand="Intel Core Ultra 7"))
HOSTILE = "</svg><script>alert(1)</script><img src=x onerror=alert(1)> \x1b[31m =1+1 '\" ${1} {{7*7}}"


def some_runs(
    count: int = 12, slower: Callable[[int], dict[str, float]] = lambda day: {}, **said: Callable[[int], Any]
) -> list[Judged]:
    """A run a day; `slower` and the fields of the run are functions of the day."""
    made = []
    for day in range(count):
        run = a_stored_run(day, **{field: of(day) for field, of in said.items()})
        made.append(judged(run, observed(run, seed=day, slower=slower(day))))
    return made


def the(found: History, cell: str, figure: str = "call") -> Series:
    (series,) = (one for one in found.series if (one.cell, one.figure) == (cell, figure))
    return series


# --- runs -------------------------------------------------------------------------------------------------------------


def test_runs_stand_in_the_order_of_time_whatever_their_names_say():
    runs = some_runs(3)
    found = history([runs[2], runs[0], runs[1]])
    assert [run.name for run in found.runs] == ["vm-000", "vm-001", "vm-002"]
    assert [point.run for point in the(found, FP32).points] == [0, 1, 2]


def test_time_zones_are_heeded():
    early = a_stored_run(0, created="2026-11-02T00:30:00+02:00", name="early")
    late = a_stored_run(0, created="2026-11-01T23:00:00Z", name="late")
    found = history([judged(run, observed(run)) for run in (late, early)])
    assert [run.name for run in found.runs] == ["early", "late"]


@pytest.mark.parametrize("created", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_date_is_none(created):
    assert moment(created) is None


def test_what_changed_is_told_once_in_the_run_that_it_changed_in():
    found = history(some_runs(4, bench_version=lambda day: "0.1" if day < 2 else "0.2"))
    assert [history_rows.changes(run) for run in found.runs] == [(), (), ("touchstone-bench 0.1 -> 0.2",), ()]


def test_another_machine_is_marked_and_a_run_is_held_against_the_last_one_of_its_own():
    found = history(
        some_runs(
            4,
            machine=lambda day: ELSEWHERE if day == 1 else a_machine(),
            bench_version=lambda day: "0.1" if day < 2 else "0.2",
        )
    )
    assert [run.other_machine for run in found.runs] == [False, True, True, False]
    assert found.runs[1].changes == ()
    assert history_rows.changes(found.runs[2]) == ("touchstone-bench 0.1 -> 0.2",)


def test_a_plan_of_fewer_cells_is_no_change_of_what_was_measured():
    found = history(some_runs(2, cells=lambda day: CELLS[: 4 - day]))
    assert found.runs[1].changes == ()


# --- series -----------------------------------------------------------------------------------------------------------


def test_the_last_run_is_held_against_the_one_before_on_the_same_machine():
    runs = some_runs(
        3, lambda day: {FP32: 1.5} if day == 2 else {}, machine=lambda d: ELSEWHERE if d == 1 else a_machine()
    )
    change = the(history(runs), FP32).last_change
    assert change.verdict == "slower"
    assert change.change.value == pytest.approx(0.5, abs=0.05)
    assert the(history(runs[:2]), FP32).last_change is None, "the machine's first run has none before it"


def test_a_run_without_the_cell_is_passed_over():
    found = the(history(some_runs(3, cells=lambda day: CELLS[:2] if day == 1 else CELLS)), INT8)
    assert [point.run for point in found.points] == [0, 2]
    assert found.last_change is not None


def test_a_failed_run_has_a_point_without_a_figure():
    run = a_stored_run(1)
    found = the(history([*some_runs(1), judged(run, failing(run, FP32))]), FP32)
    assert [point.status for point in found.points] == ["ok", "failed"]
    assert found.points[1].ms is None
    assert history_rows.verdicts(found) == "ok -> failed"


def test_an_emulated_cell_has_verdicts_and_no_times():
    found = the(history(some_runs(2)), EMULATED, "")
    assert found.emulated
    assert {point.ms for point in found.points} == {None}
    assert found.last_change is None


def test_a_generator_has_a_series_for_each_part_of_its_work():
    found = history(some_runs(2, cells=lambda day: generators()))
    assert {one.figure for one in found.series if one.cell == GENERATOR} == {"first token", "decode"}


# --- change points ----------------------------------------------------------------------------------------------------


def test_a_step_is_found_in_the_ratio_to_the_control_and_the_neighbours_have_none():
    found = history(some_runs(14, lambda day: {INT8: 1.15} if day >= 8 else {}))
    (step,) = the(found, INT8).change_points
    assert (step.run, step.of, step.before, step.after) == (8, "ratio", 8, 6)
    assert step.change == pytest.approx(1 / 1.15 - 1, abs=0.02)
    assert history_rows.level(step) == "13 % slower against the control"
    assert the(found, FP32).change_points == the(found, CONTROL).change_points == ()


def test_a_machine_that_became_slower_as_a_whole_steps_in_the_controls_time_alone():
    found = history(some_runs(14, lambda day: {"*": 1.3} if day >= 8 else {}))
    (step,) = the(found, CONTROL).change_points
    assert (step.of, history_rows.level(step)) == ("time", "30 % slower")
    assert the(found, FP32).change_points == ()
    assert the(found, FP32).judged_by == "ratio"


def test_without_a_control_the_time_is_looked_at():
    found = the(history(some_runs(12, lambda d: {FP32: 0.8 if d > 5 else 1}, cells=lambda d: CELLS[1:2])), FP32)
    (step,) = found.change_points
    assert (step.of, step.run) == ("time", 6)
    assert history_rows.level(step).endswith("faster")


def test_noise_is_no_step():
    found = history(some_runs(20))
    assert [one.change_points for one in found.series] == [()] * len(found.series)


def test_a_change_of_the_machine_is_no_step():
    runs = some_runs(
        20, lambda day: {INT8: 2.0 if day >= 10 else 1}, machine=lambda d: ELSEWHERE if d >= 10 else a_machine()
    )
    assert the(history(runs), INT8).change_points == ()


def test_two_machines_do_not_make_enough_runs_together():
    runs = some_runs(16, lambda d: {INT8: 1 + d // 8}, machine=lambda d: ELSEWHERE if d % 2 else a_machine())
    found = the(history(runs), INT8)
    assert found.change_points == ()
    assert history_rows.looked_for(history(runs), found) == "under 10 runs on one machine"


def beside_load(cell: str, days: Container[int], count: int = 16, slower: Container[int] | None = None) -> History:
    """Runs in which one cell was measured beside other load on some days, and is slower by half on these or others."""
    made = []
    for day in range(count):
        run = a_stored_run(day)
        seen = observed(run, seed=day, slower={cell: 1.5} if day in (slower or days) else {})
        state = a_state(other_cpu_percent=60.0)
        busy = [replace(one, state=state) if day in days and one.cell == cell else one for one in seen]
        made.append(judged(run, busy))
    return history(made)


def test_a_run_on_a_busy_machine_counts_for_no_change_point_and_is_marked():
    found = beside_load(INT8, range(12, 16))
    own = the(found, INT8)
    assert own.change_points == ()
    assert [point.run for point in own.points if point.busy] == [12, 13, 14, 15]
    assert own.last_change.verdict == "not comparable, busy"
    assert [row.tone for row in history_rows.rows(found) if row.cell == INT8] == ["warn"]
    page = history_page.render(found)
    assert "measured on a busy machine; counts for no change point" in page
    assert "On a busy machine: 2026-11-13 <code>vm-012</code>, " in page
    rows = csv.DictReader(io.StringIO(history_csv.render(found)))
    assert next(row["run"] for row in rows if row["cell"] == INT8 and row["busy"] == "true") == "vm-012"


def test_a_step_is_found_between_the_quiet_runs_and_is_that_of_the_first_of_them():
    (step,) = the(beside_load(INT8, (8,), slower=range(8, 16)), INT8).change_points
    assert (step.run, step.before, step.after) == (9, 8, 7)


def test_a_busy_control_makes_the_ratios_of_its_cells_busy():
    found = beside_load(CONTROL, (3, 4))
    assert [point.run for point in the(found, FP32).points if point.busy] == [3, 4]
    assert the(found, FP32).change_points == ()


def test_too_few_quiet_runs_are_told():
    found = beside_load(INT8, range(7), 14)
    assert history_rows.looked_for(found, the(found, INT8)) == "under 10 quiet runs on one machine"


def test_without_the_library_it_is_said_that_none_were_looked_for(monkeypatch):
    monkeypatch.setattr(change_points, "is_available", lambda: False)
    found = history(some_runs(14, lambda day: {INT8: 1.15} if day >= 8 else {}))
    assert the(found, INT8).change_points == ()
    assert "no release for this Python" in history_rows.notes(found)[0]
    assert history_rows.notes(found)[0] in history_page.render(found)


# --- what readers get -------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_run_of_each_figure():
    found = history(some_runs(14, lambda day: {INT8: 1.15} if day >= 8 else {}))
    rows = list(csv.DictReader(io.StringIO(history_csv.render(found))))
    assert tuple(rows[0]) == tuple(history_csv.COLUMNS)
    own = [row for row in rows if row["cell"] == INT8]
    assert len(own) == 14
    assert [row["run"] for row in own if row["change_point"]] == ["vm-008"]
    assert float(own[0]["latency_ms_low"]) < float(own[0]["latency_ms"]) < float(own[0]["latency_ms_high"])
    assert {row["latency_ms"] for row in rows if row["cell"] == EMULATED} == {""}


def test_the_page_holds_two_charts_a_cell_and_marks_what_changed():
    found = history(some_runs(12, machine=lambda d: ELSEWHERE if d == 4 else a_machine(), threads=lambda d: 1 + d // 6))
    page = history_page.render(found)
    assert page.count('<svg class="chart"') == 1 + 2 + 2, "the control has no ratio, the emulator neither"
    assert "threads 1 -&gt; 2" in page
    assert "another machine than the run before" in page
    assert "<script" not in page


def test_a_history_of_one_run_is_a_page_too():
    page = history_page.render(history(some_runs(1)))
    assert "first run" in page
    assert page.count('<svg class="chart"') == 5


def test_what_a_stranger_wrote_is_text_on_the_page_and_in_the_table():
    changed = {
        "name": lambda d: HOSTILE,
        "machine": lambda d: a_machine(key=HOSTILE, cpu=replace(a_machine().cpu, brand=HOSTILE)),
    }
    found = history(some_runs(3, bench_version=lambda d: f"{d}{HOSTILE}", **changed), left_out=[HOSTILE])
    page = history_page.render(found)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    rows = list(csv.DictReader(io.StringIO(history_csv.render(found))))
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "\x1b"))]


@pytest.mark.parametrize(
    ("low", "high"), [(8.0, 8.3), (0.97, 1.5), (1.0, 40.0), (0.0001, 2000.0), (99.0, 101.0), (1e-9, 2e-9)]
)
def test_an_axis_has_some_ticks_and_not_many(low, high):
    found = history_page.ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low <= tick <= high for tick in found)
