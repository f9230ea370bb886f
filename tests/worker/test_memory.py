"""The peak of a process's memory: its own, and not that of the process that started it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from bench.worker.memory import peak_rss_bytes


def test_the_peak_stays_when_the_memory_is_given_back():
    held = np.ones(2**25)
    peak = peak_rss_bytes()
    assert peak > held.nbytes
    del held
    assert peak_rss_bytes() > peak - 2**20


def test_a_child_does_not_begin_with_its_parents_peak():
    held = np.ones(2**25)
    told = subprocess.run(
        [sys.executable, "-c", "from bench.worker.memory import peak_rss_bytes; print(peak_rss_bytes())"],
        check=True,
        capture_output=True,
    )
    assert int(told.stdout) < held.nbytes / 2
