"""Who is visited in which round: with a visitor that only tells, and once with real worker processes."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from builders import a_cell, a_control, a_failed, a_failure, a_parity, a_run, an_effort, an_observation
from fake_runs import a_fake_run
from matrices import a_matrix

from bench.judge.cell_states import CellHistory
from bench.judge.outcome import judge
from bench.measure import rounds
from bench.measure.rounds import measure
from bench.measure.visits import Settings
from bench.prepare.builds import Prepared
from bench.progress import Quiet
from bench.records import Cell, Effort, Failure, Observation, TaskScores

QUICK = an_effort(min_rounds=3, max_rounds=3, half_width=None)
ADAPTIVE = an_effort(min_rounds=3, max_rounds=6, half_width=0.02)
CPU, NPU, TORCH = "minilm/fp32/cpu/b1-s128", "minilm/fp32/npu/b1-s128", "minilm/fp32/torch-eager/b1-s128"
CELLS = (a_cell(CPU), a_cell(NPU), a_control(TORCH))
Answer = Callable[[Cell, int], Observation]


def steadily(cell: Cell, number: int) -> Observation:
    """Two milliseconds, every round."""
    return an_observation(cell, number, samples_ns=[2_000_000] * 5, visit_s=1.0)


def restlessly(cell: Cell, number: int) -> Observation:
    """A millisecond more each round, so that no interval is ever narrow."""
    return an_observation(cell, number, samples_ns=[number * 1_000_000] * 5, visit_s=1.0)


class Spoken(Quiet):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.details: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)


class Diary:
    """What happened: the visits as (round, group), and what was recorded."""

    def __init__(self) -> None:
        self.visits: list[tuple[int, str]] = []
        self.cells: list[tuple[int, str]] = []
        self.recorded: list[Observation] = []
        self.progress = Spoken()
        self.closed = False

    def rounds_of(self, cell: str) -> list[int]:
        return [number for number, visited in self.cells if visited == cell]

    def order_of(self, number: int) -> list[str]:
        return [group for visited, group in self.visits if visited == number]


@pytest.fixture
def run_rounds(monkeypatch, tmp_path):
    """Measure these cells with a visitor that answers by rule; the diary of it."""

    def run(
        cells: Sequence[Cell] = CELLS,
        effort: Effort = QUICK,
        *,
        seen: Sequence[Observation] = (),
        seed: int = 0,
        failures: dict[str, Failure] | None = None,
        with_starts: tuple[str, ...] = (),
        with_labels: tuple[str, ...] = (),
        too_large: tuple[str, ...] = (),
        **answers: Answer,
    ) -> Diary:
        diary = Diary()

        class Visitor:
            """Answers each cell by the rule for its target, else steadily."""

            def __init__(self, matrix, run, prepared, settings, record, shortfalls) -> None:
                self.settings, self.record = settings, record

            def adopt(self, observations) -> None:
                pass

            def provider(self, cell: Cell) -> None:
                return None

            def needs_starts(self, cells: list[Cell]) -> bool:
                return cells[0].target in with_starts

            def measure_starts(self, cells: list[Cell]) -> None:
                diary.visits.append((0, cells[0].group))

            def close(self) -> None:
                diary.closed = True

            def labelled(self, cell: Cell) -> Path | None:
                return Path("samples") if cell.target in with_labels else None

            def assess(self, cell: Cell, labelled: Path) -> TaskScores:
                diary.visits.append((0, cell.id))
                return TaskScores("accuracy", "d1", {"right": (1.0,)})

            def visit(self, cells: list[Cell], number: int) -> list[Observation]:
                diary.visits.append((number, cells[0].group))
                assert {cell.group for cell in cells} == {cells[0].group}
                found = []
                for cell in cells:
                    diary.cells.append((number, cell.id))
                    found.append(answers.get(cell.target.replace("-", "_"), steadily)(cell, number))
                    self.record(found[-1])
                return found

        monkeypatch.setattr(rounds, "Visitor", Visitor)
        monkeypatch.setattr(rounds, "shortfalls", lambda *_: dict.fromkeys(too_large, "holds more than there is"))
        settings = Settings(effort, 1, 60.0, None, tmp_path / "logs", tmp_path / "scratch")
        prepared = Prepared(tmp_path, failures=failures or {})
        run = a_run(*cells, seed=seed, effort=effort)
        measure(a_matrix(), run, prepared, settings, CellHistory(seen), diary.recorded.append, diary.progress)
        return diary

    return run


def failing(cell: Cell, number: int) -> Observation:
    return a_failed(cell, number)


# --- labelled samples -------------------------------------------------------------------------------------------------


def test_labelled_samples_are_run_once_after_the_first_visit_and_recorded_with_its_round(run_rounds):
    diary = run_rounds(with_labels=("cpu",))
    scored = [observation for observation in diary.recorded if observation.task is not None]
    assert {observation.round for observation in scored} == {1}
    assert len({observation.cell for observation in scored}) == len(scored) > 0
    for observation in scored:
        # The times were recorded before, so that nothing is lost if the samples end the process.
        earlier = diary.recorded[: diary.recorded.index(observation)]
        assert any((o.cell, o.round, o.task) == (observation.cell, 1, None) for o in earlier)
        group = observation.cell.rpartition("/")[0]
        assert diary.visits.index((0, observation.cell)) > diary.visits.index((1, group))


def test_a_cell_that_failed_does_not_run_its_samples(run_rounds):
    diary = run_rounds(with_labels=("cpu",), cpu=failing)
    assert all(observation.task is None for observation in diary.recorded)


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_every_cell_is_visited_once_in_each_round(run_rounds):
    diary = run_rounds()
    for number in (1, 2, 3):
        assert sorted(diary.order_of(number)) == sorted(cell.group for cell in CELLS)
    assert len(diary.visits) == 9


def test_a_round_is_over_before_the_next_begins(run_rounds):
    numbers = [number for number, _ in run_rounds().visits]
    assert numbers == sorted(numbers)


def test_the_workloads_of_one_model_and_target_share_a_visit(run_rounds):
    cells = (a_cell("minilm/fp32/cpu/b1-s128"), a_cell("minilm/fp32/cpu/b8-s128"), a_control(TORCH))
    assert sorted(run_rounds(cells).order_of(1)) == ["minilm/fp32/cpu", "minilm/fp32/torch-eager"]


def test_a_model_is_finished_before_the_next_begins(run_rounds):
    cells = (*CELLS, a_cell("vit/fp32/cpu/b1"), a_control("vit/fp32/torch-eager/b1"))
    models = [group.split("/")[0] for _, group in run_rounds(cells).visits]
    assert [model for model, _ in itertools.groupby(models)] == ["minilm", "vit"]


MANY = tuple(a_cell(f"minilm/fp32/target{n}/b1-s128") for n in range(8))


def test_the_order_is_the_seeds(run_rounds):
    assert run_rounds(MANY, seed=7).visits == run_rounds(MANY, seed=7).visits
    assert run_rounds(MANY, seed=7).visits != run_rounds(MANY, seed=8).visits


def test_the_order_differs_between_rounds(run_rounds):
    diary = run_rounds(MANY)
    assert diary.order_of(1) != diary.order_of(2) != diary.order_of(3) != diary.order_of(1)


def test_the_order_does_not_follow_from_the_order_of_the_matrix(run_rounds):
    assert run_rounds(MANY).visits == run_rounds(tuple(reversed(MANY))).visits


def test_an_excluded_cell_is_not_visited(run_rounds):
    diary = run_rounds((a_cell(CPU, excluded="a rule says so"), a_control(TORCH)))
    assert diary.rounds_of(CPU) == []
    assert diary.rounds_of(TORCH) == [1, 2, 3]


def test_a_run_of_which_every_cell_is_excluded_visits_none(run_rounds):
    assert run_rounds((a_cell(CPU, excluded="a rule says so"),)).visits == []


def test_starts_are_seen_once_and_before_the_first_visit(run_rounds):
    diary = run_rounds(with_starts=("npu",))
    group = "minilm/fp32/npu"
    assert [number for number, visited in diary.visits if visited == group] == [0, 1, 2, 3]
    assert sum(number == 0 for number, _ in diary.visits) == 1


def test_a_group_that_was_visited_before_is_not_started_again(run_rounds):
    assert (0, "minilm/fp32/npu") not in run_rounds(with_starts=("npu",), seen=[steadily(a_cell(NPU), 1)]).visits


def test_what_is_expected_not_to_fit_comes_after_every_other_model(run_rounds):
    cells = (*CELLS, a_cell("vit/fp32/cpu/b1"))
    diary = run_rounds(cells, too_large=("minilm/fp32/npu",))
    groups = [group for _, group in diary.visits]
    assert groups[-3:] == ["minilm/fp32/npu"] * 3
    assert diary.rounds_of(NPU) == [1, 2, 3]
    assert "minilm/fp32/npu" not in groups[:-3]


def test_a_run_ends_by_letting_its_visitor_clean_up(run_rounds):
    assert run_rounds().closed


# --- cells that end early ---------------------------------------------------------------------------------------------


def test_a_failed_cell_is_not_visited_again_and_the_others_are(run_rounds):
    diary = run_rounds(npu=failing)
    assert diary.rounds_of(NPU) == [1]
    assert diary.rounds_of(CPU) == diary.rounds_of(TORCH) == [1, 2, 3]


def test_a_cell_that_fails_later_is_not_visited_again(run_rounds):
    diary = run_rounds(npu=lambda cell, number: (failing if number == 2 else steadily)(cell, number))
    assert diary.rounds_of(NPU) == [1, 2]


def test_a_cell_whose_answer_is_wrong_is_not_visited_again(run_rounds):
    wrong = a_parity(cosine=0.5)
    diary = run_rounds(npu=lambda cell, number: an_observation(cell, number, parity=wrong))
    assert diary.rounds_of(NPU) == [1]


def test_a_cell_whose_preparation_failed_is_recorded_once_and_never_visited(run_rounds):
    failure = a_failure("unsupported", stage="export")
    diary = run_rounds(failures={NPU: failure})
    assert diary.rounds_of(NPU) == []
    recorded = [o for o in diary.recorded if o.cell == NPU]
    assert [(o.round, o.failure) for o in recorded] == [(0, failure)]


def test_a_failure_is_told_when_it_happens(run_rounds):
    diary = run_rounds(npu=failing)
    assert f"{NPU}: failed at stage 'session': no kernel for Foo" in diary.progress.steps


def test_everything_that_was_seen_was_recorded(run_rounds):
    diary = run_rounds(npu=failing)
    assert [(o.round, o.cell) for o in diary.recorded] == diary.cells


# --- until when -------------------------------------------------------------------------------------------------------


def test_steady_cells_end_after_the_least_number_of_rounds(run_rounds):
    diary = run_rounds(effort=ADAPTIVE)
    assert {number for number, _ in diary.visits} == {1, 2, 3}


def test_beyond_the_least_number_only_the_uncertain_and_the_control_go_on(run_rounds):
    diary = run_rounds(effort=ADAPTIVE, npu=restlessly)
    assert diary.rounds_of(NPU) == diary.rounds_of(TORCH) == [1, 2, 3, 4, 5, 6]
    assert diary.rounds_of(CPU) == [1, 2, 3]


def test_the_control_goes_along_at_the_workloads_that_are_uncertain_and_at_no_others(run_rounds):
    small, large = a_control("minilm/fp32/torch-eager/b1-s128"), a_control("minilm/fp32/torch-eager/b8-s128")
    cells = (a_cell("minilm/fp32/npu/b1-s128"), small, large)
    diary = run_rounds(cells, ADAPTIVE, npu=restlessly)
    assert max(diary.rounds_of(small.id)) == 6
    assert max(diary.rounds_of(large.id)) == 3


def test_an_uncertain_control_goes_on_by_itself(run_rounds):
    diary = run_rounds(effort=ADAPTIVE, torch_eager=restlessly)
    assert diary.rounds_of(TORCH) == [1, 2, 3, 4, 5, 6]
    assert diary.rounds_of(CPU) == [1, 2, 3]


def test_a_cell_that_becomes_certain_ends(run_rounds):
    def calming(cell: Cell, number: int) -> Observation:
        return an_observation(cell, number, samples_ns=[2_000_000 + (number < 3) * 100_000 // number] * 5)

    generous = an_effort(min_rounds=2, max_rounds=20, half_width=0.05)
    last = max(run_rounds((a_cell(NPU),), generous, npu=calming).rounds_of(NPU))
    assert 2 < last < 20


def test_rounds_stop_at_the_most(run_rounds):
    diary = run_rounds(effort=ADAPTIVE, cpu=restlessly, npu=restlessly, torch_eager=restlessly)
    assert max(number for number, _ in diary.visits) == ADAPTIVE.max_rounds


def test_a_cell_that_has_used_up_its_time_does_not_go_on(run_rounds):
    slow = an_effort(min_rounds=3, max_rounds=6, half_width=0.02, cell_limit_s=2.5)
    assert run_rounds(effort=slow, npu=restlessly).rounds_of(NPU) == [1, 2, 3]


def test_a_failed_control_does_not_go_along(run_rounds):
    diary = run_rounds(effort=ADAPTIVE, npu=restlessly, torch_eager=failing)
    assert diary.rounds_of(TORCH) == [1]
    assert diary.rounds_of(NPU) == [1, 2, 3, 4, 5, 6]


# --- going on with a run ----------------------------------------------------------------------------------------------


def test_a_resumed_run_visits_only_what_is_missing(run_rounds):
    whole = run_rounds()
    kept, lost = whole.recorded[:5], whole.cells[5:]
    assert run_rounds(seen=kept).cells == lost


def test_a_finished_run_that_is_resumed_visits_nothing(run_rounds):
    assert run_rounds(seen=run_rounds().recorded).visits == []


def test_a_resumed_run_leaves_a_failed_cell_alone(run_rounds):
    diary = run_rounds(seen=[a_failed(NPU, 1)])
    assert diary.rounds_of(NPU) == []
    assert diary.rounds_of(CPU) == [1, 2, 3]


def test_a_resumed_run_goes_on_in_a_group_where_it_was_stopped(run_rounds):
    one, other = a_cell("minilm/fp32/cpu/b1-s128"), a_cell("minilm/fp32/cpu/b8-s128")
    diary = run_rounds((one, other), seen=[steadily(one, 1)])
    assert diary.cells[0] == (1, other.id)
    assert diary.rounds_of(one.id) == [2, 3]
    assert diary.rounds_of(other.id) == [1, 2, 3]


def test_an_adaptive_run_visits_the_same_cells_wherever_it_was_stopped(run_rounds):
    whole = run_rounds(effort=ADAPTIVE, npu=restlessly)
    for stopped in range(len(whole.recorded)):
        rest = run_rounds(effort=ADAPTIVE, npu=restlessly, seen=whole.recorded[:stopped])
        assert sorted(whole.cells[:stopped] + rest.cells) == sorted(whole.cells)


# --- what is said -----------------------------------------------------------------------------------------------------


def test_each_visit_is_announced_with_how_many_are_left(run_rounds):
    details = run_rounds().progress.details
    left = [int(text.split("; ")[1].split(" processes")[0]) for text in details]
    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_failed_cell_is_not_counted_as_work_to_do(run_rounds):
    details = run_rounds(npu=failing).progress.details
    last = int(details[-1].split("; ")[1].split(" processes")[0])
    assert last == 1


def test_a_finished_cell_is_told_with_its_latency(run_rounds):
    assert f"{CPU}: 2 ms in 3 rounds" in run_rounds().progress.steps


def test_the_latency_of_a_finished_cell_is_the_one_that_the_report_will_show(run_rounds):
    diary = run_rounds(cpu=restlessly)
    (judged,) = [outcome for outcome in judge(a_run(*CELLS), diary.recorded) if outcome.cell.id == CPU]
    assert judged.speed is not None
    estimate_ms = judged.speed.latency_ms.value
    assert estimate_ms == pytest.approx((1 * 2 * 3) ** (1 / 3)), "and not the 2 ms of the round in the middle"
    assert f"{CPU}: {estimate_ms:.3g} ms in 3 rounds" in diary.progress.steps


def test_a_wrong_answer_is_told_without_a_speed(run_rounds):
    wrong = a_parity(cosine=0.5)
    steps = run_rounds(npu=lambda cell, number: an_observation(cell, number, parity=wrong)).progress.steps
    told = [step for step in steps if step.startswith(NPU)]
    assert len(told) == 1
    assert "inaccurate" in told[0]
    assert " ms" not in told[0]


# --- real visits ------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path, strange_engines):
    """Measure cells of the fake engine in real worker processes; what was recorded, by cell."""

    def run(mode: str, workloads: tuple[int, ...]) -> dict[str, list[Observation]]:
        fake = a_fake_run(tmp_path, mode, workloads)
        found: dict[str, list[Observation]] = defaultdict(list)

        def record(observation: Observation) -> None:
            found[observation.cell].append(observation)

        measure(fake.matrix, fake.run, fake.prepared, fake.settings, CellHistory(()), record, Quiet())
        return found

    return run


def test_a_real_visit_becomes_an_observation_with_all_that_was_seen(real):
    first, second = real("obeys", (1,))["vit/fp32/fake/b1"]
    assert (first.round, second.round) == (1, 2)
    assert first.failure is None
    assert first.timing is not None
    assert min(first.timing.samples_ns) > 1_000_000
    assert first.parity is not None
    assert (first.threads, first.versions) == (1, {"fake": "1"})
    assert (first.import_ns or 0) > 0
    assert (first.load_ns or 0) > 0
    assert (first.visit_s or 0) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
def test_after_a_crash_the_other_workloads_go_on_in_a_fresh_process(real):
    found = real("segfaults-in-the-second-workload", (1, 2, 4))
    died = {o.failure.signal for seen in found.values() for o in seen if o.failure}
    assert died == {"SIGSEGV"}
    assert set(found) == {"vit/fp32/fake/b1", "vit/fp32/fake/b2", "vit/fp32/fake/b4"}
    assert any(o.timing for seen in found.values() for o in seen)
    for seen in found.values():
        assert [o.round for o in seen] in ([1], [1, 2])


def test_a_session_that_cannot_be_opened_fails_every_workload_of_its_visit_once(real):
    found = real("refuses", (1, 2))
    assert [[o.failure.status for o in seen if o.failure] for seen in found.values()] == [["unsupported"]] * 2
