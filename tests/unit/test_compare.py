"""Two stored runs side by side: what is concluded of a change, and above all what is not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from builders import a_cell, a_failed, a_machine, a_placement, a_state, an_observation, rounds_of
from msgspec.structs import replace
from note_kinds import assert_words_fit
from stored_runs import CELLS, CONTROL, EMULATED, FP32, GENERATOR, INT8, a_stored_run, failing, generators, observed

from bench.comparison import compare_files, compare_rows, text
from bench.comparison.compare import compare, judged
from bench.comparison.model import CellChange, Comparison, FigureChange
from bench.judge.stored_change import change
from bench.records import Note, Observation, Run, note
from bench.report import text_differences

ELSEWHERE = a_machine(key="feedfacef00d", memory_bytes=32_000_000_000)


def compared(
    slower: dict[str, float] | None = None, run: Run | None = None, seen: list[Observation] | None = None, **said: Any
) -> Comparison:
    """A healthy base against a new run with other times, another record or other observations."""
    base, new = a_stored_run(0), run or a_stored_run(1, **said)
    return compare(judged(base, observed(base, 1)), judged(new, seen or observed(new, 2, slower=slower)))


def the(comparison: Comparison, cell: str) -> CellChange:
    (found,) = (one for one in comparison.cells if one.cell == cell)
    return found


def said(of: CellChange | FigureChange) -> str:
    """What is concluded of a cell or of one of its figures, in words."""
    return text.joined(of.conclusions) if isinstance(of, CellChange) else text.figure(of.name, of.conclusion)


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "scatter"), [((3, 3), (0.02, 0.02)), ((6, 6), (0.01, 0.03)), ((4, 10), (0.04, 0.01))]
)
def test_the_interval_of_a_change_covers_the_truth_as_often_as_it_says(sizes, scatter):
    random, truth, runs = np.random.default_rng(20261124), math.log(1.05), 4000
    hits = 0
    for _ in range(runs):
        base = random.normal(1.0, scatter[0], sizes[0])
        new = random.normal(1.0 + truth, scatter[1], sizes[1])
        found = change(base.tolist(), new.tolist())
        hits += found.low <= 0.05 <= found.high
    assert 0.93 <= hits / runs <= 0.975, "95 % is promised; Welch is a little wide where both sides have three rounds"


def test_a_change_of_equal_rounds_has_an_interval_without_width():
    found = change([1.0, 1.0, 1.0], [1.1, 1.1, 1.1])
    assert (found.value, found.low, found.high) == pytest.approx((math.expm1(0.1),) * 3)


@pytest.mark.parametrize(("base", "new"), [([1.0], [1.1, 1.2]), ([1.0, 1.1], [1.2])])
def test_one_round_on_a_side_gives_no_interval(base, new):
    found = change(base, new)
    assert found.value > 0
    assert found.low is None
    assert found.high is None


def test_no_round_gives_no_change():
    assert change([], [1.0]) is None


def test_a_damaged_file_with_absurd_times_gives_a_number_still():
    found = change([0.0, 600.0], [0.0, -600.0])
    assert math.isfinite(found.high)


# --- one machine ------------------------------------------------------------------------------------------------------


def test_a_cell_that_is_a_third_slower_is_called_slower_and_its_neighbours_are_not():
    found = compared({FP32: 1.33})
    figure = the(found, FP32).figures[0]
    assert figure.verdict == "slower"
    assert figure.change.low < 0.33 < figure.change.high
    assert figure.ratio_change.value == pytest.approx(1 / 1.33 - 1, abs=0.02)
    assert said(figure) == "slower against the control, beyond drift, and slower in time too"
    assert figure.rests_on == "ratio"
    assert {the(found, cell).figures[0].verdict for cell in (CONTROL, INT8)} == {"no difference shown"}


def test_a_cell_that_is_a_third_faster_is_called_faster():
    assert the(compared({INT8: 0.67}), INT8).figures[0].verdict == "faster"


def test_a_change_that_is_surely_there_but_within_the_drift_of_ratios_is_not_called_slower():
    figure = the(compared({FP32: 1.045}), FP32).figures[0]
    assert figure.change.low > 0
    assert figure.verdict == "unclear"
    assert said(figure) == "unclear: slower against the control, which may be drift, and slower in time too"


def test_an_interval_that_reaches_under_ten_percent_is_not_called_slower():
    base, new = a_stored_run(0, cells=CELLS[1:2]), a_stored_run(1, cells=CELLS[1:2])
    seen = rounds_of(CELLS[1], [8.9, 9.2, 8.8, 9.1], placement=a_placement(CPU={"MatMul": 18}))
    figure = compare(judged(base, observed(base, 1)), judged(new, seen)).cells[0].figures[0]
    assert figure.change.value > 0.10
    assert 0 < figure.change.low < 0.10
    assert (figure.verdict, said(figure)) == (
        "unclear",
        "unclear: slower in time, which may be drift; there is no ratio to decide",
    )


def test_a_machine_that_became_slower_as_a_whole_accuses_no_cell_but_the_control():
    found = compared({"*": 1.3})
    assert the(found, FP32).figures[0].verdict == "no difference shown"
    assert said(the(found, FP32).figures[0]) == (
        "no difference shown against the control; slower in time, as the machine was or by drift"
    )
    control = the(found, CONTROL).figures[0]
    assert control.verdict == "slower"
    assert said(control) == "slower in time, beyond drift; it is the control, so the machine itself may be"


def test_drift_and_the_gate_are_named_and_sameness_of_the_machine():
    lines = " ".join(compare_rows.conclusions(compared()))
    assert "of one machine, made at different times" in lines
    assert "under 5 % of a ratio and 10 % of a time cannot be distinguished from drift" in lines
    assert "bench gate --baseline BASE" in lines


def test_the_later_run_as_base_is_pointed_out():
    base, new = a_stored_run(5), a_stored_run(1)
    found = compare(judged(base, observed(base)), judged(new, observed(new)))
    assert any("the later of the two" in line for line in compare_rows.conclusions(found))


def test_how_much_the_blocks_leave_open_is_said():
    lines = " ".join(compare_rows.conclusions(compared()))
    assert "The blocks alone cannot show a change smaller than 1.6 % in a typical cell, or 1.8 %" in lines


def test_a_run_beside_itself_is_named():
    run = a_stored_run(0)
    own = judged(run, observed(run))
    found = compare(own, own)
    assert compare_rows.conclusions(found)[0] == "Base and new are the same run."
    assert {one.verdict for cell in found.cells for one in cell.figures} == {"no difference shown"}


def test_what_differs_is_listed_and_no_cause_is_claimed():
    found = compared(bench_version="0.2.0")
    assert compare_rows.differences(found) == ("touchstone-bench 0.1 -> 0.2.0",)
    assert any("do not say which of it changed a figure" in line for line in compare_rows.conclusions(found))


def test_a_control_of_another_version_is_named_for_the_ratios():
    new = a_stored_run(1)
    seen = [replace(o, versions={"torch": "2.14.0"}) if o.cell == CONTROL else o for o in observed(new, 2)]
    found = compared(run=new, seen=seen)
    assert any(
        "The control itself changed (torch 2.13.0 -> 2.14.0)" in line for line in compare_rows.conclusions(found)
    )


# --- two machines -----------------------------------------------------------------------------------------------------


def test_on_two_machines_no_time_is_compared_and_no_time_is_hidden():
    found = compared({"*": 0.5}, machine=ELSEWHERE)
    assert not found.same_machine
    for cell in (FP32, INT8, CONTROL):
        figure = the(found, cell).figures[0]
        assert figure.change is None
        assert figure.base_ms.value == pytest.approx(2 * figure.new_ms.value, rel=0.05)
    assert the(found, FP32).figures[0].verdict == "no difference shown"
    assert the(found, CONTROL).figures[0].verdict == "not compared"
    assert any("their change is not a regression" in line for line in compare_rows.conclusions(found))


def test_on_two_machines_the_ratio_to_the_control_is_compared():
    figure = the(compared({INT8: 1.2}, machine=ELSEWHERE), INT8).figures[0]
    assert figure.verdict == "slower"
    assert said(figure) == "slower against the control on that machine"


def test_ratios_to_different_controls_are_not_compared():
    other = "minilm/fp32/openvino/b1-s128"
    cells = (replace(CELLS[0], control=False), *CELLS[1:3], a_cell(other, control=True))
    figure = the(compared(machine=ELSEWHERE, cells=cells), FP32).figures[0]
    assert figure.ratio_change is None
    assert said(figure) == "not compared: the runs have different controls"


def test_lost_support_on_another_machine_is_said_of_the_machines():
    new = a_stored_run(1, machine=ELSEWHERE)
    found = the(compared(run=new, seen=failing(new, FP32)), FP32)
    assert found.support == "lost"
    assert said(found).startswith("has right answers on the base's machine, but not on the other")


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_cell_that_failed_has_lost_support_with_the_reason():
    new = a_stored_run(1)
    found = the(compared(run=new, seen=failing(new, FP32)), FP32)
    assert (found.support, found.base_status, found.new_status) == ("lost", "ok", "failed")
    assert said(found).startswith("lost support")
    assert "no kernel for Foo" in said(found)
    assert found.figures[0].new_ms is None
    assert found.figures[0].base_ms is not None


def test_a_cell_that_works_now_has_gained_support():
    base, new = a_stored_run(0), a_stored_run(1)
    found = compare(judged(base, failing(base, FP32)), judged(new, observed(new)))
    assert the(found, FP32).support == "gained"


def test_nodes_that_fell_back_are_counted():
    new = a_stored_run(1)
    moved = a_placement(CPU={"MatMul": 12}, Azure={"MatMul": 6})
    seen = [replace(one, placement=moved) if one.cell == FP32 else one for one in observed(new)]
    found = the(compared(run=new, seen=seen), FP32)
    assert (found.support, found.new_status) == ("lost nodes", "partial")
    assert (found.base_nodes.on_target, found.new_nodes.on_target) == (18, 12)
    assert (found.base_nodes.fell_back, found.new_nodes.fell_back) == (0, 6)


def test_a_run_that_ended_before_a_cell_has_not_lost_it():
    new = a_stored_run(1)
    seen = [one for one in observed(new) if one.cell != INT8]
    assert the(compared(run=new, seen=seen), INT8).support == "not measured"


def test_an_emulated_cell_has_its_verdict_compared_and_no_times():
    found = the(compared({EMULATED: 3.0}), EMULATED)
    assert found.emulated
    assert found.figures == ()
    assert said(found) == "emulated: verdicts are compared, times are not"


def test_cells_of_one_run_alone_are_there_and_compared_with_nothing():
    found = compared(cells=(*CELLS[:2], a_cell("new/fp32/cpu/b1")))
    assert the(found, INT8).support == "gone"
    assert the(found, "new/fp32/cpu/b1").support == "added"
    assert found.common == 2


def test_a_cell_that_a_rule_leaves_out_now_is_gone_and_not_lost():
    cells = (*CELLS[:2], replace(CELLS[2], excluded="a rule says so"))
    assert the(compared(cells=cells), INT8).support == "gone"


def test_runs_without_a_common_cell_have_nothing_in_common():
    assert compared(cells=(a_cell("other/fp32/cpu/b1"),)).common == 0


# --- the parts of a generation ----------------------------------------------------------------------------------------


def test_a_generator_is_compared_by_its_parts():
    base, new = (a_stored_run(day, cells=generators()) for day in (0, 1))
    found = compare(judged(base, observed(base, 1)), judged(new, observed(new, 2, slower={GENERATOR: 1.4})))
    figures = {one.name: one for one in the(found, GENERATOR).figures}
    assert set(figures) == {"first token", "decode"}
    assert figures["decode"].base_ms.value == pytest.approx(10, rel=0.03)
    assert figures["first token"].base_ms.value == pytest.approx(128, rel=0.03)
    assert {one.verdict for one in figures.values()} == {"slower"}
    assert said(figures["decode"]).startswith("decode: slower against the control, beyond drift")


# --- what stands beside -----------------------------------------------------------------------------------------------


def test_what_of_a_cell_itself_changed_stands_beside_its_speed():
    new = a_stored_run(1, weights={"minilm": "random"})
    seen = [replace(one, threads=1) if one.cell == FP32 else one for one in observed(new)]
    assert {"weights pretrained -> random", "threads 2 -> 1"} <= set(
        text.sentences(the(compared(run=new, seen=seen), FP32).changed)
    )


def test_flags_of_either_run_are_named_with_their_run():
    new = a_stored_run(1)
    seen = [one for one in observed(new) if one.cell != FP32]
    seen += [an_observation(FP32, number, placement=a_placement(CPU={"MatMul": 18})) for number in range(1)]
    assert the(compared(run=new, seen=seen), FP32).flags == (note("flags", side="new", flags=("few-rounds",)),)


BUSY_STATE = a_state(other_cpu_percent=45.0)


def beside_load(cell: str = FP32, times: float = 1.5) -> Comparison:
    """A new run that is slower by half in one cell, which was measured beside other load."""
    new = a_stored_run(1)
    seen = observed(new, 2, slower={cell: times})
    return compared(run=new, seen=[replace(one, state=BUSY_STATE) if one.cell == cell else one for one in seen])


def test_what_was_measured_beside_other_load_is_not_comparable_and_says_why():
    found = beside_load()
    (figure,) = the(found, FP32).figures
    assert figure.verdict == "not comparable, busy"
    assert figure.change.low > 0.10
    assert said(figure) == (
        "not comparable: the new run was measured on a busy machine, up to 45 % of the CPU used by others"
    )
    assert the(found, INT8).figures[0].verdict == "no difference shown"
    assert "1 not comparable, busy" in compare_rows.tally(found)
    assert "slower" not in compare_rows.tally(found)


def test_a_busy_base_is_named_and_the_row_is_one_to_look_at():
    base, new = a_stored_run(0), a_stored_run(1)
    busy = [replace(one, state=BUSY_STATE) for one in observed(base, 1)]
    found = compare(judged(base, busy), judged(new, observed(new, 2, slower={FP32: 0.5})))
    assert said(the(found, FP32).figures[0]).startswith("not comparable: the base run was measured on a busy machine")
    assert {row.tone for row in compare_rows.rows(found) if row.cell == FP32} == {"warn"}


def test_a_quiet_machine_that_is_slower_is_still_called_so():
    assert the(compared(slower={FP32: 1.5}), FP32).figures[0].verdict == "slower"


def test_cells_of_one_run_are_folded():
    cells = tuple(a_cell(f"new/fp32/cpu/b{size}", runtime="ort") for size in range(5))
    found = compared(run=a_stored_run(1, cells=(*CELLS[:2], *cells)))
    assert not {row.cell for row in compare_rows.rows(found)} & {INT8, *(cell.id for cell in cells)}
    lines = [line for line, _ in compare_rows.one_sided(found)]
    assert lines == [
        f"2 cells only in the base: {INT8}, {EMULATED}",
        "5 cells only in the new run: new/fp32/cpu/b0, new/fp32/cpu/b1, new/fp32/cpu/b2 and 2 more",
    ]
    document = compare_files.markdown(found)
    assert "<details><summary>5 cells only in the new run: " in document
    assert document.count("- `new/fp32/cpu/b") == 5


def test_only_the_cells_that_are_asked_for_are_there():
    base, new = a_stored_run(0), a_stored_run(1)
    found = compare(judged(base, observed(base)), judged(new, observed(new)), [FP32])
    assert [one.cell for one in found.cells] == [FP32]


def test_a_cell_that_fails_in_both_has_another_verdict_where_it_fails_otherwise():
    base, new = a_stored_run(0), a_stored_run(1)
    crashed = [*(one for one in observed(new) if one.cell != FP32), a_failed(FP32, 0, status="crashed")]
    found = compare(judged(base, failing(base, FP32)), judged(new, crashed))
    assert the(found, FP32).support == "changed"


# --- facts ------------------------------------------------------------------------------------------------------------


def test_a_conclusion_is_a_kind_with_its_values():
    figure = the(compared({FP32: 1.33}), FP32).figures[0]
    facts = {"direction": "slower", "basis": "ratio", "other": "slower"}
    assert figure.conclusion == note("beyond-drift", **facts, control="", alike=True, has_other=True)


def test_every_kind_has_words_of_its_own_and_an_unknown_one_is_shown():
    shared = set(text.WORDS) & set(text_differences.WORDS)
    assert not shared
    assert text.say(Note("moon-phase", {"full": True})) == "moon-phase: full=True"
    assert text.say(note("bench-version", before="1", after="2")) == "touchstone-bench 1 -> 2"


def test_every_conclusion_has_words_with_its_parameters_and_no_words_are_left_over():
    assert_words_fit(text.WORDS, "comparison/*.py")


def test_json_has_the_words_beside_kind_and_values():
    found = compare_files.document(compared({FP32: 1.33}, bench_version="0.2.0"))
    assert found["differences"] == [
        {
            "kind": "bench-version",
            "values": {"before": "0.1", "after": "0.2.0"},
            "text": "touchstone-bench 0.1 -> 0.2.0",
        }
    ]
    cell = next(cell for cell in found["cells"] if cell["cell"] == FP32)
    assert cell["figures"][0]["conclusion"]["text"] == (
        "slower against the control, beyond drift, and slower in time too"
    )
