"""A run that is killed at any moments and resumed says what an undisturbed run says, and measures nothing twice."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from .commands import VERDICTS, all_end, blocks, descendants, finish, start, verdicts

KILLS = 4
"""Moments of one run at which it is killed."""
LONGEST_S = 6.0
"""About the time of a whole run; a moment after its end kills nothing, and the run is complete."""
SEEDS = [
    *range(5),
    *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(5, 50)),
]
"""20 moments in CI, and 200 each night."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="not on this system: there is no SIGKILL")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_union_of_what_is_resumed_is_an_undisturbed_run(tmp_path, seed):
    moments = random.Random(f"killed/{seed}")
    folder = tmp_path / "run"
    killed = [killed_after(folder, moments.uniform(0.0, LONGEST_S)) for _ in range(KILLS)]
    print(f"seed {seed}: {sum(killed)} of {KILLS} moments were before the end of the run")
    finish(folder)
    assert verdicts(folder) == VERDICTS
    measured = blocks(folder)
    assert set(measured.values()) == {1}
    numbers = {number for _, number in measured}
    assert numbers == set(range(1, max(numbers) + 1))
    for cell, status in VERDICTS.items():
        count = sum(1 for name, _ in measured if name == cell)
        # A cell that fails or answers wrong has one block. The others have the two of the budget; where a kill came
        # while the lines of a block were written, the cells that have theirs get one more beside those that have not.
        assert count == 1 if status != "ok" else count in (2, 3)


def killed_after(folder: Path, seconds: float) -> bool:
    """Start or resume a run and kill it, unless it has ended before; its workers end by themselves."""
    process = start(folder)
    killed = False
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        killed = True
        workers = descendants(process)
        process.kill()
        process.wait()
        assert all_end(workers)
    process.communicate()
    return killed


def test_a_moment_before_the_first_file_leaves_a_folder_that_can_be_used(tmp_path):
    folder = tmp_path / "run"
    (folder / "logs").mkdir(parents=True)
    finish(folder)
    assert verdicts(folder) == VERDICTS


def test_the_moments_are_spread_over_the_whole_run(tmp_path):
    """Else the loop would kill nothing: a whole run takes about as long as the latest moment."""
    began = time.monotonic()
    finish(tmp_path / "run")
    assert time.monotonic() - began > 1.0
