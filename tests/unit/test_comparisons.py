import math

import numpy as np
import pytest
from builders import (
    a_cell,
    a_control,
    a_failed,
    a_generated,
    a_generation,
    a_generator,
    a_machine,
    a_run,
    a_timing,
    an_effort,
    an_observation,
    rounds_of,
)
from msgspec.structs import replace

from bench.judge import comparisons
from bench.judge.cell_states import CellHistory
from bench.judge.outcome import judge, judge_run
from bench.judge.speed import controls
from bench.records import Comparisons, Interval, note
from bench.report.text_notes import WORDS

CONTROL = a_control()
EAGER_INT8 = a_control("minilm/int8/torch-eager/b1-s128")
COMPILED = a_cell("minilm/fp32/torch-compile/b1-s128", engine="torch", provider=None)
CPU = a_cell("minilm/fp32/cpu/b1-s128")
CPU_INT8 = a_cell("minilm/int8/cpu/b1-s128")
GPU_INT8 = a_cell("minilm/int8/webgpu/b1-s128")
LONG = a_cell("minilm/fp32/cpu/b8-s128")
CELLS = (CONTROL, EAGER_INT8, COMPILED, CPU, CPU_INT8, GPU_INT8, LONG)


def ids(*cells):
    return {cell.id for cell in cells}


def blocks_of(cell, ms, blocks=4, scatter=0.01, seed=0):
    """Observations of a cell in blocks of six turns."""
    rng = np.random.default_rng([seed, *cell.id.encode()])
    return [
        an_observation(
            cell,
            number,
            timing=a_timing(
                [round(1e6 * ms * math.exp(log)) for log in rng.normal(rng.normal(0, scatter), 0.02, 6)],
                burst_calls=(1,) * 6,
                turns=tuple(range(6)),
                cpu_ns=round(6e6 * 3 * ms),
            ),
        )
        for number in range(1, blocks + 1)
    ]


# --- the pairs that people read ---------------------------------------------------------------------------------------


def test_a_cell_is_compared_with_its_control_with_other_targets_of_its_precision_and_other_precisions_of_its_target():
    found = comparisons.pairs(CELLS, ids(*CELLS))
    assert set(found) == {
        (EAGER_INT8.id, CONTROL.id),
        (COMPILED.id, CONTROL.id),
        (CPU.id, CONTROL.id),
        (CPU_INT8.id, CONTROL.id),
        (GPU_INT8.id, CONTROL.id),
        (COMPILED.id, CPU.id),
        (EAGER_INT8.id, CPU_INT8.id),
        (EAGER_INT8.id, GPU_INT8.id),
        (CPU_INT8.id, GPU_INT8.id),
        (CPU.id, CPU_INT8.id),
    }
    assert len(found) == len(set(found))


def test_cells_without_right_answers_and_emulated_ones_are_compared_with_none():
    assert comparisons.pairs(CELLS, ids(CONTROL)) == []
    emulated = replace(CPU, emulated=True)
    assert comparisons.pairs([CONTROL, emulated], ids(CONTROL, emulated)) == []


# --- another control --------------------------------------------------------------------------------------------------


def test_where_the_control_is_not_right_another_control_takes_its_place():
    other = a_control("minilm/fp32/torch-jit/b1-s128")
    used = controls([CONTROL, other, COMPILED, CPU], ids(other, COMPILED, CPU))
    assert used[CPU.id] is other


def test_then_the_first_right_fp32_cell_of_another_baseline_does():
    used = controls(CELLS, ids(EAGER_INT8, COMPILED, CPU, CPU_INT8))
    assert used[CPU.id] is COMPILED
    # A control in the cell's own precision is a control still.
    assert used[CPU_INT8.id] is EAGER_INT8
    assert controls(CELLS, ids(COMPILED, CPU, CPU_INT8))[CPU_INT8.id] is COMPILED


def test_without_another_baseline_the_planned_control_stays_and_there_is_no_ratio():
    assert controls([CONTROL, CPU], ids(CPU))[CPU.id] is CONTROL
    assert controls(CELLS, ids(*CELLS))[CPU.id] is CONTROL


def test_an_outcome_says_that_it_is_compared_with_another_control():
    seen = [a_failed(CONTROL), *blocks_of(COMPILED, 3.0), *blocks_of(CPU, 2.0)]
    _, compiled, cpu = judge(a_run(CONTROL, COMPILED, CPU), seen)
    replaced = note("control-replaced", planned=CONTROL.id, used=COMPILED.id)
    assert cpu.speed.control == compiled.speed.control == COMPILED.id
    assert compiled.speed.ratio_to_control == Interval(1.0, 1.0, 1.0)
    assert cpu.speed.ratio_to_control.value == pytest.approx(1.5, rel=0.03)
    assert replaced in cpu.notes
    assert replaced in compiled.notes
    assert WORDS[replaced.kind](**replaced.values) == (
        f"compared with {COMPILED.id}, because the control {CONTROL.id} has no right answers"
    )


def test_with_the_planned_control_an_outcome_says_nothing():
    outcomes = judge(a_run(CONTROL, CPU), [*blocks_of(CONTROL, 3.0), *blocks_of(CPU, 2.0)])
    assert all(outcome.notes == () for outcome in outcomes)
    assert {outcome.speed.control for outcome in outcomes} == {CONTROL.id}


# --- what a run knows -------------------------------------------------------------------------------------------------


def test_a_run_has_the_ratio_of_each_pair_and_whether_it_is_decided():
    cells = ((CONTROL, 4.0), (CPU, 2.0), (COMPILED, 2.0))
    seen = [observation for cell, ms in cells for observation in blocks_of(cell, ms, blocks=5)]
    seen += rounds_of(LONG, [1.0])
    judged = judge_run(a_run(CONTROL, CPU, COMPILED, LONG, effort=an_effort(half_width=0.001)), seen)
    found = {(comparison.a, comparison.b): comparison for comparison in judged.comparisons}
    assert set(found) == {(CPU.id, CONTROL.id), (COMPILED.id, CONTROL.id), (CPU.id, COMPILED.id)}
    assert found[CPU.id, CONTROL.id].ratio.value == pytest.approx(2.0, rel=0.03)
    assert found[CPU.id, CONTROL.id].decided
    assert {comparison.run for comparison in judged.comparisons} == {a_run().name}
    assert not found[CPU.id, COMPILED.id].decided
    outcome = next(outcome for outcome in judged.outcomes if outcome.cell is CPU)
    assert outcome.speed.ratio_to_control == found[CPU.id, CONTROL.id].ratio


def test_the_ratios_of_a_shared_machine_come_from_the_faster_calls_of_each_burst():
    """Half of the calls of our bursts are delayed by another guest: a quarter of them is not."""
    delayed = [2_000_000, 2_000_000, 2_000_000, 9_000_000, 9_000_000, 9_000_000, 9_000_000]
    ours = [
        an_observation(CPU, number, timing=a_timing(delayed * 2, burst_calls=(7, 7), turns=(0, 1))) for number in (1, 2)
    ]
    seen = [*ours, *blocks_of(CONTROL, 4.0, blocks=2)]
    shared, own = (
        judge(a_run(CPU, CONTROL, machine=a_machine(hypervisor=hypervisor, container=None)), seen)[0]
        for hypervisor in ("kvm", None)
    )
    assert shared.speed.ratio_to_control.value == pytest.approx(2.0, rel=0.05)
    assert own.speed.ratio_to_control.value == pytest.approx(4 / 9, rel=0.05)
    # The latency is what the calls took.
    assert shared.speed.latency_ms == own.speed.latency_ms


def test_prefill_and_decoding_have_ratios_of_their_own_by_turn():
    cell = a_generator()
    control = a_generator("llama/fp32/torch-eager/b1-p128-n64", engine="torch", provider=None, control=True)

    def block(of, number, first_ms, token_ms):
        # The second turn is slow for both.
        made = [a_generation(slow * first_ms, slow * token_ms) for slow in (1, 5, 1)]
        seen = a_generated(of, number, generations=made)
        return replace(seen, timing=replace(seen.timing, burst_calls=(1, 1, 1), turns=(0, 1, 2)))

    seen = [block(cell, number, 64, 10) for number in (1, 2)] + [block(control, number, 128, 5) for number in (1, 2)]
    outcome = judge(a_run(cell, control), seen)[0]
    assert outcome.speed.generation.prefill_ratio.value == pytest.approx(2.0)
    assert outcome.speed.generation.decode_ratio.value == pytest.approx(0.5)


def test_the_cpu_time_of_a_call_is_that_of_the_samples_over_their_number():
    outcome = judge(a_run(CPU), blocks_of(CPU, 2.0))[0]
    assert outcome.cpu_ms.value == pytest.approx(6.0)
    assert judge(a_run(CPU), rounds_of(CPU, [2.0, 2.0]))[0].cpu_ms is None


# --- while a run measures ---------------------------------------------------------------------------------------------


def test_comparisons_are_undecided_until_their_intervals_are_narrow():
    cells = [CONTROL, CPU, COMPILED]
    history = CellHistory(())
    assert history.comparisons(cells, 0.05) == Comparisons(3, 3)
    for blocks, undecided in ((1, 3), (2, 3), (5, 0)):
        for cell in cells:
            for observation in blocks_of(cell, 3.0, blocks):
                history.add(observation)
        assert history.comparisons(cells, 0.10) == Comparisons(3, undecided)
    assert history.comparisons(cells, 0.0001) == Comparisons(3, 3)


def test_a_cell_that_failed_is_no_comparison_any_more():
    history = CellHistory([*blocks_of(CONTROL, 3.0), *blocks_of(CPU, 2.0), a_failed(COMPILED, 1)])
    assert history.comparisons([CONTROL, CPU, COMPILED], 0.02).total == 1


def test_cells_that_no_block_held_together_do_not_keep_a_run_from_its_end():
    apart = [replace(observation, round=observation.round + 10) for observation in blocks_of(COMPILED, 2.0)]
    history = CellHistory([*blocks_of(CPU, 2.0), *apart])
    assert history.comparisons([CPU, COMPILED], 0.02) == Comparisons(0, 0)


def test_a_block_that_is_measured_again_replaces_the_earlier_one():
    history = CellHistory([*blocks_of(CONTROL, 3.0, seed=1), *blocks_of(CPU, 3.0, seed=1)])
    for observation in (*blocks_of(CONTROL, 4.0), *blocks_of(CPU, 2.0)):
        history.add(observation)
    assert set(history.times[CPU.id]) == {1, 2, 3, 4}
    assert history.times[CPU.id][1].whole == pytest.approx(2.0, rel=0.05)
    history.add(an_observation(CPU, 4, timing=None))
    assert set(history.times[CPU.id]) == {1, 2, 3}
