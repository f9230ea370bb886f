"""A short version of `nox -s calibrate`: rules that are worse on purpose must miss what the real rules reach.

`nox -s nightly` simulates several times as many gates.
"""

import math
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats as reference

from bench import store
from bench.gating.budget import enough_pairs
from bench.gating.decision import RULES
from tests.calibration import coverage, table
from tests.calibration.figures import Figure, Row, figures
from tests.calibration.gates import Counts, Machine, Scenario, counted
from tests.calibration.noise import (
    BUSY,
    FLIPPING_VM,
    KINDS,
    LAPTOP,
    QUIET,
    SHARED_VM,
    SHIFTING_LAPTOP,
    SHIFTING_VM,
    Noise,
    reporting,
)
from tests.unit.builders import a_cell, a_control, a_run, a_state, an_observation

ROOT = Path(__file__).parents[2]
UNTESTED = replace(RULES, looks=(6, 12, 24), q=2.7)
"""Nearly every p-value is accepted, so an estimate over 2 % on fresh pairs is enough."""
TRUSTING = replace(RULES, more_screening=(), certainty=0.5)
"""Two pairs can pass a cell, however much they scatter."""
WITHOUT_NULL = replace(RULES, null_bias=math.inf)
NIGHTLY = pytest.mark.nightly


# --- the machines are like machines -----------------------------------------------------------------------------------


def scatter(values):
    """The standard deviation of a normal distribution with these quartiles, so that spikes do not count."""
    low, high = np.percentile(values, [25, 75])
    return (high - low) / 1.349


def test_the_shared_vm_is_the_one_that_was_measured():
    """Between identical processes 4.4 %; ratios 0.8 % if bursts alternate, 1.9 % if not (measured)."""
    noise = Noise(SHARED_VM, 1)
    base, new = noise.bursts(4000)
    assert scatter(np.median(base, axis=1)) == pytest.approx(0.044, abs=0.006)
    assert scatter(np.median(new - base, axis=1)) == pytest.approx(0.0095, abs=0.002)
    base, new = noise.bursts(4000, alternating=False)
    assert scatter(np.median(new, axis=1) - np.median(base, axis=1)) == pytest.approx(0.019, abs=0.003)


def test_on_another_day_other_guests_slowed_the_vm_as_was_measured():
    """Two bursts of a turn differ by 8 to 15 %, and the fast calls of twelve turns by 1.4 to 4 % (measured)."""
    noise = Noise(FLIPPING_VM, 1)
    base, new = noise.bursts(4000)
    assert 0.08 < np.std(new - base) < 0.15
    assert 0.014 < np.std(noise.value(base, new)) < 0.04


def test_each_kind_of_machine_scatters_more_than_the_last():
    kinds = (QUIET, SHARED_VM, LAPTOP, BUSY)
    pairs = [[noise.next() for _ in range(2000)] for noise in (Noise(kind, 2) for kind in kinds)]
    deviations = [np.std(values) for values in pairs]
    assert deviations == sorted(deviations)
    assert deviations[0] < 0.005
    assert deviations[-1] > 0.045


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_machine_favours_a_side(kind):
    values = [noise for source in [Noise(kind, 3)] for noise in (source.next() for _ in range(4000))]
    assert reference.ttest_1samp(values, 0).pvalue > 0.001


def test_the_same_seed_makes_the_same_pairs_however_many_are_made_ahead():
    first, second = Noise(BUSY, 4), Noise(BUSY, 4)
    assert [first.next() for _ in range(300)] == [second.next() for _ in range(300)]


# --- error rates of the decisions, and of worse ones ------------------------------------------------------------------


def two_pairs_and_a_threshold(scenario, gates):
    """Number of gates with a false alarm if two pairs with a mean over 2 % fail a cell, without confirmation."""
    machines = [Machine(scenario, (0, number)) for number in range(gates)]
    return sum(any(fmean([m.pair(c, "screen") for _ in range(2)]) > 0.02 for c in m.names) for m in machines)


# At 0.5 %, 460 gates raise six alarms or more in 1 of 35, and 115 gates three or more in 1 of 50.
@pytest.mark.parametrize(("share", "most"), [(4, 2), pytest.param(1, 5, marks=NIGHTLY)])
def test_gates_without_any_change_raise_no_alarm_and_a_screen_alone_does(share, most):
    alarms, naive = 0, 0
    for kind, gates in ((SHARED_VM, 200), (LAPTOP, 200), (BUSY, 60)):
        alarms += counted(Scenario(kind), gates // share, 0).false_alarms
        naive += two_pairs_and_a_threshold(Scenario(kind), 20)
    assert alarms <= most
    assert naive >= 40  # of 60


def test_an_estimate_on_fresh_pairs_without_a_test_raises_false_alarms():
    assert counted(Scenario(BUSY, rules=UNTESTED), 10, 0).false_alarms >= 9


@pytest.mark.parametrize(("slower", "least"), [(0.03, 0.8), (0.05, 0.95), (0.10, 0.99)])
@pytest.mark.parametrize("kind", [SHARED_VM, LAPTOP], ids=lambda kind: kind.name)
@pytest.mark.parametrize("gates", [40, pytest.param(120, marks=NIGHTLY)])
def test_a_slower_cell_is_found_among_a_hundred(kind, slower, least, gates):
    counts = counted(Scenario(kind, slow_cells=1, slower=slower), gates, 0)
    assert Row(Figure("", Scenario(kind), len, len), counts.found, counts.slow_cells).ends()[1] >= least
    assert counts.found / counts.slow_cells >= least - 0.05


FEW_LOOKS = replace(RULES, looks=(6, 12, 24), more_screening=(4, 8, 16), under_certainty=0.995)
"""The looks of earlier versions."""


@pytest.mark.parametrize(("kind", "most"), [(SHIFTING_VM, 6), (SHIFTING_LAPTOP, 3)], ids=["shared VM", "laptop"])
def test_within_its_time_a_gate_decides_on_machines_with_shifts_and_loads_and_with_few_looks_it_does_not(kind, most):
    enough = enough_pairs(100, RULES)
    counts = counted(Scenario(kind, budget_pairs=enough), 80, 0)
    undecided = counts.gates - counts.green - counts.red
    assert undecided <= most
    assert counts.false_alarms <= 2
    before = counted(Scenario(kind, budget_pairs=enough, rules=FEW_LOOKS), 80, 0)
    assert before.gates - before.green - before.red > undecided


@pytest.mark.parametrize("kind", [SHIFTING_VM, SHIFTING_LAPTOP], ids=lambda kind: kind.name)
def test_a_slower_cell_is_found_beside_shifts_and_loads(kind):
    counts = counted(Scenario(kind, slow_cells=1, slower=0.05, budget_pairs=enough_pairs(100, RULES)), 60, 0)
    assert counts.found / counts.slow_cells >= 0.9


def test_a_cell_slower_by_200_percent_is_called_early_however_much_it_scatters():
    counts = counted(Scenario(SHARED_VM, 20, 1, 2.0, louder=20), 60, 0)
    same = counted(Scenario(SHARED_VM, 20), 60, 0)
    assert counts.found / counts.slow_cells >= 0.95
    assert (counts.pairs - same.pairs) / counts.gates < 20


def test_pairs_beside_loads_that_the_system_reports_are_set_aside_and_scatter_less():
    noise = Noise(reporting(SHIFTING_VM), 5)
    pairs = [noise.pair() for _ in range(3000)]
    aside = [value for value, is_reported in pairs if is_reported]
    kept = [value for value, is_reported in pairs if not is_reported]
    assert 0.02 < len(aside) / len(pairs) < 0.25
    assert np.std(aside) > 2 * np.std(kept)
    assert reference.ttest_1samp(kept, 0).pvalue > 0.001
    assert not any(is_reported for _, is_reported in (Noise(SHIFTING_VM, 5).pair() for _ in range(300)))


@pytest.mark.parametrize("cells", [1, pytest.param(5, marks=NIGHTLY)])
def test_no_gate_of_a_few_cells_is_green_beside_ten_percent_and_a_trusting_one_is(cells):
    honest = counted(Scenario(BUSY, cells, 1, 0.10), 400, 0)
    trusting = counted(Scenario(BUSY, cells, 1, 0.10, rules=TRUSTING), 400, 0)
    assert honest.green <= 8
    assert trusting.green >= (16 if cells == 1 else 5)
    assert trusting.green > 2 * honest.green


def test_a_gate_of_a_hundred_cells_on_a_busy_machine_finds_ten_percent_or_cannot_tell():
    counts = counted(Scenario(BUSY, slow_cells=1, slower=0.10), 40, 0)
    assert counts.green == 0
    assert counts.found >= 28


def test_a_measurement_that_favours_a_side_is_noticed_and_without_the_null_control_would_fail_everything():
    biased = Scenario(SHARED_VM, cells=30, bias=0.03)
    with_null = counted(biased, 60, 0)
    assert with_null.null_bad >= 57
    assert with_null.red <= 3
    assert counted(replace_rules(biased, WITHOUT_NULL), 10, 0).red == 10


def replace_rules(scenario, rules):
    return Scenario(scenario.kind, scenario.cells, bias=scenario.bias, rules=rules)


# At 0.3 %, 1200 gates have ten failures or more in 1 of 300, and 300 gates five or more in 1 of 400.
@pytest.mark.parametrize(("gates", "most"), [(50, 4), pytest.param(200, 9, marks=NIGHTLY)])
def test_the_null_control_of_an_honest_machine_rarely_fails(gates, most):
    kinds = (QUIET, SHARED_VM, LAPTOP)
    bad = [counted(Scenario(kind, cells), gates, 0).null_bad for kind in kinds for cells in (1, 20)]
    assert sum(bad) <= most


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_intervals_hold_the_change_93_to_97_times_in_100(kind):
    counts = counted(Scenario(kind, spread=0.03), 30 if kind is not BUSY else 15, 0)
    assert 0.93 <= counts.covered.total() / counts.intervals.total() <= 0.98
    assert min(counts.intervals.values()) > 100


# --- figures and their table ------------------------------------------------------------------------------------------


def a_row(count, total, least=0.0, most=1.0):
    return Row(Figure("found", Scenario(QUIET), len, len, least, most), count, total)


@pytest.mark.parametrize(("count", "total"), [(0, 50), (3, 1000), (50, 50), (17, 30)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(count, total):
    expected = reference.binomtest(count, total).proportion_ci(0.95, "exact")
    assert a_row(count, total).ends() == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_figure_is_reached_missed_or_not_shown():
    assert a_row(6, 1000, most=0.01).reached() == "yes"
    assert a_row(9, 1000, most=0.01).reached() == "too few gates"  # its bound is over 1.3 %
    assert a_row(11, 1000, most=0.01).reached() == "no"
    assert a_row(0, 100, most=0.01).reached() == "too few gates"
    assert a_row(79, 100, least=0.8).reached() == "no"
    assert a_row(1, 100).reached() == ""


def test_a_busy_machine_is_asked_for_no_false_alarm_and_no_green_but_not_for_power():
    required = {figure.what for figure in figures(BUSY) if (figure.least, figure.most) != (0.0, 1.0)}
    assert {"no change: false alarm", "1 of 100 slower by 10 %: green"} <= required
    assert "1 of 100 slower by 10 %: found or exit 3" in required
    assert "1 of 100 slower by 3 %: found" not in required


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_figure_counts_something_of_its_scenario(kind):
    counts = Counts(gates=10, green=4, red=3, slow_cells=5, found=2, false_alarms=1, null_bad=6)
    counts.intervals.update(screen=90, confirm=10)
    counts.covered.update(screen=85, confirm=9)
    for figure in figures(kind):
        assert 0 < figure.share(counts) <= figure.total(counts)


def test_the_table_shows_share_interval_and_what_is_asked():
    head, columns, line = table.lines("quiet", [a_row(6, 1000, most=0.01)])
    assert head == "\nquiet"
    assert columns.split() == ["share", "95", "%", "interval", "asked", "reached"]
    assert line.split("  ")[1] == "found"
    assert "0.60 %" in line
    assert "0.22 % to 1.30 %" in line
    assert line.endswith("at most 1 %    yes")


def calibrate(*arguments):
    command = [sys.executable, "-m", "tests.calibration", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_prints_every_machine_and_fails_where_too_few_gates_show_too_little():
    done = calibrate("--gates", "1", "--runs", "0", "--processes", "1")
    assert done.returncode == 1
    assert all(f"\n{kind.name}\n" in done.stdout for kind in KINDS)
    assert "too few gates" in done.stdout
    assert "\nquiet, no change: false alarm\n" in done.stdout
    assert not done.stderr


# --- recorded blocks --------------------------------------------------------------------------------------------------


def a_recorded_run(folder, rounds, scatter, spike=0.0, seed=0):
    """A cell and its control over many rounds with a shared drift; every tenth round of the cell may be delayed."""
    rng = np.random.default_rng(seed)
    cell, control = a_cell(), a_control()
    store.create(folder, a_run(cell, control))
    for number in range(1, rounds + 1):
        shared = rng.normal(0, scatter)
        for timed_cell, ms in ((cell, 2.0), (control, 3.0)):
            held_up = spike if timed_cell is cell and number % 10 == 0 else 0.0
            ns = round(1e6 * ms * math.exp(shared + rng.normal(0, scatter / 2) + held_up))
            store.append(folder, an_observation(timed_cell, number, samples_ns=[ns] * 5))
    return folder


@pytest.mark.parametrize("scatter", [0.003, 0.02, 0.06])
def test_intervals_of_runs_drawn_from_recorded_rounds_hold_the_truth(tmp_path, scatter):
    rows = list(coverage.replayed(a_recorded_run(tmp_path / "run", 120, scatter), draws=600))
    intervals = {(row.cell.split("/")[2], row.what) for row in rows}
    assert intervals == {("webgpu", "latency"), ("webgpu", "ratio to control"), ("torch-eager", "latency")}
    assert all(row.rounds == 120 for row in rows)
    assert 0.92 <= coverage.total(rows) <= 0.97


def test_intervals_that_do_not_hold_the_truth_are_found_out(tmp_path):
    """Every tenth round takes five times as long: most runs of six rounds do not see one."""
    run = a_recorded_run(tmp_path / "run", 120, 0.01, spike=math.log(5))
    rows = [row for row in coverage.replayed(run, draws=600) if "webgpu" in row.cell]
    assert not coverage.reached(rows)
    assert coverage.total(rows) < 0.8


def test_a_round_that_others_disturbed_is_none_of_the_rounds_that_there_could_be(tmp_path):
    folder = a_recorded_run(tmp_path / "run", 120, 0.01)
    busy = a_state(other_cpu_percent=60.0)
    store.append(folder, an_observation(a_cell(), 121, samples_ns=[90_000_000] * 5, state=busy))
    assert all(row.rounds == 120 for row in coverage.replayed(folder, draws=10))


def test_the_command_replays_a_run_and_fails_where_there_are_too_few_rounds(tmp_path):
    done = calibrate("--replay", str(a_recorded_run(tmp_path / "few", 12, 0.02)))
    assert done.returncode == 1
    assert "has 30 blocks" in done.stdout
    done = calibrate("--replay", str(a_recorded_run(tmp_path / "many", 60, 0.004)))
    assert "minilm/fp32/webgpu/b1-s128: ratio to control: 9" in done.stdout
    assert "93 to 97 % asked" in done.stdout
