"""Blocks of the fake engine in real worker processes: whose bursts alternate, what is made again, who is left."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from fake_runs import a_fake_run

from bench.machine.state import Load
from bench.measure import blocks
from bench.measure.blocks import PATIENCE, Block, Bursts, measure_block, measure_in_sequence
from bench.measure.visits import Visitor
from bench.measure.warm_session import Member
from bench.records import Observation

BURSTS = Bursts(4, 0.01)


@pytest.fixture
def member(tmp_path: Path, strange_engines):
    """`member("a", "obeys")`: a process of the fake engine in a mode, with a workload for each batch."""
    made = []

    def make(name: str, mode: str, batches: tuple[int, ...] = (1,), **settings) -> Member:
        run = a_fake_run(tmp_path / name, mode, batches, **settings)
        visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda _: None)
        made.append(visitor)
        return Member(name, run.cells, visitor)

    yield make
    for visitor in made:
        visitor.close()


def observations(block: Block, name: str) -> list[Observation]:
    return [o for session in block.sessions if session.member.name == name for o in session.observations()]


def workers_left() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "bench.worker" in " ".join(p.cmdline())]


def test_every_workload_of_every_process_has_one_burst_a_turn_in_an_order_drawn_anew(member):
    members = [member("a", "obeys", (1, 2)), member("b", "obeys")]
    block = measure_block(members, 1, BURSTS, random.Random(0))
    names = [(session.member.name, cell.workload) for session, cell in block.order]
    turns = [names[at : at + 3] for at in range(0, len(names), 3)]
    assert len(turns) == BURSTS.turns
    for turn in turns:
        assert sorted(turn) == [("a", "b1"), ("a", "b2"), ("b", "b1")]
    assert len({tuple(turn) for turn in turns}) > 1
    for seen in (*observations(block, "a"), *observations(block, "b")):
        assert seen.timing is not None
        assert seen.timing.turns == (0, 1, 2, 3)
        assert len(seen.timing.burst_calls) == 4
        assert sum(seen.timing.burst_calls) == len(seen.timing.samples_ns)
        assert (seen.timing.cpu_ns or 0) > 0
    assert workers_left() == []


def test_all_processes_of_a_block_live_at_once_and_the_idle_ones_use_no_cpu(member):
    alive: list[int] = []
    members = [member(name, "obeys") for name in ("a", "b", "c")]
    block = measure_block(members, 1, Bursts(4, 0.2), random.Random(0), lambda s: alive.append(len(workers_left())))
    assert alive == [1, 2, 3]
    for name in ("a", "b", "c"):
        (seen,) = observations(block, name)
        assert seen.idle_cpu_percent is not None
        # The kernel counts in steps of 10 ms, of 1.6 s here.
        assert seen.idle_cpu_percent < 2.0


def test_a_process_that_fails_leaves_the_others_in_the_block(member):
    block = measure_block([member("a", "obeys"), member("b", "segfaults")], 1, BURSTS, random.Random(0))
    (fine,), (failed,) = observations(block, "a"), observations(block, "b")
    assert fine.timing is not None
    assert failed.failure is not None
    assert failed.failure.signal == "SIGSEGV"


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
@pytest.mark.parametrize("turns", [0, 2])
def test_a_process_that_is_killed_while_it_waits_fails_its_cells_and_no_other(member, monkeypatch, turns):
    """As by the kernel where memory runs out: no order is at work that could say so."""
    made = blocks._Turns._turn

    def killing(self: blocks._Turns, turn: int) -> None:
        if turn == turns:
            victim = next(session for session in self.sessions if session.member.name == "b")
            victim.worker.resume()
            psutil.Process(victim.worker.pid).kill()
            while victim.worker.alive:
                time.sleep(0.01)
        made(self, turn)

    monkeypatch.setattr(blocks._Turns, "_turn", killing)
    block = measure_block([member("a", "obeys"), member("b", "obeys", (1, 2))], 1, BURSTS, random.Random(0))
    (fine,) = observations(block, "a")
    assert fine.failure is None
    assert fine.timing is not None
    assert fine.timing.turns == (0, 1, 2, 3)
    failures = [seen.failure for seen in observations(block, "b")]
    assert [(failure.status, failure.stage, failure.signal) for failure in failures if failure] == [
        ("crashed", "idle", "SIGKILL")
    ] * 2


def test_no_burst_is_made_where_only_the_ratio_of_all_is_of_use_and_one_has_failed(member):
    bursts = Bursts(4, 0.01, all_or_none=True)
    block = measure_block([member("a", "obeys"), member("b", "segfaults")], 1, bursts, random.Random(0))
    assert block.order == ()


def test_an_interruption_ends_every_process_of_a_block(member):
    def interrupt(_sessions) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_block([member("a", "obeys"), member("b", "obeys")], 1, BURSTS, random.Random(0), interrupt)
    assert workers_left() == []


# --- bursts beside the load of others ---------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch):
    """The load of others beside each burst, in the order of time; then none."""

    def be(*percents: float) -> None:
        left = list(percents)
        monkeypatch.setattr(blocks.state, "load_since", lambda *_: Load(left.pop(0) if left else 0.0, 0.0))

    return be


def again(block: Block) -> list[int]:
    return [session.again for session in block.sessions]


def test_a_burst_beside_the_load_of_others_is_made_again_in_its_turn(member, loads):
    loads(0.0, 90.0)
    block = measure_block([member("a", "obeys")], 1, BURSTS, random.Random(0))
    (seen,) = observations(block, "a")
    assert seen.timing is not None
    assert seen.timing.turns == (0, 1, 2, 3), "the burst that was set aside does not count"
    assert (seen.bursts_set_aside, seen.bursts_disturbed) == (1, 0)


def test_a_burst_that_counts_and_was_disturbed_is_counted(member, loads):
    loads(90.0, 90.0, 0.0, 0.0, 90.0, 90.0)
    block = measure_block([member("a", "obeys")], 1, BURSTS, random.Random(0))
    (seen,) = observations(block, "a")
    assert (seen.bursts_set_aside, seen.bursts_disturbed) == (2, 2), "the second burst of a turn is kept as it is"


def test_a_machine_that_is_always_busy_does_not_hold_up_a_block(member, loads):
    loads(*[90.0] * 1000)
    block = measure_block([member("a", "obeys"), member("b", "obeys")], 1, Bursts(6, 0.01), random.Random(0))
    assert 0 < sum(again(block)) <= min(PATIENCE, 6)
    assert Counter(session.member.name for session, _ in block.order) == {"a": 6, "b": 6}


def test_a_pair_of_a_gate_sets_no_single_burst_aside(member, loads):
    loads(*[90.0] * 1000)
    block = measure_block([member("a", "obeys")], 1, Bursts(4, 0.01, set_aside=False), random.Random(0))
    assert again(block) == [0]


# --- long calls -------------------------------------------------------------------------------------------------------


def test_long_calls_have_fewer_turns_but_two_at_least(member):
    block = measure_block([member("a", "obeys")], 1, Bursts(6, 0.05, limit_s=0.01), random.Random(0))
    (seen,) = observations(block, "a")
    assert seen.timing is not None
    assert seen.timing.turns == (0, 1)


# --- in sequence ------------------------------------------------------------------------------------------------------


def test_in_sequence_one_process_lives_at_a_time_and_the_halves_are_blocks_of_their_own(member):
    first, second = member("a", "obeys"), member("b", "obeys")
    block = measure_in_sequence(first, second, 5, BURSTS, random.Random(0), numbered_apart=True)
    assert [(session.member.name, session.number) for session in block.sessions] == [
        ("a", 5),
        ("b", 5),
        ("b", 6),
        ("a", 6),
    ]
    numbers = {o.round: o.timing.turns for o in observations(block, "a") if o.timing}
    assert numbers == {5: (0, 1), 6: (0, 1)}


def test_in_sequence_a_member_that_failed_is_not_started_again_and_the_other_is_measured(member):
    block = measure_in_sequence(member("a", "obeys"), member("b", "segfaults"), 1, BURSTS, random.Random(0))
    assert [session.member.name for session in block.sessions] == ["a", "b", "a"]
    assert all(o.timing for o in observations(block, "a"))
