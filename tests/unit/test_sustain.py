"""Cells that are run on end: the fake engine in real worker processes, with minutes of a third of a second."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from builders import a_cell, a_failed, a_run, an_observation
from fake_runs import a_fake_run
from msgspec.structs import replace

from bench import pipeline
from bench.judge.cell_states import CellHistory
from bench.judge.sustained import attempts, is_over
from bench.measure import sustained, visits
from bench.measure.eta import BlockEta, Eta
from bench.measure.measuring import measure
from bench.measure.sustained import due, ends_s
from bench.pipeline import Options
from bench.prepare import own_runs
from bench.progress import Quiet
from bench.records import Minute, Observation, Sustained

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
MINUTE_S = 0.3
CELL = "vit/fp32/fake/b1"


class Spoken(Quiet):
    """Keeps what was said, and may interrupt."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.details: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)


@pytest.fixture
def ran(tmp_path, strange_engines, monkeypatch):
    """Rounds of the fake engine in a mode, then so many minutes on end; what was recorded, and what was said."""
    monkeypatch.setattr(sustained, "MINUTE_S", MINUTE_S)

    def run(mode, minutes, *, batches=(1,), seen=(), record=None, **said):
        fake = a_fake_run(tmp_path, mode, batches, **said)
        asked = replace(fake.run, sustained_minutes=minutes * MINUTE_S / 60)
        recorded, progress = [], Spoken()
        measure(
            fake.matrix, asked, fake.prepared, fake.settings, CellHistory(seen), record or recorded.append, progress
        )
        return recorded, progress

    return run


def lasted(recorded):
    """The minutes' observations."""
    return [one for one in recorded if one.sustained]


def minute(seconds=60.0, **said):
    return replace(Minute(seconds, 100, 2_000_000, 1_900_000, 2_100_000, (2_000_000,)), **said)


def a_minute(number, cell=CELL, asked_s=180.0, **said):
    return Observation(cell=cell, round=0, started="x", sustained=Sustained(asked_s, number, minute(**said)))


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_after_its_rounds_a_cell_is_run_on_end_and_each_minute_is_recorded(ran):
    recorded, _ = ran("obeys", 3)
    assert [one.round for one in recorded] == [1, 2, 0, 0, 0]
    assert [one.sustained.number for one in lasted(recorded)] == [1, 2, 3]
    for one in lasted(recorded):
        assert one.timing is None
        assert one.sustained.minute.calls > 20
        assert one.sustained.minute.median_ns > 1_000_000
        assert (one.threads, one.versions, one.failure) == (1, {"fake": "1"}, None)
        assert one.state.available_bytes
    assert is_over(attempts(recorded)[CELL])


def test_nothing_is_run_on_end_that_was_not_asked_for(ran, tmp_path, strange_engines):
    fake, recorded = a_fake_run(tmp_path, "obeys"), []
    measure(fake.matrix, fake.run, fake.prepared, fake.settings, CellHistory(()), recorded.append, Quiet())
    assert not lasted(recorded)


def test_every_workload_is_run_on_end_for_itself(ran):
    recorded, _ = ran("obeys", 1, batches=(1, 2))
    assert sorted(one.cell for one in lasted(recorded)) == [CELL, "vit/fp32/fake/b2"]


@posix_only
def test_a_crash_amid_the_minutes_keeps_those_before_it_and_the_rounds(ran):
    recorded, progress = ran("segfaults-after-a-while", 20)
    assert [one.round for one in recorded[:2]] == [1, 2]
    assert all(one.timing and not one.failure for one in recorded[:2])
    *kept, last = lasted(recorded)
    assert kept
    assert all(one.sustained.minute for one in kept)
    assert last.failure.signal == "SIGSEGV"
    assert last.failure.stage == "sustain"
    assert last.sustained.minute is None
    assert any("its sustained run stopped: crashed" in step for step in progress.steps)


def test_a_hang_amid_the_minutes_ends_long_before_the_last_of_them(ran):
    recorded, _ = ran("hangs-after-a-while", 200, timeout_s=2.5)
    *kept, last = lasted(recorded)
    assert kept
    assert last.failure.status == "timeout"


def test_ctrl_c_amid_the_minutes_keeps_those_that_were_seen_and_ends_the_worker(ran, monkeypatch):
    recorded, workers = [], []
    enter = visits.Worker.__enter__
    monkeypatch.setattr(visits.Worker, "__enter__", lambda worker: workers.append(worker) or enter(worker))

    def record(observation):
        recorded.append(observation)
        if observation.sustained and observation.sustained.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran("obeys", 50, record=record)
    assert [one.sustained.number for one in lasted(recorded)] == [1, 2]
    assert not any(worker.alive for worker in workers)


def test_what_became_slower_is_seen_minute_by_minute(ran):
    recorded, _ = ran("tires", 4)
    first, *_, last = (one.sustained.minute for one in lasted(recorded))
    assert last.median_ns > 2 * first.median_ns


# --- who is run on end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["lies", "raises", "refuses"])
def test_what_is_not_right_is_not_run_on_end(ran, mode):
    recorded, _ = ran(mode, 3)
    assert not lasted(recorded)


def test_emulators_and_cells_without_a_timed_round_are_not_due():
    cells = [a_cell("vit/fp32/cpu/b1"), a_cell("vit/fp32/npu/b1", emulated=True), a_cell("vit/fp32/gpu/b1")]
    assert due(cells, CellHistory([an_observation(cells[0], 1), an_observation(cells[1], 1)])) == cells[:1]


# --- going on with a run ----------------------------------------------------------------------------------------------


def test_a_resumed_run_runs_no_cell_on_end_again_that_came_to_its_end(ran):
    whole, _ = ran("obeys", 2)
    again, _ = ran("obeys", 2, seen=whole)
    assert again == []


def test_a_resumed_run_begins_an_interrupted_one_anew_for_the_machine_has_cooled_down(ran):
    whole, _ = ran("obeys", 3)
    again, _ = ran("obeys", 3, seen=whole[:-1])
    assert [one.sustained.number for one in again] == [1, 2, 3]
    assert attempts([*whole[:-1], *again])[CELL] == tuple(again)


def test_minutes_are_no_rounds():
    history = CellHistory([an_observation(CELL, 1), a_minute(1), a_minute(2)])
    assert list(history.rounds[CELL]) == [1]
    assert not history.ended(CELL)
    crashed = replace(a_failed(CELL), sustained=Sustained(180.0, 3))
    history.add(crashed)
    assert not history.ended(CELL), "its rounds were right"
    assert history.sustained(CELL), "and what failed on end is left alone"


@pytest.mark.parametrize(
    ("seconds", "over"), [((60.0, 60.0), False), ((60.0, 60.0, 60.0), True), ((150.0, 150.0), True)]
)
def test_a_run_on_end_is_over_when_it_lasted_as_long_as_was_asked(seconds, over):
    seen = [a_minute(number, seconds=length) for number, length in enumerate(seconds, start=1)]
    assert is_over(attempts(seen)[CELL]) is over


def test_an_interrupted_run_on_end_is_not_read_as_what_failed_before_it_was_measured(tmp_path, monkeypatch):
    run = a_run(a_cell(CELL), sustained_minutes=3.0, matrix_text="", machine=a_run().machine)
    kept = [an_observation(CELL, 1), a_minute(1), a_failed(CELL, 0)]
    monkeypatch.setattr(pipeline.store, "read", lambda _: (run, tuple(kept)))
    monkeypatch.setattr(pipeline.store, "heal", lambda _: None)
    monkeypatch.setattr("bench.machine.fingerprint.fingerprint", lambda: run.machine)
    monkeypatch.setattr(pipeline.matrices, "parse", lambda *_: None)
    monkeypatch.setattr(pipeline, "with_hidden_values", lambda matrix, *_: matrix)
    monkeypatch.setattr(pipeline, "know_private", lambda *_: None)
    monkeypatch.setattr(pipeline, "undescribed", lambda *_: None)
    # The matrix is none here, so no variable has a value that is hidden.
    for name in ("with_hidden_values", "know_private"):
        monkeypatch.setattr(pipeline, name, lambda *_: None)
    own_runs.mark(run, tmp_path)
    options = Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path)
    pipeline.store.save(tmp_path, run)
    with contextlib.ExitStack() as held:
        _, _, record, seen = pipeline._begin(options, Quiet(), held)
    assert seen == tuple(kept[:2])
    assert record.sustained_minutes == 3.0


def test_the_command_of_a_run_holds_its_minutes():
    options = Options(Path("m.toml"), Path("c"), Path("r"), sustained_minutes=7.5)
    assert "--sustained 7.5" in pipeline.command(options, "quick")
    assert "--sustained" not in pipeline.command(replace(options, sustained_minutes=None), "quick")


# --- minutes and what is left -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total_s", "expected"),
    [
        (6.0, (6.0,)),
        (60.0, (60.0,)),
        (89.0, (89.0,)),
        (90.0, (60.0, 90.0)),
        (180.0, (60.0, 120.0, 180.0)),
        (200.0, (60.0, 120.0, 200.0)),
    ],
)
def test_a_rest_under_half_a_minute_belongs_to_the_minute_before(total_s, expected):
    assert ends_s(total_s) == expected


def test_what_is_left_counts_the_minutes_on_end():
    cell, other = a_cell("vit/fp32/cpu/b1"), a_cell("vit/fp32/gpu/b1")
    emulated = a_cell("vit/fp32/npu/b1", emulated=True)
    seen = [an_observation(one, number) for one in (cell, other, emulated) for number in range(1, 6)]
    eta = Eta([cell, other, emulated], CellHistory(seen), sustained_minutes=10.0)
    assert eta.text() == "2 sustained runs left, about 20 min 00 s"
    eta.sustained_for(cell, 60.0)
    assert eta.text() == "2 sustained runs left, about 19 min 00 s"
    eta.sustained_for(cell, None)
    assert eta.text() == "1 sustained runs left, about 10 min 00 s"


def test_what_failed_in_its_blocks_is_left_out_of_the_minutes():
    cell, other = a_cell("vit/fp32/cpu/b1"), a_cell("vit/fp32/cpu-2/b1")
    eta = Eta([cell, other], CellHistory([a_failed(cell, 1)]), sustained_minutes=10.0)
    assert eta.text() == "1 sustained runs left, about 10 min 00 s"


# --- first blocks that are left ---------------------------------------------------------------------------------------


def test_measured_models_correct_the_estimate_of_the_others():
    models = {"vit": [a_cell("vit/fp32/cpu/b1")], "minilm": [a_cell(), a_cell("minilm/fp32/cpu/b1-s128")]}
    eta = BlockEta(models, a_run().effort)
    before_s = eta.first_blocks_s(["vit", "minilm"])
    assert before_s == pytest.approx(eta.expected["vit"] + eta.expected["minilm"])
    eta.done("vit", 3 * eta.expected["vit"])
    assert eta.first_blocks_s(["minilm"]) == pytest.approx(3 * eta.expected["minilm"])
