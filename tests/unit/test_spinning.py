"""A process whose threads spin after every call: suspended from its warm-up on, and resumed for each burst."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_runs import a_fake_run

from bench.measure.blocks import Bursts, measure_block
from bench.measure.visits import Visitor
from bench.measure.warm_session import Member, WarmSession

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="not on this system: workers are suspended on Linux only"
)


@pytest.fixture
def member(tmp_path: Path, strange_engines):
    """`member("a", "spins")`: a process of the fake engine in a mode."""
    made = []

    def make(name: str, mode: str) -> Member:
        run = a_fake_run(tmp_path / name, mode)
        made.append(Visitor(run.matrix, run.run, run.prepared, run.settings, lambda _: None))
        return Member(name, run.cells, made[-1])

    yield make
    for visitor in made:
        visitor.close()


def is_stopped(session: WarmSession, within_s: float = 2.0) -> bool:
    """Whether the process is stopped; a thread that runs on another processor takes the signal a little later."""
    end = time.monotonic() + within_s
    while psutil.Process(session.worker.pid).status() != psutil.STATUS_STOPPED:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_it_is_suspended_when_it_is_warm_and_after_every_burst(member):
    with WarmSession(member("a", "spins"), 1) as session:
        assert session.warm()
        assert is_stopped(session)
        for turn in range(2):
            assert session.burst(session.first, turn, 0.01)
            assert is_stopped(session)
        session.profile()


def test_one_whose_threads_sleep_is_not(member):
    with WarmSession(member("a", "obeys"), 1) as session:
        assert session.warm()
        assert not is_stopped(session, 0.1)
        assert session.burst(session.first, 0, 0.01)
        assert not is_stopped(session, 0.1)


def test_it_uses_no_cpu_while_others_make_their_bursts(member):
    block = measure_block([member("a", "spins"), member("b", "obeys")], 1, Bursts(4, 0.5), random.Random(0))
    for session in block.sessions:
        (seen,) = session.observations()
        assert seen.idle_cpu_percent is not None
        # A spinning thread would use a core, or its share of a busy machine. The kernel counts in steps of 10 ms.
        assert seen.idle_cpu_percent < 10.0
