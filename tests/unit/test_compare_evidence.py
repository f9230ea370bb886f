"""What a comparison of two stored runs rests on: ratios from bursts that alternate, or times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import CPU, a_cell, a_control, a_placement, a_state, a_timing, an_observation
from msgspec.structs import replace
from stored_runs import a_stored_run

from bench.comparison import compare_rows, text
from bench.comparison.compare import compare, judged
from bench.comparison.control_changes import Seen, moved_alone
from bench.comparison.evidence import decide
from bench.comparison.model import Comparison, FigureChange
from bench.judge.stored_change import ratio_change
from bench.records import Cell, Interval, Observation

CONTROL = a_control("m/fp32/torch-eager/b1", runtime="torch")
ORT, INT8 = (a_cell(f"m/{precision}/cpu/b1", provider=CPU, runtime="ort") for precision in ("fp32", "int8"))
OPENVINO = a_cell("m/fp32/openvino-cpu/b1", provider="OpenVINOExecutionProvider", runtime="openvino")
COMPILE = a_cell("m/fp32/torch-compile/b1", engine="torch-compile", provider=None, runtime="torch")
CELLS = (CONTROL, ORT, INT8, OPENVINO, COMPILE)
TURNS = 6


def blocks(seed: int, number: int = 4, slower: dict[str, float] | None = None) -> list[Observation]:
    """Blocks whose bursts alternate: the machine's speed varies by 8 % a block, each process by 1 %."""
    random = np.random.default_rng(seed)
    made = []
    for block in range(1, number + 1):
        machine = math.exp(random.normal(0, 0.08))
        for cell in CELLS:
            own = machine * math.exp(random.normal(0, 0.01)) * (slower or {}).get(cell.id, 1.0) * 10e6
            made.append(bursts_of(cell, block, [own] * TURNS))
    return made


def bursts_of(cell: Cell, block: int, bursts_ns: list[float], **values: object) -> Observation:
    """One block of a cell: three equal calls a burst, one burst a turn."""
    calls = [int(value) for value in bursts_ns for _ in range(3)]
    timing = a_timing(calls, burst_calls=(3,) * len(bursts_ns), turns=tuple(range(len(bursts_ns))))
    placed = a_placement(**{cell.provider.removesuffix("ExecutionProvider"): {"MatMul": 9}}) if cell.provider else None
    versions = {"onnxruntime": "1.30.0"} if cell.provider else {"torch": "2.13.0"}
    return replace(an_observation(cell, block, timing=timing, placement=placed, versions=versions), **values)


def compared(new: list[Observation], base: list[Observation] | None = None) -> Comparison:
    before, after = (a_stored_run(day, cells=CELLS) for day in (0, 1))
    return compare(judged(before, base or blocks(1)), judged(after, new))


def figure(found: Comparison, cell: Cell) -> FigureChange:
    (change,) = (each for each in found.cells if each.cell == cell.id)
    return change.figures[0]


def test_a_cell_that_is_a_tenth_slower_is_slower_though_its_time_shows_nothing():
    seen = figure(compared(blocks(3, slower={ORT.id: 1.12})), ORT)
    assert (seen.verdict, seen.rests_on) == ("slower", "ratio")
    assert seen.change.low < 0 < seen.change.high
    assert seen.ratio_change.low < 1 / 1.12 - 1 < seen.ratio_change.high
    assert text.say(seen.conclusion) == ("slower against the control, beyond drift, and in time no difference is shown")


def test_the_table_says_what_a_verdict_rests_on():
    rows = {row.cell: row.brief for row in compare_rows.rows(compared(blocks(3, slower={ORT.id: 1.12})))}
    assert rows[ORT.id] == "slower against control"
    assert rows[OPENVINO.id] == "no difference shown"


def test_two_blocks_give_a_ratio_an_interval_and_a_time_none():
    seen = figure(compared(blocks(2, 2, {ORT.id: 1.3}), blocks(1, 2)), ORT)
    assert (seen.verdict, seen.rests_on) == ("slower", "ratio")
    assert seen.change.low is None
    assert seen.base_ms.low is None, "as in the report of the run"
    assert "too few blocks for an interval of the time" in text.say(seen.conclusion)


def test_one_block_on_a_side_compares_nothing_and_says_so():
    found = compared(blocks(2, 1), blocks(1, 3))
    assert figure(found, ORT).verdict == "not compared"
    assert "5 not compared" in compare_rows.tally(found)


def test_a_control_of_another_version_leaves_the_verdict_to_the_time():
    new = [
        replace(seen, versions={"torch": "2.14.0"}) if seen.cell == CONTROL.id else seen
        for seen in blocks(2, slower={CONTROL.id: 0.7})
    ]
    found = compared(new)
    seen = figure(found, ORT)
    assert seen.ratio_change.high < -0.05
    assert (seen.verdict, seen.rests_on) == ("unclear", "time")
    assert text.say(seen.conclusion) == "unclear: no difference shown in time, slower against the control"
    assert "verdicts rest on times" in " ".join(compare_rows.conclusions(found))


def test_a_control_that_moved_alone_accuses_no_cell():
    found = compared(blocks(2, slower={CONTROL.id: 0.8}))
    assert {figure(found, cell).verdict for cell in CELLS[1:]} == {"unclear"}
    assert "The control moved alone (m/fp32/torch-eager/b1)" in " ".join(compare_rows.conclusions(found))


def test_cells_that_changed_are_no_witnesses_against_the_control():
    new = [
        replace(seen, versions={"onnxruntime": "1.31.0"}) if "cpu" in seen.cell else seen
        for seen in blocks(2, slower={cell.id: 1.3 for cell in (ORT, INT8, OPENVINO)})
    ]
    found = compared(new)
    assert {figure(found, cell).verdict for cell in (ORT, INT8, OPENVINO)} == {"slower"}
    assert figure(found, COMPILE).verdict == "no difference shown"


def test_witnesses_must_agree_and_be_three():
    down, none = Interval(-0.2, -0.25, -0.15), Interval(0.01, -0.02, 0.04)

    def seen(*changes: Interval) -> frozenset[tuple[str, str]]:
        return moved_alone(Seen(str(n), "call", "control", each, True) for n, each in enumerate(changes))

    assert seen(down, down, down) == {("control", "call")}
    assert not seen(down, down)
    assert not seen(down, down, down, none)
    assert not moved_alone([Seen(str(n), "call", "control", down, False) for n in range(4)])


@pytest.mark.parametrize(
    ("time", "ratio", "verdict", "basis"),
    [
        ((0.30, 0.28, 0.32), (0.0, -0.01, 0.01), "no difference shown", "ratio"),
        ((0.30, 0.28, 0.32), (0.0, -0.30, 0.30), "slower", "time"),
        ((0.14, 0.12, 0.16), (0.0, -0.07, 0.07), "unclear", "time"),
        ((0.0, -0.3, 0.3), (-0.2, -0.21, -0.19), "slower", "ratio"),
        ((-0.2, -0.21, -0.19), (-0.2, -0.21, -0.19), "unclear", "ratio"),
        ((0.2, None, None), (0.02, 0.01, 0.03), "unclear", "ratio"),
        ((0.2, 0.15, 0.25), None, "slower", "time"),
    ],
)
def test_the_surer_change_decides_and_a_contradiction_is_unclear(time, ratio, verdict, basis):
    found = decide(Interval(*time), Interval(*ratio) if ratio else None)
    assert (found.verdict, found.basis) == (verdict, basis)


def test_a_change_of_a_ratio_without_an_end_has_none():
    assert ratio_change(Interval(2.0, None, None), Interval(1.0, 0.9, 1.1)) == Interval(-0.5, None, None)
    assert ratio_change(None, Interval(1.0, 0.9, 1.1)) is None


def test_equal_runs_rarely_show_a_difference_and_the_interval_holds_the_truth():
    """100 pairs of runs of three blocks, with nothing changed but one cell that is 10 % slower."""
    covered, alarms, total = 0, 0, 0
    for seed in range(100):
        found = compared(blocks(2 * seed + 1, 3, {ORT.id: 1.1}), blocks(2 * seed, 3))
        change = figure(found, ORT).ratio_change
        covered += change.low <= 1 / 1.1 - 1 <= change.high
        for cell in (INT8, OPENVINO, COMPILE):
            total += 1
            alarms += figure(found, cell).verdict in {"slower", "faster"}
    assert covered >= 95
    assert alarms <= 0.01 * total


def test_a_row_whose_control_was_disturbed_is_not_comparable():
    new = [
        replace(seen, bursts_disturbed=4) if seen.cell == CONTROL.id else seen
        for seen in blocks(2, slower={ORT.id: 1.5})
    ]
    assert figure(compared(new), ORT).verdict == "not comparable, busy"


def test_a_busy_row_is_called_so_where_there_are_too_few_blocks_too():
    new = [replace(seen, bursts_disturbed=6) for seen in blocks(2, 1)]
    assert figure(compared(new), ORT).verdict == "not comparable, busy"


def test_bursts_that_were_made_again_make_no_row_busy():
    busy = a_state(other_cpu_percent=15.0, steal_percent=6.0)
    new = [
        replace(seen, state=busy, bursts_set_aside=3, bursts_disturbed=1) for seen in blocks(2, slower={ORT.id: 1.5})
    ]
    assert figure(compared(new), ORT).verdict == "slower"


def test_one_disturbed_block_of_four_widens_the_interval_and_hides_no_verdict():
    new = [replace(seen, bursts_disturbed=6) if seen.round == 1 else seen for seen in blocks(2, slower={ORT.id: 1.5})]
    assert figure(compared(new), ORT).verdict == "slower"
