"""A run that is killed at any moments and resumed says what an undisturbed run says, and measures nothing twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .commands import VERDICTS, Server, all_end, blocks, descendants, finish, verdicts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="not on this system: there is no SIGKILL")

KILLS = 10
"""Moments of one run at which it is killed."""
BLOCKS = 6
"""Blocks of the run: so many that most of the moments come before its end."""
SEEDS = [
    *range(2),
    *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 20)),
]
"""20 moments in CI, and 200 each night."""
LONG_S = 120.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Starts the runs."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole_s(server: Server, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of a short run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    server.start(folder, 2)
    assert server.ended(LONG_S) == 0
    assert verdicts(folder) == VERDICTS
    return time.monotonic() - began


@pytest.mark.parametrize("seed", SEEDS)
def test_the_union_of_what_is_resumed_is_an_undisturbed_run(tmp_path, server, whole_s, seed):
    moments = random.Random(f"killed/{seed}")
    folder = tmp_path / "run"
    killed = 0
    for _ in range(10 * KILLS):
        if killed_after(server, folder, moments.uniform(0.0, whole_s)):
            killed += 1
        else:
            # The machine was busier while the whole run was timed, or less is left to do by now.
            whole_s /= 2
        if killed == KILLS:
            break
    assert killed == KILLS
    server.start(folder, BLOCKS)
    assert server.ended(LONG_S) == 0, (tmp_path / "log").read_text()
    assert verdicts(folder) == VERDICTS
    measured = blocks(folder)
    assert set(measured.values()) == {1}
    numbers = {number for _, number in measured}
    assert numbers == set(range(1, max(numbers) + 1))
    for cell, status in VERDICTS.items():
        count = sum(1 for name, _ in measured if name == cell)
        # A cell that fails or answers wrong has one block. A block is on the disk whole or not at all, so that the
        # others have those of the budget and no further one.
        assert count == (BLOCKS if status == "ok" else 1)


def killed_after(server: Server, folder: Path, seconds: float) -> bool:
    """Start or resume a run and kill it; its workers end by themselves. False where it ended before."""
    pid = server.start(folder, BLOCKS)
    if server.ended(seconds) is not None:
        return False
    workers = descendants(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended between the two lines above.
        assert server.ended(LONG_S) is not None
        return False
    server.ended(LONG_S)
    assert all_end(workers)
    return True


def test_a_moment_before_the_first_file_leaves_a_folder_that_can_be_used(tmp_path):
    folder = tmp_path / "run"
    (folder / "logs").mkdir(parents=True)
    finish(folder)
    assert verdicts(folder) == VERDICTS
