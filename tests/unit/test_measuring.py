"""Which processes a block has, and which model gets the next one: with blocks that only tell, and with real ones."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from builders import a_cell, a_control, a_failed, a_failure, a_parity, a_run, a_timing, an_effort, an_observation
from fake_runs import a_fake_run
from matrices import a_matrix
from msgspec.structs import replace

from bench.judge.cell_states import CellHistory
from bench.judge.outcome import judge
from bench.measure import block_members, measuring
from bench.measure.blocks import Block, Bursts
from bench.measure.measuring import measure
from bench.measure.visits import Settings
from bench.measure.warm_session import Member
from bench.prepare.builds import Prepared
from bench.progress import Quiet
from bench.records import Cell, Comparisons, Effort, Failure, Observation, Provider, TaskScores

QUICK = an_effort(min_rounds=3, max_rounds=3, half_width=0.05)
CPU, NPU, TORCH = "minilm/fp32/cpu/b1-s128", "minilm/fp32/npu/b1-s128", "minilm/fp32/torch-eager/b1-s128"
CELLS = (a_cell(CPU), a_cell(NPU), a_control(TORCH))
Answer = Callable[[Cell, int], Observation | None]


def steadily(cell: Cell, number: int) -> Observation:
    """Two milliseconds, in every block."""
    return an_observation(cell, number, samples_ns=[2_000_000] * 5)


def silently(_cell: Cell, _number: int) -> None:
    """Neither a time nor a failure, as after the crash of another workload in the process."""


def failing(cell: Cell, number: int) -> Observation:
    return a_failed(cell, number)


class Spoken(Quiet):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.details: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)


class Session:
    """The part of a warm session that is read after a block."""

    def __init__(self, member: Member, observations: list[Observation]) -> None:
        self.member, self._observations = member, observations

    @property
    def failed_whole(self) -> bool:
        return all(observation.failure for observation in self._observations)

    @property
    def lost_s(self) -> float:
        """A cell that fails has taken all but a second of its block."""
        return 9.0 if self.failed_whole and self._observations else 0.0

    def observations(self) -> list[Observation]:
        return self._observations


class Diary:
    """What happened: the blocks as (number, groups), the cells in them, and what was recorded."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, list[str]]] = []
        self.events: list[tuple[str, str]] = []
        self.cells: list[tuple[int, str]] = []
        self.recorded: list[Observation] = []
        self.after: list[int] = []
        self.bursts: list[Bursts] = []
        self.progress = Spoken()
        self.closed = False

    def blocks_of(self, cell: str) -> list[int]:
        return [number for number, held in self.cells if held == cell]

    def models(self) -> list[str]:
        return [groups[0].split("/")[0] for _, groups in self.blocks]


@pytest.fixture
def run_blocks(monkeypatch, tmp_path):
    """Measure these cells with blocks that answer by rule; the diary of it."""

    def run(
        cells: Sequence[Cell] = CELLS,
        effort: Effort = QUICK,
        *,
        seen: Sequence[Observation] = (),
        undecided: Callable[[str, int], int] = lambda _model, _blocks: 0,
        failures: dict[str, Failure] | None = None,
        with_starts: tuple[str, ...] = (),
        with_labels: tuple[str, ...] = (),
        too_large: tuple[str, ...] = (),
        fixed_shapes: tuple[str, ...] = (),
        fits: Callable[[Sequence[Member]], bool] = lambda _: True,
        seconds: Callable[[str], float] = lambda _: 10.0,
        seed: int = 0,
        **answers: Answer,
    ) -> Diary:
        diary = Diary()
        clock = [0.0]

        class Visitor:
            """Knows the provider of each target, and runs no process."""

            def __init__(self, matrix, run, prepared, settings, record, shortfalls) -> None:
                self.matrix, self.prepared, self.settings = matrix, prepared, settings
                self.record, self.shortfalls = record, shortfalls

            def adopt(self, observations) -> None:
                pass

            def provider(self, cell: Cell) -> Provider | None:
                return Provider("E", static_shapes=True) if cell.target in fixed_shapes else None

            def needs_starts(self, cells: Sequence[Cell]) -> bool:
                return cells[0].target in with_starts

            def measure_starts(self, cells: Sequence[Cell]) -> None:
                diary.events.append(("start", cells[0].group))

            def close(self) -> None:
                diary.closed = True

            def labelled(self, cell: Cell) -> Path | None:
                return Path("samples") if cell.target in with_labels else None

            def assess(self, cell: Cell, labelled: Path) -> TaskScores:
                diary.events.append(("assess", cell.id))
                return TaskScores("accuracy", "d1", {"right": (1.0,)})

        def a_block(members: Sequence[Member], number: int, bursts: Bursts, rng: Random, *_) -> Block:
            groups = [member.cells[0].group for member in members]
            diary.blocks.append((number, groups))
            diary.bursts.append(bursts)
            diary.events.append(("block", ",".join(sorted(groups))))
            sessions = []
            for member in rng.sample(list(members), len(members)):
                made = []
                for cell in member.cells:
                    diary.cells.append((number, cell.id))
                    made.append(answers.get(cell.target.replace("-", "_"), steadily)(cell, number))
                sessions.append(Session(member, [observation for observation in made if observation]))
            took = seconds(members[0].cells[0].model)
            clock[0] += took
            return Block(tuple(sessions), (), took)  # type: ignore[arg-type]

        class Stated(CellHistory):
            """Has as many undecided comparisons as the test says."""

            def comparisons(self, cells: Sequence[Cell], half_width: float) -> Comparisons:
                if not cells:
                    return Comparisons(0, 0)
                blocks = min(sum(number > 0 for number in self.rounds[cell.id]) for cell in cells)
                return Comparisons(9, undecided(cells[0].model, blocks))

        def in_sequence(first: Member, second: Member, number: int, bursts: Bursts, rng: Random, **_: bool) -> Block:
            halves = [a_block([one], at, bursts, rng) for one, at in ((first, number), (second, number))]
            halves += [a_block([one], at, bursts, rng) for one, at in ((second, number + 1), (first, number + 1))]
            return Block(tuple(session for half in halves for session in half.sessions), (), 10.0)

        monkeypatch.setattr(measuring, "Visitor", Visitor)
        monkeypatch.setattr(measuring, "measure_block", a_block)
        monkeypatch.setattr(measuring, "measure_in_sequence", in_sequence)
        monkeypatch.setattr(measuring, "shortfalls", lambda *_: dict.fromkeys(too_large, "holds more than there is"))
        monkeypatch.setattr(measuring.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(block_members.Memory, "fits", lambda _, members: fits(members))
        settings = Settings(effort, 1, 60.0, None, tmp_path / "logs", tmp_path / "scratch")
        prepared = Prepared(tmp_path, failures=failures or {})
        run = a_run(*cells, seed=seed, effort=effort)
        measure(
            a_matrix(),
            run,
            prepared,
            settings,
            Stated(seen),
            diary.recorded.append,
            diary.progress,
            lambda: diary.after.append(len(diary.recorded)),
        )
        return diary

    return run


# --- labelled samples -------------------------------------------------------------------------------------------------


def test_labelled_samples_are_run_once_after_the_first_block_and_recorded_with_it(run_blocks):
    diary = run_blocks(with_labels=("cpu",))
    scored = [observation for observation in diary.recorded if observation.task is not None]
    assert [(observation.cell, observation.round) for observation in scored] == [(CPU, 1)]
    # The times were recorded before, so that nothing is lost if the samples end the process.
    earlier = diary.recorded[: diary.recorded.index(scored[0])]
    assert any((o.cell, o.round, o.task) == (CPU, 1, None) for o in earlier)
    assert [kind for kind, _ in diary.events] == ["block", "assess", "block", "block"]


def test_a_cell_that_failed_does_not_run_its_samples(run_blocks):
    diary = run_blocks(with_labels=("cpu",), cpu=failing)
    assert all(observation.task is None for observation in diary.recorded)


# --- who is in a block ------------------------------------------------------------------------------------------------


def test_a_block_holds_every_target_of_a_model(run_blocks):
    diary = run_blocks()
    assert [(number, sorted(groups)) for number, groups in diary.blocks] == [
        (number, ["minilm/fp32/cpu", "minilm/fp32/npu", "minilm/fp32/torch-eager"]) for number in (1, 2, 3)
    ]


def test_the_workloads_of_one_model_and_target_share_a_process(run_blocks):
    cells = (a_cell("minilm/fp32/cpu/b1-s128"), a_cell("minilm/fp32/cpu/b8-s128"), a_control(TORCH))
    assert sorted(run_blocks(cells).blocks[0][1]) == ["minilm/fp32/cpu", "minilm/fp32/torch-eager"]


def test_with_fixed_shapes_each_workload_has_a_process_of_its_own(run_blocks):
    cells = (a_cell("minilm/fp32/npu/b1-s128"), a_cell("minilm/fp32/npu/b8-s128"), a_control(TORCH))
    groups = run_blocks(cells, fixed_shapes=("npu",)).blocks[0][1]
    assert sorted(groups) == ["minilm/fp32/npu", "minilm/fp32/npu", "minilm/fp32/torch-eager"]


def test_the_seed_gives_the_order_of_the_processes(run_blocks):
    many = tuple(a_cell(f"minilm/fp32/target{n}/b1-s128") for n in range(8))
    cells = [run_blocks(many, seed=seed).cells for seed in (7, 7, 8)]
    assert cells[0] == cells[1] != cells[2]
    first, second = ([cell for number, cell in cells[0] if number == block] for block in (1, 2))
    assert first != second


def test_an_excluded_cell_is_in_no_block(run_blocks):
    diary = run_blocks((a_cell(CPU, excluded="a rule says so"), a_control(TORCH)))
    assert diary.blocks_of(CPU) == []
    assert diary.blocks_of(TORCH) == [1, 2, 3]


def test_a_run_of_which_every_cell_is_excluded_has_no_block(run_blocks):
    assert run_blocks((a_cell(CPU, excluded="a rule says so"),)).blocks == []


def test_starts_are_measured_once_and_before_the_first_block(run_blocks):
    events = run_blocks(with_starts=("npu",)).events
    assert [kind for kind, _ in events] == ["start", "block", "block", "block"]
    assert events[0] == ("start", "minilm/fp32/npu")


def test_a_group_that_was_measured_before_is_not_started_again(run_blocks):
    diary = run_blocks(with_starts=("npu",), seen=[steadily(a_cell(NPU), 1)])
    assert ("start", "minilm/fp32/npu") not in diary.events


def test_an_emulated_target_is_alone_and_has_one_turn_and_no_second_block(run_blocks):
    diary = run_blocks((a_cell(CPU), a_cell(NPU, emulated=True), a_control(TORCH)))
    assert diary.blocks_of(NPU) == [1]
    alone = [index for index, (_, groups) in enumerate(diary.blocks) if "minilm/fp32/npu" in groups]
    assert [diary.blocks[index][1] for index in alone] == [["minilm/fp32/npu"]]
    assert diary.bursts[alone[0]].turns == 1


# --- what the memory does not hold ------------------------------------------------------------------------------------

FIVE = (*(a_cell(f"minilm/fp32/target{n}/b1-s128") for n in range(4)), a_control(TORCH))


def test_what_the_memory_does_not_hold_comes_in_the_next_block_each_with_the_control(run_blocks):
    diary = run_blocks(FIVE, fits=lambda members: len(members) <= 3)
    first = [groups for _, groups in diary.blocks][:2]
    assert all(len(groups) == 3 and "minilm/fp32/torch-eager" in groups for groups in first)
    assert {group for groups in first for group in groups} == {cell.group for cell in FIVE}


def test_blocks_of_a_divided_model_have_numbers_of_their_own_so_that_ratios_come_from_one_block(run_blocks):
    diary = run_blocks(FIVE, fits=lambda members: len(members) <= 3)
    numbers = [number for number, _ in diary.blocks]
    assert numbers == sorted(set(numbers))
    for cell in FIVE[:4]:
        assert len(diary.blocks_of(cell.id)) >= QUICK.min_rounds
        assert set(diary.blocks_of(cell.id)) <= set(diary.blocks_of(TORCH))


def test_what_does_not_fit_beside_the_control_runs_in_sequence_with_it(run_blocks):
    two = (a_cell(CPU), a_control(TORCH))
    diary = run_blocks(two, fits=lambda members: len(members) < 2)
    assert [(number, groups[0].split("/")[2]) for number, groups in diary.blocks[:4]] == [
        (1, "torch-eager"),
        (1, "cpu"),
        (2, "cpu"),
        (2, "torch-eager"),
    ]


def test_what_is_expected_not_to_fit_comes_after_every_other_model_and_with_the_control(run_blocks):
    cells = (*CELLS, a_cell("vit/fp32/cpu/b1"))
    diary = run_blocks(cells, replace(QUICK, min_rounds=1, max_rounds=1), too_large=("minilm/fp32/npu",))
    assert [(number, sorted(groups)) for number, groups in diary.blocks] == [
        (1, ["minilm/fp32/cpu", "minilm/fp32/torch-eager"]),
        (1, ["vit/fp32/cpu"]),
        (2, ["minilm/fp32/npu", "minilm/fp32/torch-eager"]),
    ]


def test_a_run_ends_by_letting_its_visitor_clean_up(run_blocks):
    assert run_blocks().closed


# --- which model is next ----------------------------------------------------------------------------------------------

TWO_MODELS = (*CELLS, a_cell("vit/fp32/cpu/b1"), a_control("vit/fp32/torch-eager/b1"))


def test_every_model_has_a_block_before_any_has_a_second(run_blocks):
    assert run_blocks(TWO_MODELS).models() == ["minilm", "vit"] * 3


def test_blocks_go_where_comparisons_are_undecided(run_blocks):
    effort = replace(QUICK, min_rounds=1, max_rounds=9)
    diary = run_blocks(TWO_MODELS, effort, undecided=lambda model, blocks: 3 if model == "vit" and blocks < 4 else 0)
    assert diary.models() == ["minilm", "vit", "vit", "vit", "vit"]


def test_blocks_stop_at_the_most(run_blocks):
    diary = run_blocks(effort=replace(QUICK, max_rounds=5), undecided=lambda *_: 9)
    assert [number for number, _ in diary.blocks] == [1, 2, 3, 4, 5]


def test_no_block_begins_that_would_end_after_the_time(run_blocks):
    effort = replace(QUICK, max_rounds=50, minutes=1.0)
    diary = run_blocks(effort=effort, undecided=lambda *_: 9, seconds=lambda _: 25.0)
    assert [number for number, _ in diary.blocks] == [1, 2], "a third would end 15 seconds after the minute"


def test_a_time_too_short_for_one_block_still_gives_every_model_one_and_says_what_is_enough(run_blocks):
    diary = run_blocks(TWO_MODELS, replace(QUICK, minutes=0.1), seconds=lambda _: 30.0)
    assert diary.models() == ["minilm", "vit"]
    (said,) = [step for step in diary.progress.steps if "--minutes" in step]
    assert "one block of each model took 1.0 min, and no second one fits into 0.1 min; " in said
    assert "--minutes 2 is enough for two" in said


def test_what_a_failed_process_took_is_not_expected_of_the_next_block(run_blocks):
    effort = replace(QUICK, max_rounds=50, minutes=0.2)
    diary = run_blocks(effort=effort, undecided=lambda *_: 9, npu=failing)
    assert len(diary.blocks) == 2, "the first took 10 s of 12, and 9 of them are those of a process that failed"


def test_what_was_compiled_in_a_first_block_is_not_expected_of_the_next(run_blocks):
    def compiling(cell: Cell, number: int) -> Observation:
        timing = a_timing([2_000_000] * 5, first_call_ns=8_000_000_000 if number == 1 else 3_000_000)
        return an_observation(cell, number, timing=timing)

    effort = replace(QUICK, max_rounds=50, minutes=0.25)
    assert len(run_blocks(effort=effort, undecided=lambda *_: 9).blocks) == 1, "a second takes 10 s, and 5 are left"
    assert len(run_blocks(effort=effort, undecided=lambda *_: 9, torch_eager=compiling).blocks) == 2


# --- cells that end early ---------------------------------------------------------------------------------------------


def test_a_failed_cell_is_in_no_later_block_and_the_others_are(run_blocks):
    diary = run_blocks(npu=failing)
    assert diary.blocks_of(NPU) == [1]
    assert diary.blocks_of(CPU) == diary.blocks_of(TORCH) == [1, 2, 3]


def test_a_cell_that_fails_later_is_in_no_later_block(run_blocks):
    diary = run_blocks(npu=lambda cell, number: (failing if number == 2 else steadily)(cell, number))
    assert diary.blocks_of(NPU) == [1, 2]


def test_a_cell_whose_answer_is_wrong_is_in_no_later_block(run_blocks):
    wrong = a_parity(cosine=0.5)
    diary = run_blocks(npu=lambda cell, number: an_observation(cell, number, parity=wrong))
    assert diary.blocks_of(NPU) == [1]


def test_a_cell_whose_preparation_failed_is_recorded_once_and_in_no_block(run_blocks):
    failure = a_failure("unsupported", stage="export")
    diary = run_blocks(failures={NPU: failure})
    assert diary.blocks_of(NPU) == []
    recorded = [o for o in diary.recorded if o.cell == NPU]
    assert [(o.round, o.failure) for o in recorded] == [(0, failure)]


def test_a_cell_without_any_result_is_tried_again_and_fails_after_three_blocks(run_blocks):
    diary = run_blocks(npu=silently)
    assert diary.blocks_of(NPU) == [1, 2, 3]
    (recorded,) = [o for o in diary.recorded if o.cell == NPU]
    assert recorded.failure is not None
    assert recorded.failure.kind == "protocol"


def test_a_failure_is_told_when_it_happens(run_blocks):
    diary = run_blocks(npu=failing)
    assert f"{NPU}: failed at stage 'session': no kernel for Foo" in diary.progress.steps


# --- going on with a run ----------------------------------------------------------------------------------------------


def test_a_resumed_run_makes_the_blocks_that_are_missing(run_blocks):
    whole = run_blocks()
    rest = run_blocks(seen=whole.recorded[: len(CELLS)])
    assert rest.blocks_of(CPU) == [2, 3]
    assert sorted(rest.cells) == sorted(cell for cell in whole.cells if cell[0] > 1)


def test_a_block_that_was_interrupted_is_completed_with_the_control(run_blocks):
    diary = run_blocks(seen=[steadily(a_control(TORCH), 1), steadily(a_cell(CPU), 1)])
    assert diary.blocks[0][0] == 2
    assert set(diary.blocks[0][1]) == {"minilm/fp32/cpu", "minilm/fp32/npu", "minilm/fp32/torch-eager"}


def test_a_finished_run_that_is_resumed_has_no_block(run_blocks):
    assert run_blocks(seen=run_blocks().recorded).blocks == []


def test_a_resumed_run_leaves_a_failed_cell_alone(run_blocks):
    diary = run_blocks(seen=[a_failed(NPU, 1)])
    assert diary.blocks_of(NPU) == []
    assert len(diary.blocks_of(CPU)) == 3


def test_the_report_may_be_written_after_each_block(run_blocks):
    diary = run_blocks()
    assert diary.after == [3, 6, 9], "every observation of a block is recorded before"


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_first_result_is_told_with_its_latency(run_blocks):
    assert f"{CPU}: answers within tolerance; 2 ms" in run_blocks().progress.steps


def test_the_latency_that_is_told_is_the_one_that_the_report_will_show(run_blocks):
    diary = run_blocks(effort=replace(QUICK, min_rounds=1, max_rounds=1))
    (judged,) = [outcome for outcome in judge(a_run(*CELLS), diary.recorded) if outcome.cell.id == CPU]
    assert judged.speed is not None
    assert f"{CPU}: answers within tolerance; {judged.speed.latency_ms.value:.3g} ms" in diary.progress.steps


def test_a_wrong_answer_is_told_without_a_speed(run_blocks):
    wrong = a_parity(cosine=0.5)
    steps = run_blocks(npu=lambda cell, number: an_observation(cell, number, parity=wrong)).progress.steps
    told = [step for step in steps if step.startswith(NPU)]
    assert len(told) == 1
    assert "inaccurate" in told[0]
    assert " ms" not in told[0]


def test_a_block_is_announced_with_the_first_blocks_that_are_left(run_blocks):
    details = run_blocks(TWO_MODELS).progress.details
    assert any("block 1 of minilm: 3 processes; 2 first blocks left, about" in text for text in details)
    assert any("block 1 of vit: 2 processes; 1 first block left, about" in text for text in details)


def test_the_end_of_a_block_tells_how_many_comparisons_are_open(run_blocks):
    steps = run_blocks(undecided=lambda _, blocks: 4 - blocks).progress.steps
    assert "minilm: block 1 done, 3 of 9 comparisons are open" in steps


def test_the_block_that_is_done_has_its_own_number_in_a_resumed_run(run_blocks):
    effort = replace(QUICK, max_rounds=4)
    seen = [an_observation(cell, number, samples_ns=[2_000_000] * 5) for cell in CELLS for number in (1, 2)]
    steps = run_blocks(effort=effort, seen=seen, undecided=lambda _, blocks: 4 - blocks).progress.steps
    done = [step for step in steps if "done" in step]
    assert done[0] == "minilm: block 3 done, 1 of 9 comparisons are open"


def test_an_answer_that_is_wrong_in_a_later_block_is_told(run_blocks):
    def later(cell: Cell, number: int) -> Observation:
        parity = a_parity(cosine=0.5) if number == 2 else a_parity()
        return an_observation(cell, number, samples_ns=[2_000_000] * 5, parity=parity)

    steps = run_blocks(npu=later).progress.steps
    assert [step for step in steps if "inaccurate" in step] == [
        f"{NPU}: inaccurate in block 2: its answers are outside the tolerance, so its speed is withheld"
    ]


# --- real blocks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path, strange_engines):
    """Measure cells of the fake engine in real worker processes; what was recorded, by cell."""

    def run(mode: str, workloads: tuple[int, ...], progress: Quiet | None = None) -> dict[str, list[Observation]]:
        fake = a_fake_run(tmp_path, mode, workloads)
        found: dict[str, list[Observation]] = defaultdict(list)

        def record(observation: Observation) -> None:
            found[observation.cell].append(observation)

        measure(fake.matrix, fake.run, fake.prepared, fake.settings, CellHistory(()), record, progress or Quiet())
        return found

    return run


def test_a_real_block_becomes_an_observation_with_all_that_was_seen(real):
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
        assert [o.round for o in seen] in ([1], [1, 2], [2, 3])


def test_a_session_that_cannot_be_opened_fails_every_workload_of_its_process_once(real):
    found = real("refuses", (1, 2))
    assert [[o.failure.status for o in seen if o.failure] for seen in found.values()] == [["unsupported"]] * 2


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("obeys", "vit/fp32/fake: answers within tolerance (1 of 1 processes warm)"),
        ("lies", "vit/fp32/fake: answers outside the tolerance (1 of 1 processes warm)"),
        ("refuses", "vit/fp32/fake/b1: unsupported at stage 'session': this engine does not take that model"),
    ],
)
def test_what_the_check_of_the_answers_shows_is_told_before_any_time(real, mode, shown):
    progress = Spoken()
    real(mode, (1,), progress)
    assert progress.steps[0] == shown
    assert progress.steps.count(shown) == 1
